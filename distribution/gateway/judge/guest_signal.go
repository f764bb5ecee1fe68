package judge

import (
	"beamsandbox/distribution/wire"
	"beamsandbox/distribution/wire/walk"
	"beamsandbox/policy"
)

// filtered is the exit reason that takes the place of one which may not pass:
// the host must not wait for the news of an end.
const filtered = "filtered"

// guestMonitor is a guest's wish to hear of a process's end.
func (t *turn) guestMonitor() Verdict {
	c := &t.c
	if c.name != nil {
		return t.guestMonitorName()
	}
	to, ok := t.j.realPid(c.to)
	switch {
	case !ok:
	case t.j.rights.sinks.has(to):
		return t.swallow() // io with the group leader is ours to answer
	case t.j.scopeOf(to) != nil:
		return t.watch(watch{from: c.from, target: to})
	}
	t.noProcess()
	return t.refuse(ruleMonitor)
}

func (t *turn) guestMonitorName() Verdict {
	switch {
	case string(t.c.name) == policy.GlobalServer:
		return t.global()
	case string(t.c.name) == "net_kernel":
		return t.swallow() // is_auth is ours to answer
	case t.j.rules.callable(t.c.name):
		return t.watch(watch{from: t.c.from, name: string(t.c.name)})
	}
	t.noProcess()
	return t.refuse(ruleMonitor)
}

// watch passes a monitor on. The host VM holds one for each that passes, so a
// reference that is held may not come again: a BEAM makes a new one each time.
func (t *turn) watch(w watch) Verdict {
	c := &t.c
	held := &t.j.rights.watches
	if !t.j.ownRef(c.ref) || held.has(c.ref) {
		return t.refuse(ruleForged)
	}
	if len(held.m) >= min(unbounded(t.j.limits.Monitors), held.max) {
		t.noProcess()
		return t.refuse(ruleGrants)
	}
	held.put(c.ref, w)
	return t.pass(t.head(wire.OpMonitor, 4).pid(c.from).proc(w.target, c.name).ref(c.ref), nil)
}

func (t *turn) guestDemonitor() Verdict {
	c := &t.c
	w, ok := t.j.rights.watches.get(c.ref)
	if !ok || w.from != c.from {
		return t.swallow() // of a monitor that was answered here
	}
	if to, _ := t.j.realPid(c.to); to != w.target || string(c.name) != w.name {
		return t.refuse(ruleMonitor)
	}
	t.j.rights.watches.drop(c.ref)
	h := t.head(wire.OpDemonitor, 4).pid(c.from)
	if w.name != "" {
		return t.pass(h.atom(w.name).ref(c.ref), nil)
	}
	return t.pass(h.pid(w.target).ref(c.ref), nil)
}

// guestDown tells the host that a process it watches has ended.
func (t *turn) guestDown() Verdict {
	c := &t.c
	ref, known := t.j.realRef(c.ref)
	to, ok := t.j.realPid(c.to)
	m, held := t.j.rights.monitors.get(ref)
	if !known || !ok || !held || m.watcher != to || !m.watches(t) {
		return t.refuse(ruleDown)
	}
	t.j.rights.monitors.drop(ref)
	t.j.rights.spawns.drop(ref)
	t.j.rights.replies.drop(ref)
	t.j.gone(c.from)
	return t.passReason(t.head(wire.OpPayloadMonitorExit, 4).proc(c.from, c.proc).pid(to).ref(ref))
}

// watches says whether the process that ended is the one that m is about. That
// of a spawn is known by its answer, which a node sends first (OTP's
// erl_create_process).
func (m monitor) watches(t *turn) bool {
	if t.c.proc != nil {
		return m.name != "" && string(t.c.proc) == m.name
	}
	return m.name == "" && !m.any && m.target == t.c.from
}

// guestExit tells the host that one end of a link has ended.
func (t *turn) guestExit() Verdict {
	to, ok := t.j.realPid(t.c.to)
	link := pair{to, t.c.from}
	if !ok || !t.j.rights.links.has(link) {
		return t.refuse(ruleLink)
	}
	t.j.rights.links.drop(link)
	return t.passReason(t.head(wire.OpPayloadExit, 3).pid(t.c.from).pid(to))
}

// passReason passes news of an end. A reason that may not pass is counted and
// replaced.
func (t *turn) passReason(h *head) Verdict {
	rule := t.broken
	if rule == "" {
		return t.pass(h, t.payload)
	}
	clear(t.j.pending)
	t.broken = ""
	v := t.pass(h, append([]byte{131, 119, byte(len(filtered))}, filtered...))
	v.Rule, v.Refusal = rule, t.j.note(t.now, t.dir, rule, &t.c, t.payload, Drop)
	return v
}

// guestUnlink ends a link, or acknowledges that the host did.
func (t *turn) guestUnlink() Verdict {
	c := &t.c
	to, ok := t.j.realPid(c.to)
	link := pair{to, c.from}
	if c.op == wire.OpUnlinkIDAck {
		if id, asked := t.j.rights.unlinks.get(link); !ok || !asked || id != c.id {
			return t.refuse(ruleLink)
		}
		t.j.rights.unlinks.drop(link)
		return t.pass(t.head(wire.OpUnlinkIDAck, 4).number(c.id).pid(c.from).pid(to), nil)
	}
	if ok && t.j.rights.links.has(link) {
		t.j.rights.links.drop(link)
		return t.pass(t.head(wire.OpUnlinkID, 4).number(c.id).pid(c.from).pid(to), nil)
	}
	if c.to.Node == walk.Other {
		return t.refuse(ruleLink)
	}
	// A link that was refused, or that the host ended at the same time.
	t.answer(t.head(wire.OpUnlinkIDAck, 4).number(c.id).pid(c.to).pid(c.from), nil)
	return t.swallow()
}
