package judge

import (
	"beamsandbox/distribution/wire"
	"beamsandbox/distribution/wire/walk"
)

// control is one control message, taken apart in place.
type control struct {
	op     wire.Op // without trace token
	token  bool    // it had one
	from   walk.Pid
	proc   []byte // from, where it is a registered name
	to     walk.Pid
	name   []byte // to, where it is a registered name
	ref    walk.Ref
	id     uint64 // of an unlink
	flags  int32  // of a spawn reply
	result []byte // of a spawn reply, where it is an atom
	reason []byte // an exit reason that stands in the control message
	opts   []byte // of a spawn request
	gl     walk.Pid
	cut    [2]int // where the token stands, from the beginning of the tuple
	size   int    // of the tuple, in bytes
}

// plain is the operation without trace token.
func plain(op wire.Op) (wire.Op, bool) {
	switch op {
	case wire.OpSendTT:
		return wire.OpSend, true
	case wire.OpExitTT:
		return wire.OpExit, true
	case wire.OpRegSendTT:
		return wire.OpRegSend, true
	case wire.OpExit2TT:
		return wire.OpExit2, true
	case wire.OpSendSenderTT:
		return wire.OpSendSender, true
	case wire.OpPayloadExitTT:
		return wire.OpPayloadExit, true
	case wire.OpPayloadExit2TT:
		return wire.OpPayloadExit2, true
	case wire.OpSpawnRequestTT:
		return wire.OpSpawnRequest, true
	case wire.OpSpawnReplyTT:
		return wire.OpSpawnReply, true
	case wire.OpAliasSendTT:
		return wire.OpAliasSend, true
	}
	return op, false
}

// reading takes a control message apart; every step fails once one did.
type reading struct {
	walk.Reader
	c    *control
	all  int
	bad  bool
	left int // elements of the tuple still to come
}

// read takes the control message apart that b begins with. False means that it
// is none, or one of wrong size or types. An unknown operation is read as far
// as its number.
func (c *control) read(b []byte, names walk.Names) bool {
	r := reading{Reader: walk.Reader{Names: names, B: b}, c: c, all: len(b)}
	n, ok := r.Tuple()
	if !ok || n < 1 {
		return false
	}
	op, ok := r.Uint()
	if !ok || op > 255 {
		return false
	}
	c.op, c.token = plain(wire.Op(op))
	r.left = n - 1
	r.elements()
	c.size = len(b) - len(r.B)
	return !r.bad && r.left == 0
}

func (r *reading) elements() {
	c := r.c
	switch c.op {
	case wire.OpLink, wire.OpUnlink, wire.OpGroupLeader, wire.OpSendSender, wire.OpPayloadExit, wire.OpPayloadExit2:
		r.pid(&c.from)
		r.pid(&c.to)
		r.token()
	case wire.OpExit, wire.OpExit2:
		r.pid(&c.from)
		r.pid(&c.to)
		r.token()
		r.any(&c.reason)
	case wire.OpSend:
		r.cookie()
		r.pid(&c.to)
		r.token()
	case wire.OpRegSend:
		r.pid(&c.from)
		r.cookie()
		r.atom(&c.name)
		r.token()
	case wire.OpAliasSend:
		r.pid(&c.from)
		r.ref()
		r.token()
	case wire.OpUnlinkID, wire.OpUnlinkIDAck:
		r.number()
		r.pid(&c.from)
		r.pid(&c.to)
	default:
		r.others()
	}
}

func (r *reading) others() {
	c := r.c
	switch c.op {
	case wire.OpMonitor, wire.OpDemonitor:
		r.pid(&c.from)
		r.pidOrName(&c.to, &c.name)
		r.ref()
	case wire.OpMonitorExit, wire.OpPayloadMonitorExit:
		r.pidOrName(&c.from, &c.proc)
		r.pid(&c.to)
		r.ref()
		if c.op == wire.OpMonitorExit {
			r.any(&c.reason)
		}
	case wire.OpSpawnRequest:
		var mfa []byte
		r.ref()
		r.pid(&c.from)
		r.pid(&c.gl)
		r.any(&mfa)
		r.any(&c.opts)
		r.token()
	case wire.OpSpawnReply:
		r.ref()
		r.pid(&c.to)
		r.int(&c.flags)
		r.pidOrName(&c.from, &c.result)
		r.token()
	default:
		r.left, r.B = 0, nil
	}
}

func (r *reading) step(ok bool) {
	r.left--
	r.bad = r.bad || !ok || r.left < 0
}

func (r *reading) pid(p *walk.Pid) {
	got, ok := r.Pid()
	*p = got
	r.step(ok)
}

func (r *reading) atom(name *[]byte) {
	got, ok := r.Name()
	*name = got
	r.step(ok)
}

func (r *reading) pidOrName(p *walk.Pid, name *[]byte) {
	if got, ok := r.Name(); ok {
		*name = got
		r.step(true)
		return
	}
	r.pid(p)
}

func (r *reading) ref() {
	got, ok := r.Ref()
	r.c.ref = got
	r.step(ok)
}

// number reads the number of an unlink, from 1 to 2^64-1; a node ends the link
// over any other.
func (r *reading) number() {
	got, ok := r.Uint()
	r.c.id = got
	r.step(ok && got > 0)
}

func (r *reading) int(n *int32) {
	got, ok := r.Int()
	*n = got
	r.step(ok)
}

func (r *reading) any(b *[]byte) {
	got, ok := r.Skip()
	*b = got
	r.step(ok)
}

// cookie reads what stood for a cookie once: an atom, or what OTP writes
// where it has nothing to say.
func (r *reading) cookie() {
	_, ok := r.Skip()
	r.step(ok)
}

func (r *reading) token() {
	if !r.c.token {
		return
	}
	r.c.cut[0] = r.all - len(r.B)
	_, ok := r.Skip()
	r.c.cut[1] = r.all - len(r.B)
	r.step(ok)
}

// head writes control messages anew.
type head struct {
	b     []byte
	names walk.Names
}

// head begins a frame: 112, 131, {Op, ...} of n elements.
func (j *Judge) head(o *outbox, op wire.Op, n int) *head {
	h := &j.heads
	h.names = j.names
	h.b = walk.AppendUint(walk.AppendTuple(append(o.buf(), 112, 131), n), uint64(op))
	return h
}

func (h *head) pid(p walk.Pid) *head  { h.b = walk.AppendPid(h.b, p, h.names); return h }
func (h *head) ref(r walk.Ref) *head  { h.b = walk.AppendRef(h.b, r, h.names); return h }
func (h *head) atom(s string) *head   { h.b = walk.AppendAtom(h.b, s); return h }
func (h *head) number(n uint64) *head { h.b = walk.AppendUint(h.b, n); return h }

// proc writes a process, or the name it is known by.
func (h *head) proc(p walk.Pid, name []byte) *head {
	if name != nil {
		return h.atom(string(name))
	}
	return h.pid(p)
}
