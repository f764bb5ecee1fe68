package judge

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
)

func TestDeniedRequestsAreAnswered(t *testing.T) {
	s := newStage(t, granted())
	v := s.guest(wire.OpSpawnRequest, []term.Term{gref(1), gpid(1), gpid(2), tup(atom("os"), atom("cmd"), term.Int(1)), list()}, list())
	s.answers(v, wire.OpSpawnReply, []term.Term{gref(1), gpid(1), term.Int(0), atom("notsup")}, nil)
	v = s.guest(wire.OpMonitor, []term.Term{gpid(1), hpid(300), gref(1)}, nil)
	s.answers(v, wire.OpPayloadMonitorExit, []term.Term{hpid(300), gpid(1), gref(1)}, atom("noproc"))
	v = s.guest(wire.OpLink, []term.Term{gpid(1), hpid(300)}, nil)
	s.answers(v, wire.OpPayloadExit, []term.Term{hpid(300), gpid(1)}, atom("noproc"))
	v = s.guest(wire.OpUnlinkID, []term.Term{term.Int(5), gpid(1), hpid(300)}, nil)
	s.answers(v, wire.OpUnlinkIDAck, []term.Term{term.Int(5), hpid(300), gpid(1)}, nil)
}

func TestAtomBudgetOutlivesTheLink(t *testing.T) {
	m := granted()
	m.Limits.Atoms = 10
	life := &Lifetime{}
	inbox := []term.Term{gpid(1), atom(""), atom("inbox")}
	s := newStageOf(t, m, life)
	s.passes(s.guest(wire.OpRegSend, inbox, manyAtoms(10)), wire.OpRegSend, inbox, manyAtoms(10))
	s = newStageOf(t, m, life)
	s.refused(s.guest(wire.OpRegSend, inbox, manyAtoms(11)), Drop, ruleAtoms)
	s.passes(s.guest(wire.OpRegSend, inbox, manyAtoms(10)), wire.OpRegSend, inbox, manyAtoms(10))
	// What the host itself says is free, what was refused is not counted.
	s.hostSays(gpid(1), manyAtoms(11))
	s.passes(s.guest(wire.OpRegSend, inbox, manyAtoms(11)), wire.OpRegSend, inbox, manyAtoms(11))
	if len(life.Atoms) != 10 {
		t.Errorf("%d atoms counted", len(life.Atoms))
	}
}

func TestRateDelays(t *testing.T) {
	m := granted()
	m.Limits.Messages, m.Limits.Bytes = 100, -1
	s := newStage(t, m)
	var waited time.Duration
	for range 150 {
		v := s.guest(wire.OpRegSend, []term.Term{gpid(1), atom(""), atom("inbox")}, atom("ok"))
		if v.Action != Pass {
			t.Fatal("a message was lost")
		}
		waited = v.Wait
	}
	if waited != 500*time.Millisecond {
		t.Errorf("after 50 messages too many: wait %v", waited)
	}
	s.now = s.now.Add(time.Second)
	if v := s.guest(wire.OpRegSend, []term.Term{gpid(1), atom(""), atom("inbox")}, atom("ok")); v.Wait != 0 {
		t.Errorf("a second later: wait %v", v.Wait)
	}
}

func TestFrameOverTheLimit(t *testing.T) {
	m := granted()
	m.Limits.Frame = 1000
	s := newStage(t, m)
	s.refused(s.guest(wire.OpRegSend, []term.Term{gpid(1), atom(""), atom("inbox")}, bin(strings.Repeat("x", 1000))), Close, ruleSize)
}

func TestMonitorsAreBounded(t *testing.T) {
	s := newStage(t, granted())
	for i := range uint32(256) {
		s.passes(s.guest(wire.OpMonitor, []term.Term{gpid(1), atom("stats"), gref(i)}, nil), wire.OpMonitor, []term.Term{gpid(1), atom("stats"), gref(i)}, nil)
	}
	s.refused(s.guest(wire.OpMonitor, []term.Term{gpid(1), atom("stats"), gref(256)}, nil), Drop, ruleGrants)
}

