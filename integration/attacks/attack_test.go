//go:build integration

package attacks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/policy"
)

// attack is one way to harm a host VM that nobody stands before.
//
// In how, H is the host VM's node, N the innocent guest's, V a process of the
// host, K its kernel_sup and R its rex, all as a guest would guess or learn
// them; M, F and A are a function of the host VM that leaves a trace, as
// attack_host:ran/0 tells. In worked, Got is the value of how.
type attack struct {
	number int    // in the list of attacks
	name   string // what is attacked
	how    string // Erlang, run in the guest
	worked string // Erlang, run on the host VM; empty: attack_host:ran()
	rule   string // counts the refusal; empty: the gateway answers in the host's place
	by     string // the guest that does it, when it is not the attacker
	fate   fate   // of the host VM where the guest is trusted
}

// fate says what becomes of an attack where nothing is judged.
type fate uint8

const (
	works   fate = iota
	kills        // the host VM ends
	direct       // the gateway is in its way even so; done by a node that is no guest, it works
	ignored      // it arrives, and the host VM does not mind
)

func (a attack) guest() string {
	if a.by != "" {
		return a.by
	}
	return attacker
}

func (a attack) String() string { return fmt.Sprintf("%02d %s", a.number, a.name) }

func (a attack) probe() string {
	if a.worked == "" {
		return "attack_host:ran()"
	}
	return a.worked
}

// run does it, and returns what the attacker got where that matters: the test
// itself must bring nothing to the host VM.
func (a attack) run(t *testing.T, hand runs, known term.Term) term.Term {
	t.Helper()
	if !strings.Contains(a.worked, "Got") {
		return run(t, hand, a.how+", done", known)
	}
	return run(t, hand, a.how, known)
}

func attacks() []attack {
	return slices.Concat(codeAttacks(), serverAttacks(), linkAttacks(), processAttacks(), memoryAttacks(), groupAttacks(), pubSubAttacks())
}

// TestEveryAttackIsHere: the list has 32 attacks.
func TestEveryAttackIsHere(t *testing.T) {
	have := map[int]bool{}
	for _, a := range attacks() {
		have[a.number] = true
	}
	for n := 1; n <= 32; n++ {
		if !have[n] {
			t.Errorf("attack %d of the list has no test", n)
		}
	}
}

// TestAttacks runs each attack where the guests are trusted, so that it is known
// to work, then each where the rules are enforced, where it must not.
func TestAttacks(t *testing.T) {
	t.Run("trusted", func(t *testing.T) {
		for _, a := range attacks() {
			t.Run(a.String(), func(t *testing.T) { w.succeeds(t, a) })
		}
	})
	w.enforce(t)
	t.Run("enforce", func(t *testing.T) {
		before := w.takeStock(t)
		for _, a := range attacks() {
			t.Run(a.String(), func(t *testing.T) { w.fails(t, a) })
		}
		w.unharmed(t, before)
	})
}

// enforce makes the rules hold, if they do not yet.
func (w *world) enforce(t *testing.T) {
	t.Helper()
	if w.mode == policy.Enforce {
		return
	}
	w.mode = policy.Enforce
	must(t, w.startDaemon(within(t, time.Minute)))
}

// succeeds runs an attack by a guest that nobody judges.
func (w *world) succeeds(t *testing.T, a attack) {
	w.settle(t)
	var hand runs = w.hands[a.guest()]
	if a.fate == direct {
		hand = w.startPeer(t)
	}
	known := w.ready(t, a)
	if a.fate == kills {
		a.run(t, hand, known)
		w.dies(t)
		return
	}
	got := a.run(t, hand, known)
	if a.fate == ignored {
		w.barrier(t, a.guest())
		return
	}
	eventually(t, fmt.Sprintf("%s is so on the host VM; the attacker got %s", a.probe(), term.Brief(got, 200)), func() bool {
		return w.probe(t, a.probe(), got)
	})
}

// dies waits for the end of the host VM and starts another one.
func (w *world) dies(t *testing.T) {
	t.Helper()
	select {
	case <-w.host.Done():
	case <-time.After(time.Minute):
		t.Fatal("the host VM lives")
	}
	must(t, w.startHost(within(t, time.Minute)))
}

// ready makes the host VM forget earlier attacks and returns what the attacker
// of this one knows.
func (w *world) ready(t *testing.T, a attack) term.Term {
	t.Helper()
	return w.onHost(t, "ready", term.Atom(w.Node(a.guest())), term.Atom(w.Node(innocent)))
}

// fails runs an attack by a guest that is judged: it does nothing, it is
// counted, and the host VM is as it was.
func (w *world) fails(t *testing.T, a attack) {
	w.settle(t)
	known := w.ready(t, a)
	before, state := w.member(t, a.guest()), w.onHost(t, "state")
	got := a.run(t, w.hands[a.guest()], known)
	if a.rule != "" {
		eventually(t, fmt.Sprintf("rule %s counts it; the attacker got %s", a.rule, term.Brief(got, 200)), func() bool {
			return w.member(t, a.guest()).Refused[a.rule] > before.Refused[a.rule]
		})
	}
	if closes(a.rule) {
		eventually(t, "there is a new link", func() bool { now := w.member(t, a.guest()); return now.Up && now.Since.After(before.Since) })
		w.settle(t)
	}
	w.barrier(t, a.guest())
	if w.probe(t, a.probe(), got) {
		t.Errorf("it worked: %s; the attacker got %s; refused %v", a.probe(), term.Brief(got, 200), w.member(t, a.guest()).Refused)
	}
	if after := w.onHost(t, "state"); !term.Equal(after, state) {
		t.Errorf("the host VM has changed: %s", difference(state, after))
	}
}

// closes says whether a rule ends the link of who breaks it.
func closes(rule string) bool {
	return rule == "forged" || rule == "trace-token" || rule == "malformed"
}

// difference is what differs between two maps, as text.
func difference(before, after term.Term) string {
	was, _ := before.(term.Map)
	is, _ := after.(term.Map)
	var all []string
	for _, p := range is {
		if old, _ := was.Get(p.Key); !term.Equal(old, p.Value) {
			all = append(all, fmt.Sprintf("%s was %s and is %s", term.Format(p.Key), term.Brief(old, 2000), term.Brief(p.Value, 2000)))
		}
	}
	return strings.Join(all, "; ")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
