//go:build integration

package attacks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
)

// takeHands connects the test to the two hostile guests, past the gateway, to
// tell them what to do.
func (w *world) takeHands(ctx context.Context) error {
	for _, name := range []string{attacker, second} {
		hand, err := w.DialGuest(ctx, name)
		if err != nil {
			return err
		}
		w.hands[name] = hand
	}
	return w.corrupt(ctx)
}

// corrupt gives the second guest, an honest app, the attacker's code.
func (w *world) corrupt(ctx context.Context) error {
	code, err := os.ReadFile(filepath.Join(w.code, "attacker.beam"))
	if err != nil {
		return err
	}
	_, err = w.hands[second].Call(ctx, "code", "load_binary", term.Atom("attacker"), term.String("attacker"), term.Binary(code))
	return err
}

// runs is a node that does what the test tells it.
type runs interface {
	Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
}

// within bounds what a test waits for.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func call(t *testing.T, n runs, module, function string, args ...term.Term) term.Term {
	t.Helper()
	v, err := n.Call(within(t, 30*time.Second), module, function, args...)
	if err != nil {
		t.Fatalf("%s:%s: %v", module, function, err)
	}
	return v
}

// onHost asks attack_host in the host VM.
func (w *world) onHost(t *testing.T, function string, args ...term.Term) term.Term {
	t.Helper()
	return call(t, w.host, "attack_host", function, args...)
}

// probe says whether Erlang text is true on the host VM.
func (w *world) probe(t *testing.T, text string, got term.Term) bool {
	t.Helper()
	return w.onHost(t, "probe", term.String(text), got) == term.Term(term.Atom("true"))
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if err := stage.Until(within(t, time.Minute), what, ok); err != nil {
		t.Fatal(err)
	}
}

// member is a guest as the gateway sees it now.
func (w *world) member(t *testing.T, name string) protocol.Node {
	t.Helper()
	resp := w.ask(t, protocol.Request{Op: protocol.OpList})
	i := slices.IndexFunc(resp.Nodes, func(n protocol.Node) bool { return n.Name == name })
	if i < 0 {
		t.Fatalf("the gateway has no member %s", name)
	}
	return resp.Nodes[i]
}

// ask asks the gateway itself.
func (w *world) ask(t *testing.T, req protocol.Request) protocol.Response {
	t.Helper()
	resp, err := protocol.Ask(within(t, time.Minute), filepath.Join(w.RunDir, "gateway", "gateway.sock"), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// settle waits until the host VM is linked with the guests, by default all.
func (w *world) settle(t *testing.T, guests ...string) {
	t.Helper()
	if len(guests) == 0 {
		guests = []string{attacker, second, innocent}
	}
	missing := ""
	err := stage.Until(within(t, time.Minute), "the host VM is linked with its guests", func() bool {
		missing = ""
		nodes, _ := w.host.Nodes(t.Context())
		for _, name := range guests {
			if m := w.member(t, name); !m.Up || !slices.Contains(nodes, w.Node(name)) {
				missing = fmt.Sprintf("%s: up %v, nodes %v, %s", name, m.Up, nodes, m.Error)
			}
		}
		return missing == ""
	})
	if err != nil {
		t.Fatalf("%v; %s", err, missing)
	}
}

// barrier waits until the host VM has got what the guest said before.
func (w *world) barrier(t *testing.T, name string) {
	t.Helper()
	mark := fmt.Sprintf("{barrier, %d}", time.Now().UnixNano())
	run(t, w.hands[name], fmt.Sprintf("{attack_sink, '%s'} ! %s", w.host.Name, mark), term.List{})
	eventually(t, "the host VM hears "+mark, func() bool {
		return w.probe(t, "lists:member("+mark+", attack_host:heard(attack_sink))", term.Atom("none"))
	})
}

// run evaluates Erlang in a node that has the attacker's code.
func run(t *testing.T, n runs, text string, bindings term.Term) term.Term {
	t.Helper()
	return call(t, n, "attacker", "run", term.String(text), bindings)
}
