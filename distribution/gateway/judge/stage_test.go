package judge

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
)

const (
	guestNode = term.Atom("pulse@vm")
	hostNode  = term.Atom("demo_web@vm")
	adapter   = "Elixir.Demo.PubSub.Adapter"
)

// stage is one link under test with both nodes played by the test.
type stage struct {
	t    testing.TB
	j    *Judge
	life *Lifetime
	now  time.Time
}

func granted() policy.Messages {
	return policy.Messages{
		PubSubs: []policy.PubSub{{
			Name: "Elixir.Demo.PubSub", Topics: []string{"stats:updates", "room:*"},
			Dispatchers: []string{"Elixir.Phoenix.PubSub", "Elixir.Phoenix.Channel.Server"},
		}},
		Groups: []policy.Groups{{Scope: "jobs", Names: []string{"workers", "more"}}},
		Allow: []policy.Allow{
			{To: "stats", Kind: policy.Call, Message: "{get, '$atom'}"},
			{To: "stats", Kind: policy.Cast, Message: "{put, '_'}", Rate: 2},
			{To: "inbox", Kind: policy.Info},
		},
	}
}

func newStage(t testing.TB, m policy.Messages) *stage {
	return newStageOf(t, m, &Lifetime{})
}

func newStageOf(t testing.TB, m policy.Messages, life *Lifetime) *stage {
	t.Helper()
	j, err := New(Config{
		Guest: wire.Identity{Name: string(guestNode), Creation: 7}, Host: wire.Identity{Name: string(hostNode), Creation: 9},
		Messages: m,
	}, life)
	if err != nil {
		t.Fatal(err)
	}
	return &stage{t: t, j: j, life: life, now: time.Unix(1_800_000_000, 0)}
}

func gpid(n uint32) term.Pid { return term.Pid{Node: guestNode, ID: n, Creation: 7} }
func hpid(n uint32) term.Pid { return term.Pid{Node: hostNode, ID: n, Creation: 9} }

func gref(n uint32) term.Ref {
	return term.Ref{Node: guestNode, Creation: 7, Len: 3, Words: [5]uint32{n, 1, 2}}
}

func href(n uint32) term.Ref {
	return term.Ref{Node: hostNode, Creation: 9, Len: 3, Words: [5]uint32{n, 1, 2}}
}

func alias(r term.Ref) term.List {
	return term.List{Elems: []term.Term{term.Atom("alias")}, Tail: r}
}

func tup(ts ...term.Term) term.Tuple { return ts }
func list(ts ...term.Term) term.List { return term.List{Elems: ts} }
func atom(s string) term.Atom        { return term.Atom(s) }
func bin(s string) term.Binary       { return term.Binary(s) }

