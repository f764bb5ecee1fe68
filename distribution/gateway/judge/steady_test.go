package judge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
)

// TestFramesTakeNoMemory: once a link has seen its kinds of traffic, judging a
// frame allocates nothing, whatever its size.
func TestFramesTakeNoMemory(t *testing.T) {
	m := granted()
	m.Limits = policy.Limits{Messages: -1, Bytes: -1}
	for name, size := range map[string]int{"small": 100, "large": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, m)
			_, worker := s.pubsub()
			stats := tup(atom("stats"), bin(strings.Repeat("x", size)), term.Map{{Key: atom("count"), Value: term.Int(1)}})
			told := s.frame(wire.OpSend, []term.Term{atom(""), worker}, broadcastOf(stats))
			asked := s.frame(wire.OpSend, []term.Term{atom(""), gpid(8)}, tup(hpid(3), stats))
			in := make([]byte, 0, 2*size+4096)
			none(t, "of the guest", func() Verdict { return s.j.FromGuest(s.now, append(in[:0], told...)) })
			none(t, "of the host", func() Verdict { return s.j.FromHost(s.now, append(in[:0], asked...)) })
		})
	}
}

// TestCallsAndRepliesTakeNoMemory: neither calls of the host, each with a
// reference of its own, nor the answers to their aliases cost anything once the
// link knows as many as it remembers; be it that the guest knows the references
// by other numbers or not.
func TestCallsAndRepliesTakeNoMemory(t *testing.T) {
	for _, exposed := range []bool{false, true} {
		t.Run(fmt.Sprintf("exposed=%v", exposed), func(t *testing.T) {
			m := granted()
			m.Limits = policy.Limits{Messages: -1, Bytes: -1}
			s := newStage(t, m)
			s.expose(exposed)
			next := s.calls()
			for range 3 * keepShown {
				next()
			}
			if n := testing.AllocsPerRun(keepShown, next); n != 0 {
				t.Errorf("a call and its answer take %v allocations", n)
			}
		})
	}
}

// calls has the host call and the guest answer, each time with another reference.
func (s *stage) calls() (next func()) {
	s.t.Helper()
	call, reply := s.callAndReply()
	at := bytes.LastIndex(call, []byte{0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2}) // the words of href(1)
	judged := func(v Verdict) []byte {
		if v.Action != Pass {
			s.t.Fatal(v.Rule)
		}
		p := v.Forward[0].Payload
		return p[max(0, len(p)-(len(call)-at)):][:12]
	}
	words := bytes.Clone(judged(s.j.FromHost(s.now, bytes.Clone(call))))
	first, second := bytes.Index(reply, words), bytes.LastIndex(reply, words)
	in, out, n := make([]byte, 0, 4096), make([]byte, 0, 4096), uint32(1)
	return func() {
		n++
		binary.BigEndian.PutUint32(call[at:], n)
		shown := judged(s.j.FromHost(s.now, append(out[:0], call...)))
		copy(reply[first:], shown)
		copy(reply[second:], shown)
		judged(s.j.FromGuest(s.now, append(in[:0], reply...)))
	}
}

// callAndReply is a call that the host may make again and again, and the guest's
// answer to its alias.
func (s *stage) callAndReply() (call, reply []byte) {
	s.t.Helper()
	call = s.frame(wire.OpSend, []term.Term{atom(""), gpid(8)}, tup(atom("$gen_call"), tup(hpid(3), alias(href(1))), atom("get")))
	h := s.read(s.j.FromHost(s.now, append([]byte{}, call...)).Forward[0])
	known := h.message.(term.Tuple)[1].(term.Tuple)[1]
	return call, s.frame(wire.OpAliasSend, []term.Term{gpid(8), known.(term.List).Tail}, tup(known, atom("ok")))
}

func none(t *testing.T, whose string, judge func() Verdict) {
	t.Helper()
	if n := testing.AllocsPerRun(200, func() {
		if v := judge(); v.Action != Pass {
			t.Fatal(v.Rule)
		}
	}); n != 0 {
		t.Errorf("a frame %s takes %v allocations", whose, n)
	}
}

// TestPatternLooksAtALargeMessageInPlace: a rule with a pattern copies no
// binary.
func TestPatternLooksAtALargeMessageInPlace(t *testing.T) {
	s := newStage(t, policy.Messages{
		Allow:  []policy.Allow{{To: "inbox", Kind: policy.Info, Message: "{data, '$binary'}"}},
		Limits: policy.Limits{Messages: -1, Bytes: -1},
	})
	frame := s.frame(wire.OpRegSend, []term.Term{gpid(8), atom(""), atom("inbox")}, tup(atom("data"), bin(strings.Repeat("x", 1<<20))))
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if v := s.j.FromGuest(s.now, frame); v.Action != Pass {
				b.Fatal(v.Rule)
			}
		}
	})
	if n := r.AllocedBytesPerOp(); n > 1024 {
		t.Errorf("a frame of %d bytes takes %d bytes of memory", len(frame), n)
	}
}
