//go:build integration

package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"beamsandbox/distribution/epmd/erltest"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
)

// realConfig is how to reach e.
func realConfig(mapper netip.AddrPort, e *erltest.Erl, name string) Config {
	return Config{Name: name, Cookie: app.NewSecret(erltest.Cookie), Peer: e.Node, EPMD: mapper}
}

func dial(t testing.TB, cfg Config) *Node {
	t.Helper()
	n, err := Dial(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func TestCallsOnRealNode(t *testing.T) {
	mapper := erltest.EPMD(t)
	peer := erltest.Start(t, mapper, "ctl_calls")
	for name, limits := range map[string]Limits{"trusted": {}, "as of a guest": Hostile()} {
		t.Run(name, func(t *testing.T) {
			cfg := realConfig(mapper, peer, "control_a@vm")
			cfg.Limits = limits
			realCalls(t, peer, dial(t, cfg))
		})
	}
}

// A real node that floods us loses its connection, and can be called over
// another one.
func TestRealNodeThatFloods(t *testing.T) {
	mapper := erltest.EPMD(t)
	peer := erltest.Start(t, mapper, "ctl_flood")
	cfg := realConfig(mapper, peer, "control_a@vm")
	cfg.Limits = Hostile()
	n := dial(t, cfg)
	peer.Eval("register(flood, spawn(fun F() -> receive {'$gen_call', {P, _}, _} -> (fun G() -> P ! {make_ref(), lists:duplicate(100, [])}, G() end)() after infinity -> F() end end)).")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := n.genCall(ctx, "flood", term.Tuple{}); !errors.Is(err, ErrDown) || !errors.Is(n.Err(), errFlood) {
		t.Errorf("flooded: %v, and the connection: %v", err, n.Err())
	}
	peer.Eval("exit(whereis(flood), kill).")
	cfg.Name = "control_b@vm" // it still tries to reach the first one
	if got, err := dial(t, cfg).Call(t.Context(), "erlang", "+", term.Int(40), term.Int(2)); err != nil || got != term.Int(42) {
		t.Errorf("next connection: %v, %v", got, err)
	}
}

// realCalls makes calls of many kinds.
func realCalls(t *testing.T, peer *erltest.Erl, n *Node) {
	t.Helper()
	big := make(term.Map, 0, 5000)
	for i := range 5000 {
		big = append(big, term.Pair{Key: term.Binary(fmt.Sprintf("key-%05d", i)), Value: term.Int(i)})
	}
	blob := term.Binary(bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16))
	tests := []struct {
		module, function string
		args             []term.Term
		want             term.Term
	}{
		{"erlang", "node", nil, term.Atom(peer.Node)},
		{"erlang", "+", []term.Term{term.Int(40), term.Int(2)}, term.Int(42)},
		{"erlang", "abs", []term.Term{term.Float(-1.5)}, term.Float(1.5)},
		{"maps", "from_list", []term.Term{term.List{}}, term.Map(nil)},
		{"maps", "map", []term.Term{term.Atom("x"), big}, nil},
		{"maps", "merge", []term.Term{big, term.Map{}}, big},
		{"erlang", "iolist_to_binary", []term.Term{blob}, blob},
		{"lists", "reverse", []term.Term{term.String("žluť")}, term.String("ťulž")},
	}
	for _, tt := range tests {
		got, err := n.Call(t.Context(), tt.module, tt.function, tt.args...)
		if tt.want == nil {
			if !errors.As(err, new(*BadRPC)) {
				t.Errorf("%s:%s: %v, want BadRPC", tt.module, tt.function, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s:%s: %v", tt.module, tt.function, err)
		} else if !term.Equal(got, tt.want) {
			t.Errorf("%s:%s: got another value than wanted", tt.module, tt.function)
		}
	}
	if err := n.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestBadRPC(t *testing.T) {
	mapper := erltest.EPMD(t)
	peer := erltest.Start(t, mapper, "ctl_bad")
	n := dial(t, realConfig(mapper, peer, "control_a@vm"))
	tests := []struct{ module, function, want string }{
		{"nosuch", "f", "call nosuch:f/1: badrpc: {'EXIT',undef}"},
		{"erlang", "atom_to_list", "call erlang:atom_to_list/1: badrpc: {'EXIT',badarg}"},
		{"erlang", "exit", "call erlang:exit/1: badrpc: {'EXIT',7}"},
	}
	for _, tt := range tests {
		_, err := n.Call(t.Context(), tt.module, tt.function, term.Int(7))
		if err == nil || err.Error() != tt.want {
			t.Errorf("error %v, want %s", err, tt.want)
		}
	}
	got, err := n.Call(t.Context(), "erlang", "throw", term.Atom("ball"))
	if err != nil || got != term.Atom("ball") {
		t.Errorf("throw: %v, %v; rpc:call returns what is thrown", got, err)
	}
	if _, err := n.Call(t.Context(), "io", "format", term.String("printed by the user process~n")); err != nil {
		t.Errorf("io:format: %v", err)
	}
}

func TestNodeIsHidden(t *testing.T) {
	mapper := erltest.EPMD(t)
	peer := erltest.Start(t, mapper, "ctl_hidden")
	dial(t, realConfig(mapper, peer, "control_h@vm"))
	for expr, want := range map[string]string{
		"nodes().":                            "[]",
		"nodes(hidden).":                      "[control_h@vm]",
		"net_adm:ping('control_h@vm').":       "pong",
		"global:sync().":                      "ok",
		"rpc:call('control_h@vm', a, b, []).": "",
	} {
		got := peer.Eval(expr)
		if want != "" && got != want {
			t.Errorf("%s gives %s, want %s", expr, got, want)
		}
		if want == "" && !strings.Contains(got, "badrpc") {
			t.Errorf("%s gives %s, want badrpc", expr, got)
		}
	}
}

func TestConcurrentCalls(t *testing.T) {
	mapper := erltest.EPMD(t)
	peer := erltest.Start(t, mapper, "ctl_many")
	n := dial(t, realConfig(mapper, peer, "control_a@vm"))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			got, err := n.Call(t.Context(), "erlang", "*", term.Int(i), term.Int(i))
			if err != nil || got != term.Int(i*i) {
				t.Errorf("%d squared: %v, %v", i, got, err)
			}
		})
	}
	// A slow call holds nobody up.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := n.Call(ctx, "timer", "sleep", term.Atom("infinity"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("endless call: %v", err)
	}
	wg.Wait()
	if len(n.waiting) != 0 {
		t.Errorf("%d calls still wait", len(n.waiting))
	}
}

