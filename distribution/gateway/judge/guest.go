package judge

import (
	"time"

	"beamsandbox/distribution/wire"
	"beamsandbox/distribution/wire/walk"
	"beamsandbox/policy"
)

// FromGuest judges one frame of the guest. Identifiers inside frame may be
// overwritten.
func (j *Judge) FromGuest(now time.Time, frame []byte) Verdict {
	t := j.begin(policy.GuestToHost, now, frame)
	if len(frame) == 0 {
		return t.swallow()
	}
	if j.mode() == policy.Trusted {
		return t.trusted()
	}
	wait := max(j.messages.take(now, 1), j.bytes.take(now, float64(len(frame))))
	v := t.judgeGuest()
	if j.mode() == policy.Audit && v.Rule != policy.RuleGlobal {
		v = t.audited(v)
	}
	v.Wait = wait
	return v
}

// Announced judges a frame of the guest by its size alone, before it is read:
// one that is over the limit closes, any other passes as yet.
func (j *Judge) Announced(now time.Time, size int) Verdict {
	t := j.begin(policy.GuestToHost, now, nil)
	if size <= unbounded(j.limits.Frame) || j.mode() == policy.Audit || j.mode() == policy.Trusted {
		return Verdict{}
	}
	return t.refuse(ruleSize)
}

// Slow judges a guest that does not take what the host VM sends it, which holds
// up processes of the host: its link must end, and that counts. FromHost must
// not run at the same time.
func (j *Judge) Slow(now time.Time) Verdict {
	if j.mode() == policy.Audit || j.mode() == policy.Trusted {
		return Verdict{}
	}
	return Verdict{Action: Close, Rule: ruleSlow, Refusal: j.note(now, policy.GuestToHost, ruleSlow, &control{}, nil, Close)}
}

// audited passes the frame as it came and keeps what would have been refused.
func (t *turn) audited(v Verdict) Verdict {
	t.o.forward = append(t.o.forward[:0], Frame{Head: t.frame})
	return Verdict{Action: Pass, Forward: t.o.forward, Rule: v.Rule, Refusal: v.Refusal}
}

func (t *turn) judgeGuest() Verdict {
	if len(t.frame) > unbounded(t.j.limits.Frame) {
		return t.refuse(ruleSize)
	}
	if rule := t.split(); rule != "" {
		return t.refuse(rule)
	}
	if t.c.token {
		return t.refuse(ruleToken)
	}
	if !t.own() {
		return t.refuse(ruleForged)
	}
	if t.c.reason != nil {
		// An exit reason inside the control message goes on as payload.
		t.payload = append(append(make([]byte, 0, 1+len(t.c.reason)), 131), t.c.reason...)
	}
	if t.payload != nil {
		if t.broken = t.j.inspect(t.payload[1:]); closes(t.broken) {
			return t.refuse(t.broken)
		}
	} else {
		clear(t.j.pending)
	}
	return t.guestOp()
}

// own says whether the sender is a process of this incarnation of the guest.
func (t *turn) own() bool {
	switch t.c.op {
	case wire.OpSend, wire.OpSpawnReply:
		return true
	}
	return t.c.proc != nil || t.j.ofGuest(t.c.from)
}

func (j *Judge) ofGuest(p walk.Pid) bool {
	return p.Node == walk.Guest && p.Creation == j.cfg.Guest.Creation
}

func (t *turn) guestOp() Verdict {
	switch t.c.op {
	case wire.OpSend, wire.OpSendSender:
		return t.guestSend()
	case wire.OpRegSend:
		return t.guestRegSend()
	case wire.OpAliasSend:
		return t.guestAlias()
	case wire.OpSpawnRequest:
		return t.guestSpawn()
	case wire.OpSpawnReply:
		return t.guestSpawnReply()
	case wire.OpMonitor:
		return t.guestMonitor()
	case wire.OpDemonitor:
		return t.guestDemonitor()
	case wire.OpMonitorExit, wire.OpPayloadMonitorExit:
		return t.guestDown()
	case wire.OpLink:
		return t.guestLink()
	case wire.OpExit, wire.OpPayloadExit:
		return t.guestExit()
	case wire.OpUnlinkID, wire.OpUnlinkIDAck:
		return t.guestUnlink()
	case wire.OpExit2, wire.OpPayloadExit2:
		return t.refuse(ruleExit)
	case wire.OpGroupLeader:
		return t.refuse(ruleGroupLeader)
	}
	return t.refuse(ruleOpcode)
}

// guestSend is a message to a process: a process group server, a PubSub
// worker, a group leader, or whoever asked and gets the answer.
func (t *turn) guestSend() Verdict {
	to, ok := t.j.realPid(t.c.to)
	if !ok {
		return t.refuse(ruleProcess)
	}
	if w := t.j.workers[to]; w != nil {
		return t.guestToWorker(w, to)
	}
	if s := t.j.scopeOf(to); s != nil {
		return t.guestGroups(s, to)
	}
	m := t.message()
	if t.j.rights.sinks.has(to) && m.Tagged(4, "io_request") {
		return t.guestIO(m)
	}
	return t.guestReply(to)
}