// TestMonitorsWithOneReference: the host VM holds a monitor for each message, also
// where they come with one reference; no BEAM uses one again that it waits with.
func TestMonitorsWithOneReference(t *testing.T) {
	s := newStage(t, granted())
	passed := 0
	for range 300 {
		v := s.guest(wire.OpMonitor, []term.Term{gpid(1), atom("stats"), gref(1)}, nil)
		if v.Action == Pass {
			passed++
			continue
		}
		s.refused(v, Close, ruleForged)
	}
	if passed != 1 {
		t.Errorf("%d monitors of one reference passed, want 1", passed)
	}
}

func TestMonitorsAreBoundedByGrants(t *testing.T) {
	m := granted()
	m.Limits.Grants = 10
	s := newStage(t, m)
	for i := range uint32(20) {
		v := s.guest(wire.OpMonitor, []term.Term{gpid(1), atom("stats"), gref(i)}, nil)
		if passed := v.Action == Pass; passed != (i < 10) {
			t.Errorf("monitor %d: passed is %v, rule %q", i, passed, v.Rule)
		}
	}
}

// TestMonitorsOfAServerThatIsGone: who ended without a word is not watched.
func TestMonitorsOfAServerThatIsGone(t *testing.T) {
	s := newStage(t, granted())
	server, _ := s.pubsub()
	s.guest(wire.OpMonitor, []term.Term{gpid(60), server, gref(9)}, nil)
	s.host(wire.OpRegSend, []term.Term{hpid(70), atom(""), atom(pubSubScope)}, tup(atom("discover"), hpid(70)))
	if n := s.j.Held()["watch"]; n != 0 {
		t.Errorf("%d monitors are held on a server that is gone", n)
	}
}

func TestRightsSurviveManyOthers(t *testing.T) {
	s := newStage(t, granted())
	h := s.host(wire.OpMonitor, []term.Term{hpid(3), gpid(9), href(1)}, nil)
	for i := range uint32(20_000) {
		s.hostSays(gpid(1), list(hpid(1000+i), href(1000+i)))
	}
	if n := len(s.j.pids.numbers); n > 2*keepShown {
		t.Errorf("%d processes are remembered", n)
	}
	v := s.guest(wire.OpPayloadMonitorExit, []term.Term{gpid(9), h.control[1], h.control[3]}, atom("normal"))
	s.passes(v, wire.OpPayloadMonitorExit, []term.Term{gpid(9), hpid(3), href(1)}, atom("normal"))
}

func TestOutstandingCallsAreBounded(t *testing.T) {
	m := granted()
	m.Limits.Grants = 10
	s := newStage(t, m)
	for i := range uint32(1000) {
		s.hostSays(gpid(8), tup(atom("$gen_call"), tup(hpid(3), href(i)), atom("get")))
	}
	if n := len(s.j.rights.replies.m); n != 10 || len(s.j.rights.replies.order) > 100 {
		t.Errorf("%d calls outstanding", n)
	}
}

func TestRefusalsAreDescribed(t *testing.T) {
	s := newStage(t, granted())
	v := s.guest(wire.OpRegSend, []term.Term{gpid(1), atom(""), atom("init")}, tup(atom("stop"), bin(strings.Repeat("x", 1000))))
	want := Refusal{Time: s.now, From: policy.GuestToHost, Rule: ruleName, Op: "REG_SEND", To: "init", Message: `{stop,<<"` + strings.Repeat("x", 1000)}
	want.Message = want.Message[:briefTerm] + "..."
	if v.Refusal != want || len(s.life.Recent) != 1 || s.life.Recent[0] != want {
		t.Errorf("got %+v\nwant %+v", v.Refusal, want)
	}
	for range 1000 {
		v = s.guest(wire.OpRegSend, []term.Term{gpid(1), atom(""), atom("init")}, atom("x"))
	}
	if v.Refusal.Message != "" || len(s.life.Recent) != keepRefusals || s.life.Refusals[ruleName] != 1001 {
		t.Errorf("%d kept of %d, the last %+v", len(s.life.Recent), s.life.Refusals[ruleName], v.Refusal)
	}
}

