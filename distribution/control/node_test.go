package control

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
)

// called is what a Call gave.
type called struct {
	value term.Term
	err   error
}

// call begins a call of m:f(1).
func call(ctx context.Context, n *Node) chan called {
	done := make(chan called, 1)
	go func() {
		v, err := n.Call(ctx, "m", "f", term.Int(1))
		done <- called{v, err}
	}()
	return done
}

func TestCall(t *testing.T) {
	n, peer := pair(t)
	if peer.seen.Flags.Has(wire.Published) {
		t.Error("our node is not hidden")
	}
	done := call(t.Context(), n)
	pid, ref, request := peer.request()
	want := term.Tuple{
		term.Atom("call"), term.Atom("m"), term.Atom("f"), term.List{Elems: []term.Term{term.Int(1)}}, term.Atom("user"),
	}
	if !term.Equal(request, want) {
		t.Errorf("request %v", request)
	}
	peer.answer(pid, ref, term.Binary("v"))
	if got := <-done; got.err != nil || !term.Equal(got.value, term.Binary("v")) {
		t.Errorf("call gives %v, %v", got.value, got.err)
	}
}

func TestCallBadRPC(t *testing.T) {
	n, peer := pair(t)
	stack := term.List{Elems: []term.Term{term.Tuple{term.Atom("m"), term.Atom("f"), term.Binary("argument")}}}
	tests := []struct {
		reason term.Term
		want   string
	}{
		{term.Atom("nodedown"), "call m:f/1: badrpc: nodedown"},
		{term.Tuple{term.Atom("EXIT"), term.Tuple{term.Atom("undef"), stack}}, "call m:f/1: badrpc: {'EXIT',undef}"},
	}
	for _, tt := range tests {
		done := call(t.Context(), n)
		pid, ref, _ := peer.request()
		peer.answer(pid, ref, term.Tuple{term.Atom("badrpc"), tt.reason})
		got := <-done
		var bad *BadRPC
		if !errors.As(got.err, &bad) || !term.Equal(bad.Reason, tt.reason) || got.err.Error() != tt.want {
			t.Errorf("call gives %v, want %s", got.err, tt.want)
		}
	}
	long := &BadRPC{Reason: term.Binary(strings.Repeat("č", 5000))}
	if len(long.Error()) > 2*maxReason {
		t.Errorf("error text has %d bytes", len(long.Error()))
	}
}

func TestCallServerDown(t *testing.T) {
	n, peer := pair(t)
	for _, payload := range []bool{false, true} {
		done := call(t.Context(), n)
		pid, ref, _ := peer.request()
		if payload {
			peer.write(term.Tuple{term.Int(wire.OpPayloadMonitorExit), term.Atom("rex"), pid, ref}, noproc)
		} else {
			peer.write(term.Tuple{term.Int(wire.OpMonitorExit), term.Atom("rex"), pid, ref, noproc}, nil)
		}
		if got := <-done; got.err == nil || !strings.Contains(got.err.Error(), "down: noproc") {
			t.Errorf("call gives %v", got.err)
		}
	}
}

func TestCallAnswerBeyondTheLimits(t *testing.T) {
	n, peer := pair(t)
	done := call(t.Context(), n)
	pid, ref, _ := peer.request()
	many := term.List{Elems: make([]term.Term, term.DefaultNodes+1)}
	for i := range many.Elems {
		many.Elems[i] = term.Atom("x")
	}
	peer.answer(pid, ref, many)
	if got := <-done; got.err == nil || errors.Is(got.err, ErrDown) {
		t.Errorf("call gives %v, want an error of this call alone", got.err)
	}
	if n.Err() != nil {
		t.Errorf("the link ended: %v", n.Err())
	}
}

func TestCallCanceled(t *testing.T) {
	n, peer := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := call(ctx, n)
	pid, ref, _ := peer.request()
	cancel()
	if c, _ := peer.read(); c.Op != wire.OpDemonitor {
		t.Errorf("after the end came %s", c.Op)
	}
	if got := <-done; !errors.Is(got.err, context.Canceled) {
		t.Errorf("call gives %v", got.err)
	}
	peer.write(term.Tuple{term.Int(wire.OpSend), term.Atom(""), pid}, term.Tuple{ref, term.Int(1)}) // comes too late
	again := call(t.Context(), n)
	pid, ref, _ = peer.request()
	peer.answer(pid, ref, term.Int(2))
	if got := <-again; got.value != term.Int(2) {
		t.Errorf("next call gives %v, %v", got.value, got.err)
	}
}

