package judge

import (
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire/walk"
)

// hostGroupsOf is the scope whose server at the guest a message of the host
// goes to, nil when it goes elsewhere.
func (t *turn) hostGroupsOf() *scope {
	if t.c.name != nil {
		return t.j.scopes[string(t.c.name)]
	}
	for _, s := range t.j.scopes {
		if s.peers[t.c.to] != nil {
			return s
		}
	}
	return nil
}

// hostGroups learns from a message of the host's process group server which
// processes of the host the guest may send broadcasts to, and takes out what
// is about groups of others.
func (t *turn) hostGroups(s *scope) string {
	v, _, err := term.Limits{Depth: 16}.DecodeBare(t.payload[1:])
	if err != nil {
		return ruleUnread
	}
	msg, ok := v.(term.Tuple)
	if !ok {
		return "" // whatever it is, it is not pg's, and the host may say it
	}
	switch {
	case is(msg, "discover", 2), is(msg, "discover", 3):
		if p, ok := t.j.pidOf(msg[1]); ok && t.j.ofHost(p) {
			t.j.setHost(s, p)
		}
	case is(msg, "$gen_cast", 2):
		if sync, ok := msg[1].(term.Tuple); ok && is(sync, "sync", 3) {
			return t.hostSync(s, sync)
		}
	case is(msg, "join", 4):
		return t.hostJoin(s, msg)
	case is(msg, "leave", 4):
		return t.hostLeave(s, msg)
	}
	return ""
}

func (t *turn) hostSync(s *scope, msg term.Tuple) string {
	p, ok := t.j.pidOf(msg[1])
	list, isList := msg[2].(term.List)
	if !ok || !t.j.ofHost(p) || !isList {
		return ""
	}
	// The server that is synchronised with may be older than a discovery that
	// is on its way, never newer.
	if s.host == (walk.Pid{}) {
		t.j.setHost(s, p)
	}
	t.j.leaveScope(s)
	kept := term.List{}
	for _, e := range list.Elems {
		entry, ok := e.(term.Tuple)
		if !ok || len(entry) != 2 || !t.named(s, entry[0]) {
			continue
		}
		kept.Elems = append(kept.Elems, entry)
		t.j.addWorkers(s, entry[0], entry[1])
	}
	return t.rewrite(term.Tuple{term.Atom("$gen_cast"), term.Tuple{term.Atom("sync"), msg[1], kept}})
}

func (t *turn) hostJoin(s *scope, msg term.Tuple) string {
	if !t.named(s, msg[2]) {
		return ruleGroup
	}
	t.j.addWorkers(s, msg[2], msg[3])
	return ""
}

func (t *turn) hostLeave(s *scope, msg term.Tuple) string {
	list, ok := msg[3].(term.List)
	if !ok {
		return ""
	}
	kept := term.List{}
	for _, e := range list.Elems {
		if t.named(s, e) {
			kept.Elems = append(kept.Elems, e)
		}
	}
	if len(kept.Elems) == 0 {
		return ruleGroup
	}
	t.j.leaveGroups(s, msg[2], kept)
	return t.rewrite(term.Tuple{msg[0], msg[1], msg[2], kept})
}

// named says whether policy lets the guest know of a group.
func (t *turn) named(s *scope, group term.Term) bool {
	a, ok := group.(term.Atom)
	return ok && s.groups[string(a)]
}

func (t *turn) rewrite(message term.Term) string {
	b, err := term.Append(t.o.buf(), message)
	if err != nil {
		return ruleUnread
	}
	t.payload = t.o.keep(b)
	return ""
}
