package judge

import (
	"time"

	"beamsandbox/distribution/wire"
	"beamsandbox/distribution/wire/walk"
	"beamsandbox/policy"
)

// FromHost judges one frame of the host VM, and learns from it what the guest
// may do. Identifiers inside frame are overwritten.
func (j *Judge) FromHost(now time.Time, frame []byte) Verdict {
	t := j.begin(policy.HostToGuest, now, frame)
	if len(frame) == 0 {
		return t.swallow()
	}
	if j.mode() == policy.Trusted {
		return t.trusted()
	}
	v := t.judgeHost()
	if j.mode() == policy.Audit && v.Rule != policy.RuleGlobal {
		v = t.audited(v)
	}
	return v
}

func (t *turn) judgeHost() Verdict {
	if t.split() != "" {
		return t.refuse(ruleUnread)
	}
	c := &t.c
	if string(c.name) == policy.GlobalServer {
		return t.global()
	}
	if t.payload != nil {
		if rule := t.learnMessage(); rule != "" {
			return t.refuse(rule)
		}
	}
	t.learnSignal()
	return t.show()
}

// show passes the frame with the link's numbers in the place of the host's
// identifiers, and without trace token.
func (t *turn) show() Verdict {
	control := t.frame[2 : 2+t.c.size]
	if n, why := t.j.host.Walk(control); why != walk.OK || n != len(control) {
		return t.refuse(ruleUnread)
	}
	if t.payload != nil {
		if n, why := t.j.host.Walk(t.payload[1:]); why != walk.OK || n != len(t.payload)-1 {
			return t.refuse(ruleUnread)
		}
	}
	head := t.frame[:2+t.c.size]
	switch {
	case t.c.op == wire.OpSendSender:
		head = t.o.keep(t.head(wire.OpSend, 3).atom("").pid(t.c.to).b)
	case t.c.token:
		if control[0] != tagSmallTuple || control[2] != tagSmallInteger {
			return t.refuse(ruleUnread)
		}
		b := append(append(t.o.buf(), head[:2+t.c.cut[0]]...), control[t.c.cut[1]:]...)
		b[3]--
		b[5] = byte(t.c.op)
		head = t.o.keep(b)
	}
	t.o.forward = append(t.o.forward, Frame{Head: head, Payload: t.payload})
	return Verdict{Action: Pass, Forward: t.o.forward}
}

const tagSmallTuple = 104

// learnSignal takes note of what the host's signals entitle the guest to.
func (t *turn) learnSignal() {
	c, r := &t.c, &t.j.rights
	link := pair{c.from, c.to}
	switch c.op {
	case wire.OpLink:
		r.links.put(link, struct{}{})
	case wire.OpExit, wire.OpPayloadExit:
		r.links.drop(link)
	case wire.OpUnlinkID:
		r.links.drop(link)
		r.unlinks.put(link, c.id)
	case wire.OpUnlinkIDAck:
		r.links.drop(link)
	case wire.OpMonitor:
		r.monitors.put(c.ref, monitor{watcher: c.from, target: c.to, name: string(c.name)})
	case wire.OpDemonitor:
		r.monitors.drop(c.ref)
		r.replies.drop(c.ref)
	case wire.OpMonitorExit, wire.OpPayloadMonitorExit:
		r.watches.drop(c.ref)
		t.j.hostGone(c.from)
	case wire.OpGroupLeader:
		t.learnSink(c.from)
	case wire.OpSpawnRequest:
		t.learnSpawn()
	}
}

func (t *turn) learnSink(p walk.Pid) {
	if t.j.ofHost(p) && !t.j.rights.sinks.has(p) {
		t.j.rights.sinks.put(p, struct{}{})
	}
}

func (j *Judge) ofHost(p walk.Pid) bool {
	return p.Node == walk.Host && p.Creation == j.cfg.Host.Creation
}

// hostGone forgets a process of the host that has ended.
func (j *Judge) hostGone(p walk.Pid) {
	if j.workers[p] != nil {
		j.dropWorker(p)
	}
	for _, s := range j.scopes {
		if s.host == p && p != (walk.Pid{}) {
			j.setHost(s, walk.Pid{})
		}
	}
}

// learnSpawn is a process that the host wants started at the guest.
func (t *turn) learnSpawn() {
	c, r := &t.c, &t.j.rights
	t.learnSink(c.gl)
	s := spawn{from: c.from}
	opts := walk.Reader{Names: t.j.names, B: c.opts}
	n, _ := opts.List()
	for range n {
		switch {
		case opts.IsAtom("link"):
			s.link = true
		case opts.IsAtom("monitor"):
			s.monitor = true
		default:
			one := opts
			if one.Tagged(2, "monitor") {
				s.monitor = true
			}
			if _, ok := opts.Skip(); !ok {
				return
			}
		}
	}
	r.spawns.put(c.ref, s)
	if s.monitor {
		r.monitors.put(c.ref, monitor{watcher: c.from, any: true})
	}
}

// learnMessage looks at a message of the host for calls that want an answer
// and for process groups, and returns the rule by which it is withheld.
func (t *turn) learnMessage() string {
	m := t.message()
	if !m.IsTuple() {
		return ""
	}
	if s := t.hostGroupsOf(); s != nil {
		return t.hostGroups(s)
	}
	if string(t.c.name) == "rex" && t.asksFeatures() {
		return ruleFeatures
	}
	if t.foreignTopic() {
		return ruleTopic
	}
	t.learnCall(m)
	return ""
}

// learnCall recognises {Label, {Pid, Tag}, Request}, where Label is a word of
// OTP's behaviours or the caller itself, and {io_request, Pid, Ref, Request}.
func (t *turn) learnCall(m walk.Reader) {
	io := m
	if io.Tagged(4, "io_request") {
		p, ok := io.Pid()
		ref, okay := io.Ref()
		t.learnReply(p, ref, tagIO, ok && okay)
		return
	}
	if !m.TupleOf(3) {
		return
	}
	label, isAtom := m.Atom()
	self, isPid := walk.Pid{}, false
	if !isAtom {
		self, isPid = m.Pid()
	}
	if !isPid && string(label) != "$gen_call" && string(label) != "system" && string(label) != "$gen_sync_all_state_event" {
		return
	}
	p, ref, form, ok := readFrom(&m)
	t.learnReply(p, ref, form, ok && (isAtom || self == p))
}

func (t *turn) learnReply(p walk.Pid, ref walk.Ref, form tagForm, ok bool) {
	if ok && t.j.ofHost(p) && ref.Node == walk.Host && ref.Creation == t.j.cfg.Host.Creation {
		t.j.rights.replies.put(ref, reply{caller: p, form: form})
	}
}
