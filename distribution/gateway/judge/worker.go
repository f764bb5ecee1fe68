package judge

import (
	"slices"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire/walk"
)

// worker is a process of the host that the guest may send to: a worker of a
// PubSub, or a member of other groups whose policy has a message. It may be in
// several, and what any of them lets through may be sent to it.
type worker struct {
	groups   map[home]int // how often it joined
	channels []*channel   // of its groups, each once
}

// bind finds the channels of the worker's groups, in the order of the groups'
// names. Groups without one are forgotten.
func (w *worker) bind(r *rules) {
	w.channels = w.channels[:0]
	homes := make([]home, 0, len(w.groups))
	for h := range w.groups {
		homes = append(homes, h)
	}
	slices.SortFunc(homes, home.compare)
	for _, h := range homes {
		ch := r.channel(h)
		if ch == nil {
			delete(w.groups, h)
		} else if !slices.Contains(w.channels, ch) {
			w.channels = append(w.channels, ch)
		}
	}
}

// addWorkers learns that processes joined a group.
func (j *Judge) addWorkers(s *scope, group, members term.Term) {
	name, _ := group.(term.Atom)
	h := home{s.name, string(name)}
	if j.rules.channel(h) == nil {
		return
	}
	pids, _ := j.processes(members)
	for _, p := range pids {
		if j.ofHost(p) {
			j.addWorker(p, h)
		}
	}
}

func (j *Judge) addWorker(p walk.Pid, h home) {
	w := j.workers[p]
	if w == nil {
		if len(j.workers) >= maxMembers {
			return
		}
		w = &worker{groups: map[home]int{}}
		j.workers[p] = w
		j.pids.pin(p, 1)
	}
	if w.groups[h]++; w.groups[h] == 1 {
		w.bind(j.rules)
	}
}

// leaveGroups learns that processes left groups, each once.
func (j *Judge) leaveGroups(s *scope, members term.Term, groups term.List) {
	pids, _ := j.processes(members)
	for _, p := range pids {
		for _, g := range groups.Elems {
			name, _ := g.(term.Atom)
			j.leaveGroup(p, home{s.name, string(name)}, 1)
		}
	}
}

// leaveScope forgets who is in the groups of a scope.
func (j *Judge) leaveScope(s *scope) {
	for p, w := range j.workers {
		for h, n := range w.groups {
			if h.scope == s.name {
				j.leaveGroup(p, h, n)
			}
		}
	}
}

func (j *Judge) leaveGroup(p walk.Pid, h home, times int) {
	w := j.workers[p]
	if w == nil || w.groups[h] == 0 {
		return
	}
	if w.groups[h] -= times; w.groups[h] > 0 {
		return
	}
	delete(w.groups, h)
	if w.bind(j.rules); len(w.channels) == 0 {
		j.dropWorker(p)
	}
}

func (j *Judge) dropWorker(p walk.Pid) {
	if j.workers[p] != nil {
		delete(j.workers, p)
		j.pids.pin(p, -1)
	}
}
