package judge

import (
	"beamsandbox/distribution/wire/walk"
)

// State is what a Judge has learnt on its link, apart from its guest's
// Lifetime, so that another process can go on with it. It can be encoded as
// JSON. Budgets of a second are not part of it: they begin anew.
type State struct {
	Seen   []string          `json:"seen,omitempty"` // atoms that the host is known to have
	Pids   []shown[walk.Pid] `json:"pids,omitempty"`
	Refs   []shown[walk.Ref] `json:"refs,omitempty"`
	Rights rightsState       `json:"rights"`
	Scopes []scopeState      `json:"scopes,omitempty"`
	Groups []workerState     `json:"workers,omitempty"`
	Synced [2]bool           `json:"synced"`
}

// shown is one identifier of the host, the number that the guest knows it by,
// and whether it was used of late.
type shown[K comparable] struct {
	Key    K      `json:"key"`
	Number uint32 `json:"number"`
	Used   bool   `json:"used,omitempty"`
}

// rightsState is the entries of each kind of right, the oldest first.
type rightsState struct {
	Replies  []held[walk.Ref, replyState]   `json:"replies,omitempty"`
	Spawns   []held[walk.Ref, spawnState]   `json:"spawns,omitempty"`
	Monitors []held[walk.Ref, monitorState] `json:"monitors,omitempty"`
	Links    []held[pairState, struct{}]    `json:"links,omitempty"`
	Unlinks  []held[pairState, uint64]      `json:"unlinks,omitempty"`
	Sinks    []held[walk.Pid, struct{}]     `json:"sinks,omitempty"`
	Watches  []held[walk.Ref, watchState]   `json:"watches,omitempty"`
}

type held[K, V any] struct {
	Key   K `json:"key"`
	Value V `json:"value"`
}

type (
	pairState  struct{ Host, Guest walk.Pid }
	replyState struct {
		Caller walk.Pid
		Form   tagForm
	}
	spawnState struct {
		From          walk.Pid
		Link, Monitor bool
	}
	monitorState struct {
		Watcher, Target walk.Pid
		Name            string
		Any             bool
	}
	watchState struct {
		From, Target walk.Pid
		Name         string
	}
)

// scopeState is a process group scope; its groups follow from the policy.
type scopeState struct {
	Name  string      `json:"name"`
	Host  walk.Pid    `json:"host"`
	Peers []peerState `json:"peers,omitempty"`
}

type peerState struct {
	Pid    walk.Pid              `json:"pid"`
	Known  bool                  `json:"known"`
	Joined map[string][]walk.Pid `json:"joined,omitempty"` // as often as it joined
}

// workerState is a process of the host that the guest may send to.
type workerState struct {
	Pid    walk.Pid    `json:"pid"`
	Groups []homeState `json:"groups"`
}

type homeState struct {
	Scope, Group string
	Times        int
}

// State is what the judge knows now. The judge must rest until it is encoded.
func (j *Judge) State() State {
	s := State{Pids: j.pids.state(), Refs: j.refs.state(), Rights: j.rights.state(), Synced: j.synced}
	for a := range j.seen {
		s.Seen = append(s.Seen, a)
	}
	for _, sc := range j.scopes {
		s.Scopes = append(s.Scopes, sc.state())
	}
	for p, w := range j.workers {
		one := workerState{Pid: p}
		for h, n := range w.groups {
			one.Groups = append(one.Groups, homeState{h.scope, h.group, n})
		}
		s.Groups = append(s.Groups, one)
	}
	return s
}

// Restore is New for a link that another judge had until now. Numbers that the
// other one gave out mean the same, and every right is as it was.
func Restore(cfg Config, life *Lifetime, s State) (*Judge, error) {
	j, err := New(cfg, life)
	if err != nil {
		return nil, err
	}
	j.synced = s.Synced
	for _, a := range s.Seen {
		j.seen[a] = struct{}{}
	}
	j.pids.restore(s.Pids)
	j.refs.restore(s.Refs)
	j.rights.restore(s.Rights)
	for _, one := range s.Scopes {
		if sc := j.scopes[one.Name]; sc != nil { // policy may have changed meanwhile
			j.restoreScope(sc, one)
		}
	}
	for _, one := range s.Groups {
		for _, h := range one.Groups {
			for range h.Times {
				j.restoreWorker(one.Pid, home{h.Scope, h.Group})
			}
		}
	}
	return j, nil
}