func TestPing(t *testing.T) {
	n, peer := pair(t)
	done := make(chan error, 2)
	for _, answer := range []string{"yes", "no"} {
		go func() { done <- n.Ping(t.Context()) }()
		pid, ref, request := peer.request()
		if !term.Equal(request, term.Tuple{term.Atom("is_auth"), term.Atom("sandboxd@vm")}) {
			t.Errorf("request %v", request)
		}
		peer.answer(pid, ref, term.Atom(answer))
		if err := <-done; (err == nil) != (answer == "yes") {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestSend(t *testing.T) {
	n, peer := pair(t)
	go func() { _ = n.Send("logger", term.Atom("hello")) }()
	c, message := peer.read()
	if c.To() != term.Atom("logger") || message != term.Atom("hello") {
		t.Errorf("%v, %v", c.Tuple, message)
	}
	if err := n.Send("logger", struct{}{}); err == nil {
		t.Error("a value that is no term was sent")
	}
}

func TestAnswersForOthers(t *testing.T) {
	n, peer := pair(t)
	ours := n.pid
	ref := term.Ref{Node: "demo_web@vm", Creation: 77, Len: 3}
	tag := term.List{Elems: []term.Term{term.Atom("alias")}, Tail: ref}
	none := term.Atom("")
	isAuth := term.Tuple{
		term.Atom("$gen_call"), term.Tuple{peer.pid, tag},
		term.Tuple{term.Atom("is_auth"), term.Atom("demo_web@vm")},
	}
	tests := []struct {
		name          string
		ask           term.Tuple
		message       term.Term
		want          term.Tuple
		answerMessage term.Term
	}{
		{
			"monitor by name", term.Tuple{term.Int(wire.OpMonitor), peer.pid, term.Atom("rex"), ref}, nil,
			term.Tuple{term.Int(wire.OpPayloadMonitorExit), term.Atom("rex"), peer.pid, ref}, noproc,
		},
		{
			"link", term.Tuple{term.Int(wire.OpLink), peer.pid, ours}, nil,
			term.Tuple{term.Int(wire.OpPayloadExit), ours, peer.pid}, noproc,
		},
		{
			"unlink", term.Tuple{term.Int(wire.OpUnlinkID), term.Int(5), peer.pid, ours}, nil,
			term.Tuple{term.Int(wire.OpUnlinkIDAck), term.Int(5), ours, peer.pid}, nil,
		},
		{
			"spawn", term.Tuple{
				term.Int(wire.OpSpawnRequest), ref, peer.pid, peer.pid,
				term.Tuple{term.Atom("m"), term.Atom("f"), term.Int(0)}, term.List{},
			}, term.List{},
			term.Tuple{term.Int(wire.OpSpawnReply), ref, peer.pid, term.Int(0), term.Atom("notsup")}, nil,
		},
		{
			"ping", term.Tuple{term.Int(wire.OpRegSend), peer.pid, none, term.Atom("net_kernel")}, isAuth,
			term.Tuple{term.Int(wire.OpSend), none, peer.pid}, term.Tuple{tag, term.Atom("yes")},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			peer.write(tt.ask, tt.message)
			c, message := peer.read()
			if !term.Equal(c.Tuple, tt.want) {
				t.Errorf("answer %v, want %v", c.Tuple, tt.want)
			}
			if tt.answerMessage != nil && !term.Equal(message, tt.answerMessage) {
				t.Errorf("answer message %v, want %v", message, tt.answerMessage)
			}
		})
	}
}

func TestDropsWhatItDoesNotServe(t *testing.T) {
	n, peer := pair(t)
	ours, none := n.pid, term.Atom("")
	ref := term.Ref{Node: "demo_web@vm", Creation: 77, Len: 3}
	for _, m := range []struct {
		control term.Tuple
		message term.Term
	}{
		{term.Tuple{term.Int(wire.OpRegSend), peer.pid, none, term.Atom("rex")}, term.Tuple{peer.pid, term.Atom("features_request")}},
		{term.Tuple{term.Int(wire.OpRegSend), peer.pid, none, term.Atom("net_kernel")}, term.Atom("x")},
		{term.Tuple{term.Int(wire.OpSend), none, ours}, term.Atom("no answer")},
		{term.Tuple{term.Int(wire.OpSend), none, ours}, term.Tuple{ref, term.Atom("to nobody's question")}},
		{term.Tuple{term.Int(wire.OpSend), none, peer.pid}, term.Tuple{ref, term.Atom("to another process")}},
		{term.Tuple{term.Int(wire.OpMonitor), peer.pid, term.Atom("net_kernel"), ref}, nil},
		{term.Tuple{term.Int(wire.OpDemonitor), peer.pid, term.Atom("net_kernel"), ref}, nil},
		{term.Tuple{term.Int(wire.OpPayloadExit2), peer.pid, ours}, term.Atom("kill")},
		{term.Tuple{term.Int(wire.OpGroupLeader), peer.pid, ours}, nil},
		{term.Tuple{term.Int(wire.OpAliasSend), peer.pid, ref}, term.Atom("x")},
		{term.Tuple{term.Int(wire.OpMonitorExit), term.Atom("x"), ours, ref, noproc}, nil},
	} {
		peer.write(m.control, m.message)
	}
	done := call(t.Context(), n)
	pid, id, _ := peer.request()
	peer.answer(pid, id, term.Int(3))
	if got := <-done; got.value != term.Int(3) {
		t.Errorf("call afterwards gives %v, %v", got.value, got.err)
	}
}

func TestMalformedEndsTheLink(t *testing.T) {
	for name, frame := range map[string][]byte{
		"distribution header": {131, 68, 0},
		"garbage":             {112, 131, 255},
		"unknown op":          {112, 131, 104, 1, 97, 200},
	} {
		t.Run(name, func(t *testing.T) {
			n, peer := pair(t)
			done := call(t.Context(), n)
			peer.request()
			peer.writeRaw(frame)
			if got := <-done; !errors.Is(got.err, ErrDown) {
				t.Errorf("call gives %v, want ErrDown", got.err)
			}
			<-n.Done()
			if n.Err() == nil {
				t.Error("no reason is kept")
			}
		})
	}
}

func TestDialRefusals(t *testing.T) {
	other := peerID
	other.Name = "other@vm"
	cfg, _ := connect(t, other, "secret-cookie")
	if _, err := Dial(t.Context(), cfg); err == nil || !errors.Is(err, ErrOtherNode) || !strings.Contains(err.Error(), "other@vm") {
		t.Errorf("another node: %v", err)
	}
	cfg, _ = connect(t, peerID, "other-cookie")
	_, err := Dial(t.Context(), cfg)
	if !errors.Is(err, wire.ErrCookie) || strings.Contains(err.Error(), "secret-cookie") {
		t.Errorf("another cookie: %v", err)
	}
	cfg.Connect = func(context.Context) (net.Conn, error) { return nil, errors.New("no route") }
	if _, err := Dial(t.Context(), cfg); !errors.Is(err, ErrUnreachable) {
		t.Errorf("no connection: %v", err)
	}
	cfg.Name = "nohost"
	if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "name@host") {
		t.Errorf("bad name: %v", err)
	}
}

func TestDialSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		go func() { _, _ = far.Read(make([]byte, 1000)) }()
		cfg, _ := connect(t, peerID, "secret-cookie")
		cfg.Connect = func(context.Context) (net.Conn, error) { return near, nil }
		begin := time.Now()
		_, err := Dial(t.Context(), cfg)
		if !errors.Is(err, ErrUnreachable) || time.Since(begin) != connectTimeout {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, peer := pair(t)
		begin := time.Now()
		for i := range 3 {
			if frame, err := wire.ReadFrame(peer.conn, nil, 0); err != nil || len(frame) != 0 {
				t.Fatalf("tick %d: %x, %v", i, frame, err)
			}
			peer.writeRaw(nil) // keeps the link
		}
		if d := time.Since(begin); d != 45*time.Second {
			t.Errorf("three ticks took %v", d)
		}
		last := time.Now()
		go func() {
			for {
				if _, err := wire.ReadFrame(peer.conn, nil, 0); err != nil {
					return
				}
			}
		}()
		<-n.Done()
		if d := time.Since(last); d != 75*time.Second || !strings.Contains(n.Err().Error(), "silent") {
			t.Errorf("the link ended after %v: %v", d, n.Err())
		}
	})
}