func TestPolicyChangesOnALiveLink(t *testing.T) {
	s := newStage(t, granted())
	_, worker := s.pubsub()
	m := granted()
	m.PubSubs[0].Topics = []string{"other"}
	if err := s.j.Set(m); err != nil {
		t.Fatal(err)
	}
	s.refused(s.guest(wire.OpSend, []term.Term{atom(""), worker}, broadcastOf(atom("x"))), Drop, ruleTopic)
	m.Mode = policy.Audit
	if err := s.j.Set(m); err == nil {
		t.Error("the mode changed under a live link")
	}
	m = granted()
	m.PubSubs = nil
	if err := s.j.Set(m); err != nil {
		t.Fatal(err)
	}
	s.refused(s.guest(wire.OpSend, []term.Term{atom(""), worker}, broadcastOf(atom("x"))), Drop, ruleProcess)
}

// TestPolicyChangesRefillNoBudget: setting the same rules again, or others
// beside them, does not let a guest send more.
func TestPolicyChangesRefillNoBudget(t *testing.T) {
	s := newStage(t, granted())
	to := []term.Term{gpid(5), atom(""), atom("stats")}
	put := func() Verdict { return s.guest(wire.OpRegSend, to, castOf(tup(atom("put"), term.Int(1)))) }
	set := func(rate int) {
		t.Helper()
		m := granted()
		m.Allow = append([]policy.Allow{{To: "stats", Kind: policy.Info}}, m.Allow...)
		m.Allow[2].Rate = rate
		if err := s.j.Set(m); err != nil {
			t.Fatal(err)
		}
	}
	put()
	put()
	set(2)
	s.refused(put(), Drop, ruleRate)
	set(1000)
	s.refused(put(), Drop, ruleRate)
	s.now = s.now.Add(time.Second)
	set(3)
	for range 3 {
		s.passes(put(), wire.OpRegSend, to, castOf(tup(atom("put"), term.Int(1))))
	}
	s.refused(put(), Drop, ruleRate)
	s.now = s.now.Add(time.Second)
	for range 3 {
		s.passes(put(), wire.OpRegSend, to, castOf(tup(atom("put"), term.Int(1))))
	}
	s.refused(put(), Drop, ruleRate)
	set(0)
	s.passes(put(), wire.OpRegSend, to, castOf(tup(atom("put"), term.Int(1))))
}

func TestNewRefusesWhatMeansNothing(t *testing.T) {
	id := wire.Identity{Name: "a@b"}
	if _, err := New(Config{Guest: id, Host: id}, &Lifetime{}); err == nil {
		t.Error("a node that is its own guest")
	}
	m := policy.Messages{Allow: []policy.Allow{{To: "x", Kind: policy.Call, Message: "{"}}}
	if _, err := New(Config{Guest: id, Host: wire.Identity{Name: "c@d"}, Messages: m}, &Lifetime{}); err == nil {
		t.Error("a pattern that cannot be read")
	}
}

// TestManyMutatedFrames sends frames of a session with bytes changed, all over
// one link, and wants what comes out to be frames, and the state to stay small.
func TestManyMutatedFrames(t *testing.T) {
	m := granted()
	m.Limits.Messages, m.Limits.Bytes = -1, -1
	s := newStage(t, m)
	g := s.prepare()
	var frames [][]byte
	for _, a := range attacks() {
		if b := a.frame(s, g); len(b) < 1024 {
			frames = append(frames, b)
		}
	}
	frames = append(frames, s.frame(wire.OpSend, []term.Term{atom(""), g.worker}, broadcastOf(tup(atom("a"), gpid(1)))),
		s.frame(wire.OpSend, []term.Term{atom(""), g.server}, syncOf(gpid(60), tup(atom(adapter), list(gpid(1))))),
		s.frame(wire.OpSend, []term.Term{atom(""), g.caller}, tup(g.tag, atom("reply"))))
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		frame := append([]byte{}, frames[random.IntN(len(frames))]...)
		for range random.IntN(4) {
			frame[random.IntN(len(frame))] = byte(random.IntN(256))
		}
		if random.IntN(8) == 0 {
			frame = frame[:random.IntN(len(frame))]
		}
		for _, out := range s.j.FromGuest(s.now, frame).Forward {
			s.read(out)
		}
	}
	if n := len(s.life.Atoms); n > 2000 {
		t.Errorf("%d atoms", n)
	}
	if n := len(s.life.Recent) + len(s.life.Closed); n > keepRefusals+keepClosed {
		t.Errorf("%d refusals kept", n)
	}
	if n := len(s.j.pids.numbers) + len(s.j.refs.numbers); n > 100 {
		t.Errorf("a guest had %d identifiers made", n)
	}
}