func TestNodeGoesDown(t *testing.T) {
	mapper := erltest.EPMD(t)
	peer := erltest.Start(t, mapper, "ctl_down")
	n := dial(t, realConfig(mapper, peer, "control_a@vm"))
	called := make(chan error, 1)
	go func() {
		_, err := n.Call(context.Background(), "timer", "sleep", term.Atom("infinity"))
		called <- err
	}()
	if err := n.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	peer.Kill()
	<-n.Done()
	if err := <-called; !errors.Is(err, ErrDown) {
		t.Errorf("call: %v, want ErrDown", err)
	}
	if n.Err() == nil {
		t.Error("no reason is kept")
	}
	if _, err := n.Call(t.Context(), "erlang", "node"); !errors.Is(err, ErrDown) {
		t.Errorf("call afterwards: %v, want ErrDown", err)
	}
	_, err := Dial(t.Context(), realConfig(mapper, peer, "control_a@vm"))
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("dial: %v, want ErrUnreachable", err)
	}
}

func TestWrongCookie(t *testing.T) {
	mapper := erltest.EPMD(t)
	peer := erltest.Start(t, mapper, "ctl_cookie")
	cfg := realConfig(mapper, peer, "control_a@vm")
	cfg.Cookie = app.NewSecret("another-secret")
	_, err := Dial(t.Context(), cfg)
	if !errors.Is(err, wire.ErrCookie) {
		t.Fatalf("dial: %v, want ErrCookie", err)
	}
	if strings.Contains(err.Error(), "another-secret") {
		t.Error("the error holds the cookie")
	}
}

func TestAnswerOverTheLimit(t *testing.T) {
	mapper := erltest.EPMD(t)
	peer := erltest.Start(t, mapper, "ctl_limit")
	cfg := realConfig(mapper, peer, "control_a@vm")
	cfg.MaxFrame = 1 << 20
	n := dial(t, cfg)
	_, err := n.Call(t.Context(), "lists", "duplicate", term.Int(300_000), term.Atom("x"))
	if err != nil {
		t.Errorf("answer within the limit: %v", err)
	}
	_, err = n.Call(t.Context(), "binary", "copy", term.Binary("x"), term.Int(2<<20))
	if !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("answer over the limit: %v", err)
	}
}

func TestTicksKeepTheLink(t *testing.T) {
	mapper := erltest.EPMD(t)
	peer := erltest.Start(t, mapper, "ctl_tick", "-kernel", "net_ticktime", "4")
	cfg := realConfig(mapper, peer, "control_a@vm")
	cfg.TickTime = 4 * time.Second
	n := dial(t, cfg)
	select {
	case <-n.Done():
		t.Fatalf("link ended: %v", n.Err())
	case <-time.After(10 * time.Second): // two and a half tick times
	}
	if got := peer.Eval("nodes(hidden)."); got != "[control_a@vm]" {
		t.Errorf("nodes(hidden) is %s", got)
	}
}

func TestHostReconnects(t *testing.T) {
	mapper := erltest.EPMD(t)
	first := erltest.Start(t, mapper, "ctl_host")
	h := NewHost(realConfig(mapper, first, "control_k@vm"))
	defer h.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan bool, 16)
	go func() {
		for up := range h.Watch(ctx) {
			seen <- up
		}
		close(seen)
	}()
	expect := func(want bool) {
		t.Helper()
		for up := range seen {
			if up == want {
				return
			}
		}
	}
	expect(true)
	before, err := h.Call(ctx, "os", "getpid")
	if err != nil {
		t.Fatal(err)
	}
	first.Kill()
	expect(false)
	erltest.Start(t, mapper, "ctl_host")
	expect(true)
	after, err := h.Call(ctx, "os", "getpid")
	if err != nil || term.Equal(before, after) {
		t.Errorf("pids %v and %v, %v", before, after, err)
	}
	cancel()
	for range seen {
	}
}

func TestHostUnreachable(t *testing.T) {
	cfg := Config{Name: "control_k@vm", Peer: "nobody@vm", Cookie: app.NewSecret("c"), EPMD: erltest.EPMD(t), Wait: 100 * time.Millisecond}
	h := NewHost(cfg)
	defer h.Close()
	_, err := h.Call(t.Context(), "erlang", "node")
	if !errors.Is(err, ErrUnreachable) || !strings.HasPrefix(err.Error(), "host VM nobody@vm is not reachable: ") {
		t.Errorf("call: %v", err)
	}
}

// BenchmarkCall is one rpc:call of erlang:node/0 over loopback.
func BenchmarkCall(b *testing.B) {
	mapper := erltest.EPMD(b)
	peer := erltest.Start(b, mapper, "ctl_bench")
	n := dial(b, realConfig(mapper, peer, "control_a@vm"))
	for b.Loop() {
		if _, err := n.Call(b.Context(), "erlang", "node"); err != nil {
			b.Fatal(err)
		}
	}
}