func (j *Judge) restoreScope(sc *scope, s scopeState) {
	if s.Host != (walk.Pid{}) {
		j.pids.pin(s.Host, 1)
		sc.host = s.Host
	}
	for _, p := range s.Peers {
		guest := &peer{known: p.Known, joined: map[string]map[walk.Pid]int{}}
		for group, pids := range p.Joined {
			guest.joined[group] = count(nil, pids)
		}
		sc.peers[p.Pid] = guest
	}
}

func (j *Judge) restoreWorker(p walk.Pid, h home) {
	if j.rules.channel(h) != nil {
		j.addWorker(p, h)
	}
}

func (s *scope) state() scopeState {
	out := scopeState{Name: s.name, Host: s.host}
	for p, guest := range s.peers {
		one := peerState{Pid: p, Known: guest.known, Joined: map[string][]walk.Pid{}}
		for group, in := range guest.joined {
			for pid, n := range in {
				for range n {
					one.Joined[group] = append(one.Joined[group], pid)
				}
			}
		}
		out.Peers = append(out.Peers, one)
	}
	return out
}

// state lists what was shown, in the order in which it may be forgotten.
func (t *table[K]) state() []shown[K] {
	all := make([]shown[K], 0, len(t.queue))
	for _, n := range t.queue {
		e := t.shown[n]
		all = append(all, shown[K]{Key: e.key, Number: n, Used: e.used})
	}
	return all
}

// restore shows identifiers under the numbers they had. What pins them comes
// with the rights.
func (t *table[K]) restore(all []shown[K]) {
	for _, s := range all {
		t.numbers[s.Key], t.shown[s.Number] = s.Number, &entry[K]{key: s.Key, used: s.Used}
		t.queue = append(t.queue, s.Number)
	}
}

func (r *rights) state() rightsState {
	pairs := func(p pair) pairState { return pairState{p.host, p.guest} }
	ref := func(k walk.Ref) walk.Ref { return k }
	pid := func(k walk.Pid) walk.Pid { return k }
	nothing := func(v struct{}) struct{} { return v }
	return rightsState{
		Replies:  entries(&r.replies, ref, func(v reply) replyState { return replyState{v.caller, v.form} }),
		Spawns:   entries(&r.spawns, ref, func(v spawn) spawnState { return spawnState{v.from, v.link, v.monitor} }),
		Monitors: entries(&r.monitors, ref, func(v monitor) monitorState { return monitorState{v.watcher, v.target, v.name, v.any} }),
		Links:    entries(&r.links, pairs, nothing),
		Unlinks:  entries(&r.unlinks, pairs, func(v uint64) uint64 { return v }),
		Sinks:    entries(&r.sinks, pid, nothing),
		Watches:  entries(&r.watches, ref, func(v watch) watchState { return watchState{v.from, v.target, v.name} }),
	}
}

func (r *rights) restore(s rightsState) {
	for _, e := range s.Replies {
		r.replies.put(e.Key, reply{e.Value.Caller, e.Value.Form})
	}
	for _, e := range s.Spawns {
		r.spawns.put(e.Key, spawn{e.Value.From, e.Value.Link, e.Value.Monitor})
	}
	for _, e := range s.Monitors {
		r.monitors.put(e.Key, monitor{e.Value.Watcher, e.Value.Target, e.Value.Name, e.Value.Any})
	}
	for _, e := range s.Links {
		r.links.put(pair{e.Key.Host, e.Key.Guest}, e.Value)
	}
	for _, e := range s.Unlinks {
		r.unlinks.put(pair{e.Key.Host, e.Key.Guest}, e.Value)
	}
	for _, e := range s.Sinks {
		r.sinks.put(e.Key, e.Value)
	}
	for _, e := range s.Watches {
		r.watches.put(e.Key, watch{e.Value.From, e.Value.Target, e.Value.Name})
	}
}

// entries lists what is held, the oldest first, in a form that can be encoded.
func entries[K comparable, V, EK, EV any](b *bounded[K, V], key func(K) EK, value func(V) EV) []held[EK, EV] {
	b.tidy()
	all := make([]held[EK, EV], 0, len(b.m))
	for _, k := range b.order {
		all = append(all, held[EK, EV]{key(k), value(b.m[k])})
	}
	return all
}
