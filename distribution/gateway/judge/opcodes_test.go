package judge

import (
	"fmt"
	"slices"
	"testing"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
)

// spokenBy is every control message that a node may send, without its operation,
// with from where its sender stands.
func spokenBy(from term.Term) map[wire.Op][]term.Term {
	mfa := tup(atom("os"), atom("cmd"), term.Int(1))
	return map[wire.Op][]term.Term{
		wire.OpLink:               {from, hpid(1)},
		wire.OpSend:               {atom(""), hpid(1)},
		wire.OpExit:               {from, hpid(1), atom("kill")},
		wire.OpRegSend:            {from, atom(""), atom("inbox")},
		wire.OpGroupLeader:        {from, hpid(1)},
		wire.OpExit2:              {from, hpid(1), atom("kill")},
		wire.OpMonitor:            {from, hpid(1), gref(1)},
		wire.OpDemonitor:          {from, hpid(1), gref(1)},
		wire.OpMonitorExit:        {from, hpid(1), href(1), atom("kill")},
		wire.OpSendSender:         {from, hpid(1)},
		wire.OpPayloadExit:        {from, hpid(1)},
		wire.OpPayloadExit2:       {from, hpid(1)},
		wire.OpPayloadMonitorExit: {from, hpid(1), href(1)},
		wire.OpSpawnRequest:       {gref(1), from, from, mfa, list()},
		wire.OpSpawnReply:         {href(1), hpid(1), term.Int(0), from},
		wire.OpAliasSend:          {from, href(1)},
		wire.OpUnlinkID:           {term.Int(1), from, hpid(1)},
		wire.OpUnlinkIDAck:        {term.Int(1), from, hpid(1)},
	}
}

// tokens says which operation is another one with a trace token, and where that
// stands in what spokenBy gives.
var tokens = map[wire.Op]struct {
	plain wire.Op
	at    int
}{
	wire.OpSendTT:         {wire.OpSend, 2},
	wire.OpExitTT:         {wire.OpExit, 2},
	wire.OpRegSendTT:      {wire.OpRegSend, 3},
	wire.OpExit2TT:        {wire.OpExit2, 2},
	wire.OpSendSenderTT:   {wire.OpSendSender, 2},
	wire.OpPayloadExitTT:  {wire.OpPayloadExit, 2},
	wire.OpPayloadExit2TT: {wire.OpPayloadExit2, 2},
	wire.OpSpawnRequestTT: {wire.OpSpawnRequest, 5},
	wire.OpSpawnReplyTT:   {wire.OpSpawnReply, 4},
	wire.OpAliasSendTT:    {wire.OpAliasSend, 2},
}

// anything is a message where an operation has one.
func anything(op wire.Op) term.Term {
	if op.HasPayload() {
		return list(atom("kill"))
	}
	return nil
}

// raw is a frame of any control message, right or wrong.
func raw(t *testing.T, control term.Tuple, message term.Term) []byte {
	t.Helper()
	frame := []byte{112}
	for _, part := range []term.Term{control, message} {
		if part == nil {
			continue
		}
		b, err := term.Encode(part)
		if err != nil {
			t.Fatal(err)
		}
		frame = append(frame, b...)
	}
	return frame
}

// closesBy wants a frame of a guest, on a link where all has met, to end the link
// by a rule.
func closesBy(t *testing.T, rule string, op wire.Op, rest []term.Term, message term.Term) {
	t.Helper()
	s := newStage(t, granted())
	s.prepare()
	v := s.j.FromGuest(s.now, raw(t, append(tup(term.Int(op)), rest...), message))
	s.refused(v, Close, rule)
	if s.life.Refusals[rule] != 1 || s.life.Closures(s.now) != 1 {
		t.Errorf("counted %v, %d links closed", s.life.Refusals, s.life.Closures(s.now))
	}
	if t.Failed() {
		t.Fatalf("for %s with %s", op, term.Format(tup(rest...)))
	}
}

