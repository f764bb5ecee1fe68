//go:build integration

package attacks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/policy"
)

// attack is one way to harm a host VM that nobody stands before.
//
// In how, H is the host VM's node, N the innocent guest's, V a process of the
// host, K its kernel_sup, R its rex and Alias an alias of V, all as the host VM
// showed them to the guest; V0, K0 and R0 are the same by the host VM's own
// numbers, as a guest would have to guess them. M, F and A are a function of the
// host VM that leaves a trace, as attack_host:ran/0 tells. In worked, Got is the
// value of how.
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
	cuts         // the host VM ends the link, as the gateway does
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
		w.shows(t, true)
		for _, a := range attacks() {
			t.Run(a.String(), func(t *testing.T) { w.succeeds(t, a) })
		}
	})
	w.enforce(t)
	t.Run("enforce", func(t *testing.T) {
		w.shows(t, false)
		before := w.takeStock(t)
		for _, a := range attacks() {
			t.Run(a.String(), func(t *testing.T) { w.fails(t, a) })
		}
		w.unharmed(t, before)
	})
}

// enforce makes the rules hold, if they do not yet, for a host VM that nobody has
// attacked.
func (w *world) enforce(t *testing.T) {
	t.Helper()
	if w.mode == policy.Enforce {
		return
	}
	w.mode = policy.Enforce
	must(t, w.startHost(within(t, time.Minute)))
	must(t, w.startDaemon(within(t, 2*time.Minute)))
}

// shows wants a guest to know the host VM's processes under its own numbers, or
// under others: attacks on what was shown are not those on what was guessed.
func (w *world) shows(t *testing.T, own bool) {
	t.Helper()
	w.settle(t)
	for _, name := range []string{attacker, second} {
		known := w.ready(t, attack{by: name, fate: kills})
		got := run(t, w.hands[name], "[V =:= V0, K =:= K0, R =:= R0]", known)
		one := term.Atom(fmt.Sprint(own))
		if want := (term.List{Elems: []term.Term{one, one, one}}); !term.Equal(got, want) {
			t.Fatalf("%s knows processes by the host VM's own numbers: %s, want %s", name, term.Format(got), term.Format(want))
		}
	}
}

// succeeds runs an attack by a guest that nobody judges.
func (w *world) succeeds(t *testing.T, a attack) {
	w.settle(t)
	var hand runs = w.hands[a.guest()]
	if a.fate == direct {
		hand = w.startPeer(t)
	}
	if a.fate == cuts {
		a.worked = "attack_host:lost(Guest)"
	}
	known := w.ready(t, a)
	came := w.received(t, a.guest())
	got := a.run(t, hand, known)
	switch a.fate {
	case kills:
		w.dies(t)
		return
	case ignored:
		w.barrier(t, a.guest())
		if n := w.received(t, a.guest()) - came; n < volume {
			t.Errorf("%d bytes of it came to the host VM, want %d", n, volume)
		}
		if w.probe(t, a.probe(), got) {
			t.Errorf("it is not ignored: %s", a.probe())
		}
		return
	}
	eventually(t, fmt.Sprintf("%s is so on the host VM; the attacker got %s", a.probe(), term.Brief(got, 200)), func() bool {
		return w.probe(t, a.probe(), got)
	})
}

// volume is what attacks that the host VM ignores come to at least, in bytes.
const volume = 40_000

// received is what came to the host VM over its link with a guest, in bytes.
func (w *world) received(t *testing.T, guest string) int64 {
	t.Helper()
	n, ok := w.onHost(t, "received", term.Atom(w.Node(guest))).(term.Int)
	if !ok {
		t.Fatalf("the host VM has no link with %s", guest)
	}
	return int64(n)
}

// dies waits until the host VM has ended, or is a node no more, and starts
// another one.
func (w *world) dies(t *testing.T) {
	t.Helper()
	eventually(t, "the host VM has ended", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := w.host.Call(ctx, "erlang", "node")
		return err != nil
	})
	w.host.Kill()
	must(t, w.startHost(within(t, time.Minute)))
}

// ready makes the host VM forget earlier attacks and returns what the attacker
// of this one knows.
func (w *world) ready(t *testing.T, a attack) term.Term {
	t.Helper()
	known := w.onHost(t, "ready", term.Atom(w.Node(a.guest())), term.Atom(w.Node(innocent)))
	if a.fate != kills {
		eventually(t, "it is not so yet: "+a.probe(), func() bool { return !w.probe(t, a.probe(), term.Atom("none")) })
	}
	return known
}

// fails runs an attack by a guest that is judged: it does nothing, it is
// counted, and the host VM is as it was.
func (w *world) fails(t *testing.T, a attack) {
	w.settle(t)
	known := w.ready(t, a)
	before, state, came := w.member(t, a.guest()), w.onHost(t, "state"), w.received(t, a.guest())
	got := a.run(t, w.hands[a.guest()], known)
	if a.rule != "" {
		eventually(t, fmt.Sprintf("rule %s counts it; the attacker got %s", a.rule, term.Brief(got, 200)), func() bool {
			return w.member(t, a.guest()).Refused[a.rule] > before.Refused[a.rule]
		})
	}
	if closes(a.rule) {
		w.relinked(t, a.guest(), before)
	}
	w.barrier(t, a.guest())
	if n := w.received(t, a.guest()) - came; a.fate == ignored && n >= volume {
		t.Errorf("%d bytes came to the host VM", n)
	}
	if a.fate != cuts && w.probe(t, a.probe(), got) {
		t.Errorf("it worked: %s; the attacker got %s; refused %v", a.probe(), term.Brief(got, 200), w.member(t, a.guest()).Refused)
	}
	if after := w.onHost(t, "state"); !term.Equal(after, state) {
		t.Errorf("the host VM has changed: %s", difference(state, after))
	}
}

// relinked wants the link of a guest that broke the protocol ended and noted, and
// a new one; the guest is forgiven, or it would wait longer each time.
func (w *world) relinked(t *testing.T, guest string, before protocol.Node) {
	t.Helper()
	eventually(t, "the link is closed, and that is noted", func() bool { return w.member(t, guest).Closed == before.Closed+1 })
	w.forgive(t, guest)
	eventually(t, "there is a new link", func() bool { now := w.member(t, guest); return now.Up && now.Since.After(before.Since) })
	w.settle(t)
}

// forgive lets a guest in again at once.
func (w *world) forgive(t *testing.T, guest string) {
	t.Helper()
	w.ask(t, protocol.Request{Op: protocol.OpLift, Name: guest})
	if m := w.member(t, guest); m.Closed != 0 || !m.NextTry.IsZero() {
		t.Errorf("%s is not forgiven: %+v", guest, m)
	}
}

// closes says whether a rule ends the link of who breaks it.
func closes(rule string) bool { return slices.Contains(closing, rule) }

// closing are the rules that end a link.
var closing = []string{"malformed", "opcode", "trace-token", "tag", "forged", "size"}

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
