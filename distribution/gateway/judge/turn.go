package judge

import (
	"time"

	"beamsandbox/distribution/wire"
	"beamsandbox/distribution/wire/walk"
	"beamsandbox/policy"
)

// turn is one frame on its way through the judge.
type turn struct {
	j       *Judge
	o       *outbox
	dir     policy.Direction
	now     time.Time
	frame   []byte
	c       control
	payload []byte // with version byte; nil where there is none
	broken  string // the rule that the payload itself breaks
}

// begin readies the turn of a direction. It stays with the judge, so that a
// frame costs no memory.
func (j *Judge) begin(dir policy.Direction, now time.Time, frame []byte) *turn {
	t := &j.turns[dir]
	*t = turn{j: j, o: &j.out[dir], dir: dir, now: now, frame: frame}
	t.o.reset()
	return t
}

// split takes the frame apart into t.c and t.payload, or returns the rule that
// it breaks.
func (t *turn) split() string {
	if len(t.frame) < 3 || t.frame[0] != 112 || t.frame[1] != 131 {
		return ruleMalformed
	}
	if !t.c.read(t.frame[2:], t.j.names) {
		return ruleMalformed
	}
	if !spoken(t.c.op) {
		return ruleOpcode
	}
	rest := t.frame[2+t.c.size:]
	if !t.c.op.HasPayload() {
		if len(rest) != 0 {
			return ruleMalformed
		}
		return ""
	}
	if len(rest) < 2 || rest[0] != 131 {
		return ruleMalformed
	}
	t.payload = rest
	return ""
}

// spoken says whether an operation may come at all over a link that agreed on
// our flags.
func spoken(op wire.Op) bool {
	switch op {
	case wire.OpUnlink, wire.OpAlternateActionSend:
		return false
	}
	return op >= wire.OpLink && op <= wire.OpUnlinkIDAck && op != 5 && op != 9 && op != 10 && op != 11 && op != 14 && op != 15 && op != 17
}

func (t *turn) refuse(rule string) Verdict {
	v := Verdict{Action: Drop, Answer: t.o.answer, Log: t.o.log, Rule: rule}
	if closes(rule) && t.dir == policy.GuestToHost {
		v.Action = Close
	}
	v.Refusal = t.j.note(t.now, t.dir, rule, &t.c, t.payload, v.Action)
	return v
}

// swallow ends a turn in which the gateway answered itself, or need not.
func (t *turn) swallow() Verdict {
	return Verdict{Action: Drop, Answer: t.o.answer, Log: t.o.log}
}

// pass sends a control message that was written anew and the payload on,
// unless that breaks a rule by itself.
func (t *turn) pass(h *head, payload []byte) Verdict {
	if t.broken != "" {
		return t.refuse(t.broken)
	}
	t.j.commit()
	t.o.forward = append(t.o.forward, Frame{Head: t.o.keep(h.b), Payload: payload})
	return Verdict{Action: Pass, Forward: t.o.forward, Answer: t.o.answer, Log: t.o.log}
}

// answer sends a frame back.
func (t *turn) answer(h *head, payload []byte) {
	t.o.answer = append(t.o.answer, Frame{Head: t.o.keep(h.b), Payload: payload})
}

// head begins a control message of the turn's own.
func (t *turn) head(op wire.Op, n int) *head { return t.j.head(t.o, op, n) }

// word is an encoded atom.
func (t *turn) word(name string) []byte {
	return t.o.keep(walk.AppendAtom(append(t.o.buf(), 131), name))
}

// message reads the payload.
func (t *turn) message() walk.Reader {
	return walk.Reader{Names: t.j.names, B: t.payload[1:]}
}

// trusted passes everything but the traffic of global.
func (t *turn) trusted() Verdict {
	t.o.forward = append(t.o.forward, Frame{Head: t.frame})
	if t.split() == "" && string(t.c.name) == policy.GlobalServer {
		return t.global()
	}
	return Verdict{Action: Pass, Forward: t.o.forward}
}

// global cuts OTP's global off and answers what would wait: in_sync once to
// the first greeting of each side, noproc to a monitor. A global that knew of
// nodes which cannot reach each other would disconnect them.
func (t *turn) global() Verdict {
	switch t.c.op {
	case wire.OpMonitor:
		t.noProcess()
	case wire.OpRegSend:
		if !t.j.synced[t.dir] {
			t.j.synced[t.dir] = true
			t.inSync()
		}
	}
	return t.refuse(policy.RuleGlobal)
}

// inSync tells a node's global that the other node has nothing to settle with
// it (kernel's global.erl, in_sync), in the name of the other one.
func (t *turn) inSync() {
	absent, id := t.j.cfg.Host, walk.Pid{Node: walk.Host, ID: 1}
	if t.dir == policy.HostToGuest {
		absent, id = t.j.cfg.Guest, walk.Pid{Node: walk.Guest, ID: 1}
	}
	id.Creation = absent.Creation
	b := walk.AppendTuple(append(t.o.buf(), 131), 2)
	b = walk.AppendTuple(walk.AppendAtom(b, "$gen_cast"), 3)
	b = walk.AppendAtom(walk.AppendAtom(walk.AppendAtom(b, "in_sync"), absent.Name), "true")
	b = t.o.keep(b)
	t.answer(t.head(wire.OpRegSend, 4).pid(id).atom("").atom(policy.GlobalServer), b)
}

// noProcess answers a monitor as if there were no such process.
func (t *turn) noProcess() {
	c := &t.c
	if c.to.Node == walk.Other && c.name == nil {
		return
	}
	noproc := t.word("noproc")
	t.answer(t.head(wire.OpPayloadMonitorExit, 4).proc(c.to, c.name).pid(c.from).ref(c.ref), noproc)
}
