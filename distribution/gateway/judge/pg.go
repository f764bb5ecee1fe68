package judge

import (
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire/walk"
)

const (
	// maxPeers is how many process group servers of one scope a guest may have
	// had since the host heard of the end of the first: more than one only while
	// it restarts.
	maxPeers = 8
	// maxMembers bounds how often one group may be joined.
	maxMembers = 1024
	// A node discovers a scope once when it starts, and answers a discovery with
	// one of its own; the host's server answers each with all of its groups.
	mostDiscovers = 5 // at once, then one a second
)

// scope is one pg scope as the host's server of it sees the guest (kernel's
// pg.erl). What the host's server could not bear must not reach it: it would
// restart, and everybody's groups with it.
type scope struct {
	name   string
	groups map[string]bool
	host   walk.Pid // the host's server, zero until it was heard of
	peers  map[walk.Pid]*peer

	discovers bucket
}

// peer is one server of the guest.
type peer struct {
	known  bool // the host's server keeps groups for it
	joined map[string]map[walk.Pid]int
}

// regroup makes the scopes follow the rules, and keeps what is still named.
func (j *Judge) regroup() {
	old := j.scopes
	j.scopes = map[string]*scope{}
	for name, groups := range j.rules.groups {
		s := old[name]
		if s == nil {
			s = &scope{name: name, peers: map[walk.Pid]*peer{}, discovers: burstOf(mostDiscovers, 1)}
		}
		s.groups = groups
		j.scopes[name] = s
	}
	for p, w := range j.workers {
		if w.bind(j.rules); len(w.channels) == 0 {
			j.dropWorker(p)
		}
	}
}

// scopeOf is the scope whose server on the host p is, nil when it is none.
func (j *Judge) scopeOf(p walk.Pid) *scope {
	for _, s := range j.scopes {
		if s.host == p && p != (walk.Pid{}) {
			return s
		}
	}
	return nil
}

// gone forgets a process group server of the guest once the host heard of its
// end.
func (j *Judge) gone(p walk.Pid) {
	for _, s := range j.scopes {
		delete(s.peers, p)
	}
}

// peer is the guest's server p, which may be new.
func (s *scope) peer(p walk.Pid) *peer {
	if s.peers[p] == nil {
		if len(s.peers) >= maxPeers {
			return nil
		}
		s.peers[p] = &peer{joined: map[string]map[walk.Pid]int{}}
	}
	return s.peers[p]
}

// setHost learns the host's server. A new one knows of nobody yet.
func (j *Judge) setHost(s *scope, p walk.Pid) {
	if s.host == p {
		return
	}
	if s.host != (walk.Pid{}) {
		j.unwatch(s.host)
		j.pids.pin(s.host, -1)
	}
	j.pids.pin(p, 1)
	s.host = p
	for _, guest := range s.peers {
		guest.known, guest.joined = false, map[string]map[walk.Pid]int{}
	}
}

// unwatch forgets the guest's monitors on a process of the host that is gone.
func (j *Judge) unwatch(p walk.Pid) {
	for ref, w := range j.rights.watches.m {
		if w.target == p {
			j.rights.watches.drop(ref)
		}
	}
}

// guestDiscover is {discover, Pid} to a scope's registered name. OTP 28 may
// add a version, which OTP 25 would not bear: it is left out.
func (t *turn) guestDiscover(s *scope) Verdict {
	m := t.message()
	if t.broken != "" || !m.Tagged(2, "discover") && !m.Tagged(3, "discover") {
		return t.refuse(rulePG)
	}
	p, ok := m.Pid()
	if !ok || p != t.c.from {
		return t.refuse(rulePG)
	}
	return t.discover(s, p, walk.Pid{})
}

func (t *turn) discover(s *scope, p, to walk.Pid) Verdict {
	if !s.discovers.allow(t.now) {
		return t.refuse(ruleRate)
	}
	guest := s.peer(p)
	if guest == nil {
		return t.refuse(rulePG)
	}
	guest.known = true
	b := walk.AppendAtom(walk.AppendTuple(append(t.o.buf(), 131), 2), "discover")
	b = t.o.keep(walk.AppendPid(b, p, t.j.names))
	return t.pass(t.again(to), b)
}