// frame writes {Op, ...} and, when there is one, a message.
func (s *stage) frame(op wire.Op, rest []term.Term, message term.Term) []byte {
	s.t.Helper()
	control := append(term.Tuple{term.Int(op)}, rest...)
	var b []byte
	var err error
	if message == nil {
		b, err = wire.AppendFrame(nil, control, nil)
	} else {
		b, err = wire.AppendMessage(nil, control, message)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// heard is a frame as the side that gets it reads it.
type heard struct {
	op      wire.Op
	control term.Tuple
	message term.Term
}

func (s *stage) read(f Frame) heard {
	s.t.Helper()
	whole := append(append([]byte{}, f.Head...), f.Payload...)
	c, payload, err := wire.SplitFrame(whole)
	if err != nil {
		s.t.Fatal(err)
	}
	h := heard{op: c.Op, control: c.Tuple}
	if payload != nil {
		var rest []byte
		if h.message, rest, err = term.Decode(payload); err != nil || len(rest) > 0 {
			s.t.Fatalf("payload leaves %d bytes: %v", len(rest), err)
		}
	}
	return h
}

// host sends a frame of the host and returns what the guest hears.
func (s *stage) host(op wire.Op, rest []term.Term, message term.Term) heard {
	s.t.Helper()
	v := s.j.FromHost(s.now, s.frame(op, rest, message))
	if v.Action != Pass || v.Rule != "" || len(v.Forward) != 1 {
		s.t.Fatalf("host's %s: action %d by rule %q", op, v.Action, v.Rule)
	}
	return s.read(v.Forward[0])
}

// hostSays is host for a message to a process of the guest.
func (s *stage) hostSays(to term.Pid, message term.Term) heard {
	s.t.Helper()
	return s.host(wire.OpSend, []term.Term{atom(""), to}, message)
}

// guest sends a frame of the guest. Another judge has taken over by then, so
// that whatever is learnt outlives that.
func (s *stage) guest(op wire.Op, rest []term.Term, message term.Term) Verdict {
	s.t.Helper()
	s.j = s.heir()
	return s.j.FromGuest(s.now, s.frame(op, rest, message))
}

// heir is a judge that goes on with what another one knew, and with its
// budgets, which would begin anew.
func (s *stage) heir() *Judge {
	s.t.Helper()
	b, err := json.Marshal(s.j.State())
	if err != nil {
		s.t.Fatal(err)
	}
	var state State
	if err := json.Unmarshal(b, &state); err != nil {
		s.t.Fatal(err)
	}
	j, err := Restore(s.j.cfg, s.life, state)
	if err != nil {
		s.t.Fatal(err)
	}
	if was, is := s.j.Held(), j.Held(); !maps.Equal(was, is) {
		s.t.Fatalf("of the rights %v remain %v", was, is)
	}
	j.rules, j.messages, j.bytes, j.renders = s.j.rules, s.j.messages, s.j.bytes, s.j.renders
	j.regroup()
	for name, sc := range s.j.scopes {
		j.scopes[name].discovers = sc.discovers
	}
	return j
}

// expose has the guest see the host's identifiers as they are, or not.
func (s *stage) expose(all bool) {
	s.j.cfg.Exposed, s.j.pids.exposed, s.j.refs.exposed = all, all, all
}

// passes wants what the guest sent to come out as that.
func (s *stage) passes(v Verdict, op wire.Op, rest []term.Term, message term.Term) {
	s.t.Helper()
	s.passesIn(v, "", op, rest, message)
}

// passesIn wants it to come out as that, what a rule refused taken out.
func (s *stage) passesIn(v Verdict, rule string, op wire.Op, rest []term.Term, message term.Term) {
	s.t.Helper()
	if v.Action != Pass || v.Rule != rule || len(v.Forward) != 1 {
		s.t.Fatalf("action %d by rule %q (%s), want a frame to pass", v.Action, v.Rule, v.Refusal.Message)
	}
	s.same(v.Forward[0], op, rest, message)
	head := s.frame(op, rest, message)
	if n := len(v.Forward[0].Head); n > len(head) || string(head[:n]) != string(v.Forward[0].Head) {
		s.t.Errorf("control message is not canonical: %v", v.Forward[0].Head)
	}
}

func (s *stage) same(f Frame, op wire.Op, rest []term.Term, message term.Term) {
	s.t.Helper()
	got := s.read(f)
	want := append(term.Tuple{term.Int(op)}, rest...)
	if !term.Equal(got.control, want) || (message != nil && !term.Equal(got.message, message)) {
		s.t.Errorf("got %s with %s\nwant %s with %s", term.Format(got.control), brief(got.message), term.Format(want), brief(message))
	}
}

func brief(t term.Term) string {
	if t == nil {
		return "nothing"
	}
	return term.Format(t)
}

// refused wants the frame stopped by a rule.
func (s *stage) refused(v Verdict, action Action, rule string) {
	s.t.Helper()
	if v.Action != action || v.Rule != rule || len(v.Forward) != 0 {
		s.t.Errorf("action %d by rule %q with %d frames, want action %d by rule %q", v.Action, v.Rule, len(v.Forward), action, rule)
	}
}

// answers wants the sender answered with that.
func (s *stage) answers(v Verdict, op wire.Op, rest []term.Term, message term.Term) {
	s.t.Helper()
	if len(v.Answer) != 1 {
		s.t.Fatalf("%d answers (rule %q), want one", len(v.Answer), v.Rule)
	}
	s.same(v.Answer[0], op, rest, message)
}

// pubsub lets both process group servers and one worker of each side meet. It
// returns the host's server and worker as the guest knows them.
func (s *stage) pubsub() (server, worker term.Pid) {
	s.t.Helper()
	scope := atom(pubSubScope)
	h := s.host(wire.OpRegSend, []term.Term{hpid(50), atom(""), scope}, tup(atom("discover"), hpid(50)))
	server = h.message.(term.Tuple)[1].(term.Pid)
	v := s.guest(wire.OpRegSend, []term.Term{gpid(60), atom(""), scope}, tup(atom("discover"), gpid(60)))
	s.passes(v, wire.OpRegSend, []term.Term{gpid(60), atom(""), scope}, tup(atom("discover"), gpid(60)))
	h = s.hostSays(gpid(60), syncOf(hpid(50), tup(atom(adapter), list(hpid(51))), tup(atom("Elixir.Other.Adapter"), list(hpid(52)))))
	groups := h.message.(term.Tuple)[1].(term.Tuple)[2].(term.List)
	if len(groups.Elems) != 1 && !s.j.pids.exposed {
		s.t.Fatalf("guest heard of groups %s", term.Format(groups))
	}
	worker = groups.Elems[0].(term.Tuple)[1].(term.List).Elems[0].(term.Pid)
	msg := syncOf(gpid(60), tup(atom(adapter), list(gpid(61))))
	s.passes(s.guest(wire.OpSend, []term.Term{atom(""), server}, msg), wire.OpSend, []term.Term{atom(""), hpid(50)}, msg)
	return server, worker
}

func syncOf(p term.Pid, groups ...term.Term) term.Tuple {
	return tup(atom("$gen_cast"), tup(atom("sync"), p, list(groups...)))
}

func forward(topic string, message term.Term, dispatcher string) term.Tuple {
	return tup(atom("forward_to_local"), bin(topic), message, atom(dispatcher))
}

func TestLifetimeIsKept(t *testing.T) {
	life := &Lifetime{}
	s := newStageOf(t, granted(), life)
	s.pubsub()
	s.guest(wire.OpGroupLeader, []term.Term{gpid(1), hpid(1)}, nil)
	b, err := json.Marshal(life)
	if err != nil {
		t.Fatal(err)
	}
	again := &Lifetime{}
	if err := json.Unmarshal(b, again); err != nil {
		t.Fatal(err)
	}
	if again.NextPid != life.NextPid || again.Refusals[ruleGroupLeader] != 1 || len(again.Recent) != 1 || again.Recent[0].Op != "GROUP_LEADER" {
		t.Errorf("kept %s", b)
	}
	_, worker := newStageOf(t, granted(), again).pubsub()
	_, first := newStage(t, granted()).pubsub()
	if worker.ID == first.ID {
		t.Error("a number was used again by a later link")
	}
}
