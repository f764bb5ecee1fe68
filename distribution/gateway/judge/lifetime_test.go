package judge

import (
	"bytes"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"

	"github.com/google/go-cmp/cmp"
)

// closed has the guest break a rule that ends its link, n times every so often.
func (s *stage) closed(n int, every time.Duration) {
	s.t.Helper()
	for range n {
		if v := s.j.FromGuest(s.now, []byte{131, 68, 0}); v.Action != Close {
			s.t.Fatalf("action %d", v.Action)
		}
		s.now = s.now.Add(every)
	}
}

func TestQuarantine(t *testing.T) {
	for name, tc := range map[string]struct {
		limit, times int
		every        time.Duration
		want         *Quarantine
	}{
		"four":              {0, 4, time.Minute, nil},
		"five":              {0, 5, time.Minute, &Quarantine{Rule: "malformed", Closed: 5}},
		"too far apart":     {0, 20, 3 * time.Minute, nil},
		"a limit of two":    {2, 2, time.Minute, &Quarantine{Rule: "malformed", Closed: 2}},
		"no limit":          {-1, 200, time.Second, nil},
		"the largest limit": {policy.MostCloses, policy.MostCloses, time.Second, &Quarantine{Rule: "malformed", Closed: policy.MostCloses}},
	} {
		t.Run(name, func(t *testing.T) {
			m := granted()
			m.Limits.Closes = tc.limit
			s := newStage(t, m)
			s.closed(tc.times, tc.every)
			got := s.life.Quarantined
			if got != nil {
				got.At = time.Time{}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			s.now = s.now.Add(time.Hour)
			if tc.want != nil && s.life.Quarantined == nil {
				t.Error("it ended by itself")
			}
			s.life.Forgive()
			if s.life.Quarantined != nil || s.life.Closures(s.now) != 0 {
				t.Error("it was not forgiven")
			}
		})
	}
}

// In audit mode nothing is closed, so nothing may be held against the guest.
func TestAuditNeverQuarantines(t *testing.T) {
	m := granted()
	m.Mode = policy.Audit
	s := newStage(t, m)
	for range 10 {
		if v := s.j.FromGuest(s.now, []byte{131, 68, 0}); v.Action != Pass || v.Rule != ruleMalformed {
			t.Fatalf("action %d by rule %q", v.Action, v.Rule)
		}
	}
	if s.life.Quarantined != nil || !s.life.NextTry(s.now).IsZero() || s.life.Refusals[ruleMalformed] != 10 {
		t.Errorf("%+v", s.life)
	}
}

func TestBackoffDoubles(t *testing.T) {
	m := granted()
	m.Limits.Closes = -1
	s := newStage(t, m)
	for i, want := range []time.Duration{1, 2, 4, 8, 8, 8} {
		s.closed(1, 0)
		if got := s.life.NextTry(s.now).Sub(s.now); got != want*time.Second {
			t.Errorf("after %d closed links the guest waits %v, want %vs", i+1, got, int(want))
		}
	}
	if next := s.life.NextTry(s.now.Add(8 * time.Second)); !next.IsZero() {
		t.Errorf("it still waits until %v", next)
	}
}

// What is worth keeping changes the counter, and nothing else does.
func TestChanges(t *testing.T) {
	s := newStage(t, granted())
	inbox := []term.Term{gpid(1), atom(""), atom("inbox")}
	for name, tc := range map[string]struct {
		do   func()
		want bool
	}{
		"a message of known atoms": {func() { s.guest(wire.OpRegSend, inbox, atom("ok")) }, false},
		"a message of the host":    {func() { s.hostSays(gpid(1), atom("hello")) }, false},
		"a new atom":               {func() { s.guest(wire.OpRegSend, inbox, atom("never_seen")) }, true},
		"a refusal":                {func() { s.guest(wire.OpExit2, []term.Term{gpid(1), hpid(1), atom("kill")}, nil) }, true},
	} {
		before := s.life.Changes()
		tc.do()
		if changed := s.life.Changes() != before; changed != tc.want {
			t.Errorf("%s: changed %v", name, changed)
		}
	}
}

func TestResume(t *testing.T) {
	m := granted()
	m.Limits.Atoms = 10
	s := newStage(t, m)
	inbox := []term.Term{gpid(1), atom(""), atom("inbox")}
	s.guest(wire.OpRegSend, inbox, manyAtoms(10))
	s.closed(5, time.Second)
	kept, err := json.Marshal(s.life)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Resume(kept)
	if err != nil {
		t.Fatal(err)
	}
	if again.Quarantined == nil || again.NextPid <= s.life.NextPid || again.NextRef <= s.life.NextRef {
		t.Errorf("resumed %+v", again)
	}
	s = newStageOf(t, m, &again)
	s.refused(s.guest(wire.OpRegSend, inbox, atom("one_more")), Drop, ruleAtoms)
	if _, err := Resume([]byte("{")); err == nil {
		t.Error("half a record was taken up")
	}
}

func TestAtomsAreBoundedWithoutALimit(t *testing.T) {
	m := granted()
	m.Limits = policy.Limits{Atoms: -1, Messages: -1, Bytes: -1}
	s := newStage(t, m)
	inbox := []term.Term{gpid(1), atom(""), atom("inbox")}
	for i := range policy.MostAtoms/1000 + 2 {
		var l term.List
		for k := range 1000 {
			l.Elems = append(l.Elems, atom("x"+strconv.Itoa(i*1000+k)))
		}
		if v := s.guest(wire.OpRegSend, inbox, l); v.Action != Pass {
			t.Fatalf("refused by %s", v.Rule)
		}
	}
	if n := len(s.life.Atoms); n != policy.MostAtoms {
		t.Errorf("%d are remembered", n)
	}
}

// An atom at any place of any control message that the host VM may not have is
// never written into one for it: there nobody counts atoms.
func TestNoNewAtomInControlPositions(t *testing.T) {
	m := granted()
	m.Limits.Closes = -1
	const fresh = "brand_new_atom"
	for op := wire.OpLink; op <= wire.OpAlternateActionSend; op++ {
		for arity := 1; arity <= 6; arity++ {
			for at := range arity {
				for name, others := range map[string]func(int) term.Term{
					"pids":  func(i int) term.Term { return gpid(uint32(i + 1)) },
					"refs":  func(i int) term.Term { return gref(uint32(i + 1)) },
					"atoms": func(int) term.Term { return atom("inbox") },
				} {
					s := newStage(t, m)
					rest := make([]term.Term, arity)
					for i := range rest {
						rest[i] = others(i)
					}
					rest[at] = atom(fresh)
					frame, err := rawFrame(op, rest)
					if err != nil {
						t.Fatal(err)
					}
					for _, f := range s.j.FromGuest(s.now, frame).Forward {
						if bytes.Contains(f.Head, []byte(fresh)) {
							t.Errorf("%s with %s: the control message has it at %d", op, name, at)
						}
					}
				}
			}
		}
	}
}

// rawFrame writes {Op, ...}, whatever is in it, and a payload.
func rawFrame(op wire.Op, rest []term.Term) ([]byte, error) {
	control, err := term.Encode(append(term.Tuple{term.Int(op)}, rest...))
	if err != nil || !op.HasPayload() {
		return append([]byte{112}, control...), err
	}
	payload, err := term.Encode(term.Atom("ok"))
	return append(append([]byte{112}, control...), payload...), err
}