// guestGroups is a message to the host's server of a scope.
func (t *turn) guestGroups(s *scope, to walk.Pid) Verdict {
	if t.broken != "" {
		return t.refuse(t.broken)
	}
	v, _, err := term.Limits{Depth: 8, Nodes: 50_000}.DecodeBare(t.payload[1:])
	msg, ok := v.(term.Tuple)
	if err != nil || !ok || len(msg) < 2 {
		return t.refuse(rulePG)
	}
	switch {
	case is(msg, "discover", 2), is(msg, "discover", 3):
		if p, ok := t.j.guestPidOf(msg[1]); ok {
			return t.discover(s, p, to)
		}
	case is(msg, "$gen_cast", 2):
		if sync, ok := msg[1].(term.Tuple); ok && is(sync, "sync", 3) {
			return t.guestSync(s, sync, to)
		}
	case is(msg, "join", 4):
		return t.guestJoin(s, msg, to)
	case is(msg, "leave", 4):
		return t.guestLeave(s, msg, to)
	}
	return t.refuse(rulePG)
}

func is(t term.Tuple, word string, n int) bool {
	return len(t) == n && t[0] == term.Atom(word)
}

// guestSync is {'$gen_cast', {sync, Pid, [{Group, [Pid]}]}}: all groups of the
// guest. Groups that policy does not name are taken out, which counts once.
func (t *turn) guestSync(s *scope, msg term.Tuple, to walk.Pid) Verdict {
	p, ok := t.j.guestPidOf(msg[1])
	list, isList := msg[2].(term.List)
	if !ok || !isList || list.Tail != nil {
		return t.refuse(rulePG)
	}
	joined, kept, others := map[string]map[walk.Pid]int{}, term.List{}, false
	for _, e := range list.Elems {
		entry, ok := e.(term.Tuple)
		if !ok || len(entry) != 2 {
			return t.refuse(rulePG)
		}
		pids, ok := t.j.members(entry[1])
		group, isAtom := entry[0].(term.Atom)
		if !ok || isAtom && joined[string(group)] != nil {
			return t.refuse(rulePG)
		}
		if len(pids) == 0 {
			continue
		}
		if !isAtom || !s.groups[string(group)] {
			others = true
			continue
		}
		joined[string(group)] = count(nil, pids)
		kept.Elems = append(kept.Elems, entry)
	}
	guest := s.peer(p)
	if guest == nil {
		return t.refuse(rulePG)
	}
	guest.known, guest.joined = true, joined
	v := t.passTerm(to, term.Tuple{term.Atom("$gen_cast"), term.Tuple{term.Atom("sync"), msg[1], kept}})
	if others && v.Rule == "" {
		v.Rule, v.Refusal = ruleGroup, t.j.note(t.now, t.dir, ruleGroup, &t.c, t.payload, Drop)
	}
	return v
}

// guestJoin is {join, Pid, Group, PidOrPids}.
func (t *turn) guestJoin(s *scope, msg term.Tuple, to walk.Pid) Verdict {
	p, ok := t.j.guestPidOf(msg[1])
	pids, okay := t.j.members(msg[3])
	guest := s.peers[p]
	if !ok || !okay || guest == nil || !guest.known {
		return t.refuse(rulePG)
	}
	group, isAtom := msg[2].(term.Atom)
	if !isAtom || !s.groups[string(group)] {
		return t.refuse(ruleGroup)
	}
	if len(pids) == 0 {
		return t.swallow()
	}
	if total(guest.joined[string(group)])+len(pids) > maxMembers {
		return t.refuse(ruleGrants)
	}
	guest.joined[string(group)] = count(guest.joined[string(group)], pids)
	return t.passTerm(to, msg)
}