func FuzzFromGuest(f *testing.F) {
	s := newStage(f, granted())
	g := s.prepare()
	for _, a := range attacks() {
		if b := a.frame(s, g); len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Add(s.frame(wire.OpSend, []term.Term{atom(""), g.worker}, broadcastOf(term.Map{{Key: atom("a"), Value: gpid(1)}})))
	f.Add(s.frame(wire.OpSend, []term.Term{atom(""), g.server}, syncOf(gpid(60), tup(atom(adapter), list(gpid(1))))))
	f.Add(s.frame(wire.OpSend, []term.Term{atom(""), g.caller}, tup(g.tag, atom("reply"))))
	f.Add(s.frame(wire.OpRegSend, []term.Term{gpid(1), atom(""), atom("stats")}, callOf(tup(atom("get"), atom("x")))))
	f.Fuzz(func(t *testing.T, frame []byte) {
		s := newStage(t, granted())
		s.prepare()
		v := s.j.FromGuest(s.now, frame)
		if (v.Action == Pass) != (len(v.Forward) > 0) {
			t.Fatalf("action %d with %d frames", v.Action, len(v.Forward))
		}
		for _, out := range v.Forward {
			h := s.read(out)
			again, err := wire.AppendFrame(nil, h.control, out.Payload)
			if err != nil || string(again) != string(out.Head)+string(out.Payload) {
				t.Fatalf("control message is not canonical: %s, %v", term.Format(h.control), err)
			}
		}
		for _, out := range v.Answer {
			s.read(out)
		}
	})
}

func FuzzFromHost(f *testing.F) {
	s := newStage(f, granted())
	f.Add(s.frame(wire.OpRegSend, []term.Term{hpid(50), atom(""), atom(pubSubScope)}, tup(atom("discover"), hpid(50))))
	f.Add(s.frame(wire.OpSend, []term.Term{atom(""), gpid(60)}, syncOf(hpid(50), tup(atom(adapter), list(hpid(51))))))
	f.Add(s.frame(wire.OpRegSendTT, []term.Term{hpid(3), atom(""), atom("pulse"), atom("t")}, callOf(atom("x"))))
	f.Fuzz(func(t *testing.T, frame []byte) {
		s := newStage(t, granted())
		s.prepare()
		v := s.j.FromHost(s.now, frame)
		if (v.Action == Pass) != (len(v.Forward) > 0) {
			t.Fatalf("action %d with %d frames", v.Action, len(v.Forward))
		}
	})
}

func BenchmarkBroadcast(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 64 << 10, 1 << 20} {
		for _, exposed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dB/exposed=%v", size, exposed), func(b *testing.B) {
				m := granted()
				m.Limits = policy.Limits{Messages: -1, Bytes: -1}
				s := newStage(b, m)
				s.expose(exposed)
				_, worker := s.pubsub()
				frame := s.frame(wire.OpSend, []term.Term{atom(""), worker}, broadcastOf(tup(atom("stats"), bin(strings.Repeat("x", size)), term.Map{{Key: atom("count"), Value: term.Int(1)}})))
				b.SetBytes(int64(len(frame)))
				b.ReportAllocs()
				for b.Loop() {
					if v := s.j.FromGuest(s.now, frame); v.Action != Pass {
						b.Fatal(v.Rule)
					}
				}
			})
		}
	}
}

func BenchmarkHostCallAndReply(b *testing.B) {
	for _, exposed := range []bool{false, true} {
		b.Run(fmt.Sprintf("exposed=%v", exposed), func(b *testing.B) {
			m := granted()
			m.Limits = policy.Limits{Messages: -1, Bytes: -1}
			s := newStage(b, m)
			s.expose(exposed)
			call, reply := s.callAndReply()
			in := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				s.j.FromHost(s.now, append(in[:0], call...))
				if v := s.j.FromGuest(s.now, append(in[:0], reply...)); v.Action != Pass {
					b.Fatal(v.Rule)
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		newStage(b, granted()).pubsub()
	}
}