// TestNobodyPosesAsAnotherNode: a sender that is not of this guest, in this
// incarnation, ends the link, whatever it sends.
func TestNobodyPosesAsAnotherNode(t *testing.T) {
	for who, from := range map[string]term.Pid{
		"third node":    {Node: "third@vm", ID: 1, Creation: 7},
		"host":          hpid(1),
		"earlier guest": {Node: guestNode, ID: 1, Creation: 6},
		"later guest":   {Node: guestNode, ID: 1, Creation: 8},
		"earlier host":  {Node: hostNode, ID: 1, Creation: 8},
	} {
		for op, rest := range spokenBy(from) {
			if op == wire.OpSend || op == wire.OpSpawnReply {
				continue // has no sender; says who was spawned, as the next test has it
			}
			t.Run(fmt.Sprintf("%s by %s", op, who), func(t *testing.T) { closesBy(t, ruleForged, op, rest, anything(op)) })
		}
	}
}

// TestNobodyElseIsSpawned: the answer to a spawn request that the host made names
// a process of this guest, or an atom.
func TestNobodyElseIsSpawned(t *testing.T) {
	for _, who := range []term.Pid{{Node: "third@vm", ID: 1, Creation: 7}, hpid(1), {Node: guestNode, ID: 1, Creation: 6}} {
		s := newStage(t, granted())
		h := s.host(wire.OpSpawnRequest, []term.Term{href(70), hpid(70), hpid(71), tup(atom("m"), atom("f"), term.Int(0)), list()}, list())
		v := s.j.FromGuest(s.now, s.frame(wire.OpSpawnReply, []term.Term{h.control[1], h.control[2], term.Int(0), who}, nil))
		s.refused(v, Close, ruleForged)
	}
}

// TestTraceTokensCloseWhateverTheyAreOf: well-formed ones and others.
func TestTraceTokensCloseWhateverTheyAreOf(t *testing.T) {
	real := tup(term.Int(1), term.Int(2), term.Int(3), gpid(1), term.Int(4))
	for op, o := range tokens {
		for what, token := range map[string]term.Term{"a token": real, "an atom": atom("x"), "nothing": list(), "a pid of the host": hpid(1)} {
			rest := slices.Insert(slices.Clone(spokenBy(gpid(1))[o.plain]), o.at, token)
			t.Run(fmt.Sprintf("%s with %s", op, what), func(t *testing.T) { closesBy(t, ruleToken, op, rest, anything(op)) })
		}
	}
}

// TestOperationsThatWereNotAgreedOnClose: every number that is no operation of
// ours, with any number of elements.
func TestOperationsThatWereNotAgreedOnClose(t *testing.T) {
	known := spokenBy(gpid(1))
	for n := range 256 {
		op := wire.Op(n)
		if _, ok := tokens[op]; ok || known[op] != nil {
			continue
		}
		for _, rest := range [][]term.Term{{}, {gpid(1), hpid(1)}, {term.Int(4), gpid(1), hpid(1)}, {hpid(1), hpid(1), hpid(1), hpid(1), hpid(1), hpid(1)}} {
			if op == wire.OpUnlink && len(rest) != 2 {
				continue // it is read, and of wrong size
			}
			closesBy(t, ruleOpcode, op, rest, nil)
			closesBy(t, ruleOpcode, op, rest, list())
		}
	}
}

// TestControlMessagesOfWrongSizeClose: an element too few or too many, a message
// where there is none, and none where there is one.
func TestControlMessagesOfWrongSizeClose(t *testing.T) {
	all := spokenBy(gpid(1))
	all[wire.OpUnlink] = []term.Term{gpid(1), hpid(1)}
	for op, o := range tokens {
		all[op] = slices.Insert(slices.Clone(all[o.plain]), o.at, term.Term(atom("x")))
	}
	for op, rest := range all {
		t.Run(op.String(), func(t *testing.T) {
			closesBy(t, ruleMalformed, op, rest[:len(rest)-1], anything(op))
			closesBy(t, ruleMalformed, op, append(slices.Clone(rest), atom("x")), anything(op))
			closesBy(t, ruleMalformed, op, nil, anything(op))
			if op == wire.OpUnlink {
				return // is not agreed on, before its message is looked at
			}
			if op.HasPayload() {
				closesBy(t, ruleMalformed, op, rest, nil)
			} else {
				closesBy(t, ruleMalformed, op, rest, atom("x"))
			}
		})
	}
	for _, n := range []int{-1, 256, 1 << 20} {
		s := newStage(t, granted())
		s.refused(s.j.FromGuest(s.now, raw(t, tup(term.Int(n), gpid(1), hpid(1)), nil)), Close, ruleMalformed)
	}
}