// guestLeave is {leave, Pid, PidOrPids, [Group]}. A node may say that processes
// leave which are in some of the groups only; the host is told of those that
// are in them, as it sees it.
func (t *turn) guestLeave(s *scope, msg term.Tuple, to walk.Pid) Verdict {
	p, ok := t.j.guestPidOf(msg[1])
	pids, okay := t.j.members(msg[2])
	list, isList := msg[3].(term.List)
	guest := s.peers[p]
	if !ok || !okay || !isList || list.Tail != nil || guest == nil || !guest.known {
		return t.refuse(rulePG)
	}
	groups := s.granted(list.Elems)
	if len(groups)*len(pids) > maxMembers*len(s.groups) {
		return t.refuse(ruleGrants)
	}
	whole, said := term.List{}, false
	v := Verdict{}
	for _, e := range groups {
		left := leave(guest.joined, string(e.(term.Atom)), pids)
		switch {
		case len(left) == 0:
		case len(left) == len(pids):
			whole.Elems = append(whole.Elems, e)
		default:
			v, said = t.passTerm(to, term.Tuple{msg[0], msg[1], t.j.pidTerms(left), term.List{Elems: []term.Term{e}}}), true
		}
	}
	if len(whole.Elems) > 0 {
		v, said = t.passTerm(to, term.Tuple{msg[0], msg[1], msg[2], whole}), true
	}
	if !said {
		return t.refuse(ruleGroup)
	}
	return v
}

// granted is those of groups that policy names. One may come more than once: a
// process leaves a group as often as it joined it.
func (s *scope) granted(groups []term.Term) []term.Term {
	var all []term.Term
	for _, e := range groups {
		if group, ok := e.(term.Atom); ok && s.groups[string(group)] {
			all = append(all, e)
		}
	}
	return all
}

// leave takes processes out of a group and returns those that were in it.
func leave(joined map[string]map[walk.Pid]int, group string, pids []walk.Pid) []walk.Pid {
	in := joined[group]
	var left []walk.Pid
	for _, p := range pids {
		if in[p] == 0 {
			continue
		}
		left = append(left, p)
		if in[p]--; in[p] == 0 {
			delete(in, p)
		}
	}
	if in != nil && len(in) == 0 {
		delete(joined, group)
	}
	return left
}

// pidTerms is a list of the guest's processes.
func (j *Judge) pidTerms(pids []walk.Pid) term.List {
	var l term.List
	for _, p := range pids {
		l.Elems = append(l.Elems, term.Pid{Node: term.Atom(j.names.Guest), ID: p.ID, Serial: p.Serial, Creation: p.Creation})
	}
	return l
}

func count(in map[walk.Pid]int, pids []walk.Pid) map[walk.Pid]int {
	if in == nil {
		in = map[walk.Pid]int{}
	}
	for _, p := range pids {
		in[p]++
	}
	return in
}

func total(in map[walk.Pid]int) (n int) {
	for _, k := range in {
		n += k
	}
	return n
}

// passTerm passes a message that was decoded, and is written anew.
func (t *turn) passTerm(to walk.Pid, message term.Term) Verdict {
	b, err := term.Append(t.o.buf(), message)
	if err != nil {
		return t.refuse(rulePG)
	}
	b = t.o.keep(b)
	return t.pass(t.again(to), b)
}

// guestPidOf is a process of the guest's own.
func (j *Judge) guestPidOf(t term.Term) (walk.Pid, bool) {
	p, ok := j.pidOf(t)
	return p, ok && j.ofGuest(p)
}

func (j *Judge) pidOf(t term.Term) (walk.Pid, bool) {
	p, ok := t.(term.Pid)
	if !ok {
		return walk.Pid{}, false
	}
	w := walk.Pid{ID: p.ID, Serial: p.Serial, Creation: p.Creation}
	switch string(p.Node) {
	case j.names.Guest:
		w.Node = walk.Guest
	case j.names.Host:
		w.Node = walk.Host
	}
	return w, true
}

// members are the processes of a group, all of them the guest's: a pid or a
// proper list of pids.
func (j *Judge) members(t term.Term) ([]walk.Pid, bool) {
	pids, ok := j.processes(t)
	for _, p := range pids {
		ok = ok && j.ofGuest(p)
	}
	return pids, ok && len(pids) <= maxMembers
}

func (j *Judge) processes(t term.Term) ([]walk.Pid, bool) {
	if p, ok := j.pidOf(t); ok {
		return []walk.Pid{p}, true
	}
	l, ok := t.(term.List)
	if !ok || l.Tail != nil {
		return nil, false
	}
	pids := make([]walk.Pid, 0, len(l.Elems))
	for _, e := range l.Elems {
		p, ok := j.pidOf(e)
		if !ok {
			return nil, false
		}
		pids = append(pids, p)
	}
	return pids, true
}