// guestReply is the answer to a call of the host, sent to the caller.
func (t *turn) guestReply(to walk.Pid) Verdict {
	ref, right, ok := t.answered()
	if !ok || right.caller != to {
		switch {
		case !ok && !t.looksLikeReply():
			return t.refuse(ruleProcess)
		case t.broken != "":
			return t.refuse(t.broken)
		}
		return t.refuse(ruleReply)
	}
	v := t.pass(t.again(to), t.payload)
	if v.Action == Pass {
		t.j.rights.replies.drop(ref)
	}
	return v
}

// guestAlias is the answer to a call, sent to the call's own address.
func (t *turn) guestAlias() Verdict {
	to, known := t.j.realRef(t.c.ref)
	ref, _, ok := t.answered()
	if !known || !ok || ref != to {
		if t.broken != "" {
			return t.refuse(t.broken)
		}
		return t.refuse(ruleReply)
	}
	v := t.pass(t.head(wire.OpAliasSend, 3).pid(t.c.from).ref(to), t.payload)
	if v.Action == Pass {
		t.j.rights.replies.drop(ref)
	}
	return v
}

// answered is the outstanding call that the payload has the form to answer:
// {Tag, Reply}, or {io_reply, Ref, Reply}.
func (t *turn) answered() (walk.Ref, reply, bool) {
	m := t.message()
	var ref walk.Ref
	form, ok := tagIO, false
	if m.Tagged(3, "io_reply") {
		ref, ok = m.Ref()
	} else if m.TupleOf(2) {
		ref, form, ok = readTag(&m)
	}
	if !ok {
		return ref, reply{}, false
	}
	right, ok := t.j.rights.replies.get(ref)
	return ref, right, ok && right.form == form
}

func (t *turn) looksLikeReply() bool {
	m := t.message()
	if m.Tagged(3, "io_reply") {
		return true
	}
	if !m.TupleOf(2) {
		return false
	}
	_, _, ok := readTag(&m)
	return ok
}

// again is the message's control message written anew: to the process that the
// guest meant, or to the name it sent to.
func (t *turn) again(to walk.Pid) *head {
	if t.c.op == wire.OpRegSend {
		return t.head(wire.OpRegSend, 4).pid(t.c.from).atom("").atom(string(t.c.name))
	}
	return t.head(wire.OpSend, 3).atom("").pid(to)
}

// guestLink answers a wish for a link as if there were no such process.
func (t *turn) guestLink() Verdict {
	if t.c.to.Node == walk.Other {
		return t.refuse(ruleLink)
	}
	noproc := t.word("noproc")
	t.answer(t.head(wire.OpPayloadExit, 3).pid(t.c.to).pid(t.c.from), noproc)
	return t.refuse(ruleLink)
}

// guestSpawn answers a spawn request as a node without that ability does.
func (t *turn) guestSpawn() Verdict {
	h := t.head(wire.OpSpawnReply, 5).ref(t.c.ref).pid(t.c.from).number(0).atom("notsup")
	t.answer(h, nil)
	return t.refuse(ruleSpawn)
}

// guestSpawnReply tells the host what became of a process it asked for.
func (t *turn) guestSpawnReply() Verdict {
	ref, known := t.j.realRef(t.c.ref)
	to, ok := t.j.realPid(t.c.to)
	s, asked := t.j.rights.spawns.get(ref)
	if !known || !ok || !asked || s.from != to {
		return t.refuse(ruleSpawnReply)
	}
	h := t.head(wire.OpSpawnReply, 5).ref(ref).pid(to)
	if t.c.result != nil {
		if !spawnError(t.c.result) {
			return t.refuse(ruleSpawnReply)
		}
		t.j.rights.spawns.drop(ref)
		t.j.rights.monitors.drop(ref)
		return t.pass(h.number(0).atom(string(t.c.result)), nil)
	}
	if !t.j.ofGuest(t.c.from) {
		return t.refuse(ruleForged)
	}
	t.j.rights.spawns.drop(ref)
	var flags uint64
	if s.link {
		flags |= 1
		t.j.rights.links.put(pair{to, t.c.from}, struct{}{})
	}
	if s.monitor {
		flags |= 2
		t.j.rights.monitors.put(ref, monitor{watcher: to, target: t.c.from})
	}
	return t.pass(h.number(flags).pid(t.c.from), nil)
}

// spawnError says whether an atom is one that erlang:spawn_request/5 names as
// the reason of a spawn that failed.
func spawnError(a []byte) bool {
	switch string(a) {
	case "badarg", "badopt", "notsup", "noconnection", "system_limit", "noproc":
		return true
	}
	return false
}
