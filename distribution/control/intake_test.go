package control

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
)

// pairWith is pair with more in the Config.
func pairWith(t *testing.T, more func(*Config)) (*Node, *fakePeer) {
	t.Helper()
	cfg, peers := connect(t, peerID, "secret-cookie")
	more(&cfg)
	n, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, <-peers
}

// toOurs is a frame with a message to the one process of n.
func toOurs(t *testing.T, n *Node, message term.Term) []byte {
	t.Helper()
	frame, err := wire.AppendMessage(nil, term.Tuple{term.Int(wire.OpSend), term.Atom(""), n.pid}, message)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// nils are n times [], one byte each and a hundred when they are decoded.
func nils(n int) term.List {
	l := term.List{Elems: make([]term.Term, n)}
	for i := range l.Elems {
		l.Elems[i] = term.List{}
	}
	return l
}

func TestAnswersToNobodyCostNothing(t *testing.T) {
	n, peer := pair(t)
	ref := term.Ref{Node: "sandboxd@vm", Creation: n.self.Creation, Len: 3, Words: [5]uint32{1 << 17}}
	for name, frame := range map[string][]byte{
		"large":     toOurs(t, n, term.Tuple{ref, nils(100_000)}),
		"small":     toOurs(t, n, term.Tuple{ref, nils(4000)}),
		"no answer": toOurs(t, n, nils(4000)),
		"no tuple":  toOurs(t, n, term.Tuple{term.Binary(make([]byte, 7000)), term.Int(1)}),
		"down":      message(t, term.Tuple{term.Int(wire.OpPayloadMonitorExit), term.Atom("rex"), n.pid, ref}, nils(4000)),
		"alias":     message(t, term.Tuple{term.Int(wire.OpAliasSend), peer.pid, ref}, term.Tuple{ref, nils(4000)}),
	} {
		t.Run(name, func(t *testing.T) {
			sent := append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 1000 {
				if _, err := peer.conn.Write(sent); err != nil {
					t.Fatal(err)
				}
			}
			peer.writeRaw(nil) // was read: so was what came before
			runtime.ReadMemStats(&after)
			if took := (after.TotalAlloc - before.TotalAlloc) / 1000; took > 2000 {
				t.Errorf("a frame of %d bytes takes %d bytes", len(frame), took)
			} else {
				t.Logf("a frame of %d bytes takes %d bytes", len(frame), took)
			}
		})
	}
	done := call(t.Context(), n)
	pid, ref, _ := peer.request()
	peer.answer(pid, ref, term.Int(3))
	if got := <-done; got.value != term.Int(3) {
		t.Errorf("call afterwards gives %v, %v", got.value, got.err)
	}
}

func message(t *testing.T, control term.Tuple, m term.Term) []byte {
	t.Helper()
	frame, err := wire.AppendMessage(nil, control, m)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func TestFloodEndsTheConnection(t *testing.T) {
	for name, tc := range map[string]struct {
		limits Limits
		frame  int // bytes of each
		most   int // so many at once
		want   string
	}{
		"messages": {Limits{Messages: 2000}, 0, 2000, "more than 2000 messages"},
		"bytes":    {Limits{Bytes: 1 << 20}, 1<<16 - frameLength, 16, "more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, peer := pairWith(t, func(c *Config) { c.Limits = tc.limits })
				var frame []byte
				if tc.frame > 0 {
					around := len(toOurs(t, n, term.Binary{}))
					frame = toOurs(t, n, term.Binary(make([]byte, tc.frame-around)))
				}
				for second := range 3 {
					for range tc.most - 1 { // one less: what was read ahead counts
						peer.writeRaw(frame)
					}
					synctest.Wait()
					if err := n.Err(); err != nil {
						t.Fatalf("within its budget, second %d: %v", second, err)
					}
					<-time.After(time.Second)
				}
				for range tc.most + 2 {
					if wire.WriteFrame(peer.conn, frame) != nil {
						break
					}
				}
				<-n.Done()
				if err := n.Err(); !errors.Is(err, errFlood) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("the connection ended: %v", err)
				}
			})
		})
	}
}

func TestAnswerBeyondLimits(t *testing.T) {
	deep := term.Term(term.List{})
	for range 65 {
		deep = term.Tuple{deep}
	}
	for name, value := range map[string]term.Term{"nodes": nils(200_001), "depth": deep} {
		t.Run(name, func(t *testing.T) {
			n, peer := pairWith(t, func(c *Config) { c.Limits = Hostile() })
			done := call(t.Context(), n)
			pid, ref, _ := peer.request()
			peer.answer(pid, ref, value)
			if got := <-done; got.err == nil || errors.Is(got.err, ErrDown) || !strings.Contains(got.err.Error(), "limit") {
				t.Errorf("call gives %v, want an error of this call alone", got.err)
			}
			done = call(t.Context(), n)
			pid, ref, _ = peer.request()
			peer.answer(pid, ref, nils(100_000))
			if got := <-done; got.err != nil {
				t.Errorf("next call: %v", got.err)
			}
		})
	}
}

// Answers are decoded in turn, whoever they come from.
func TestAnswersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, peer := pair(t)
		n.turns = make(chan struct{}, 1)
		n.turns <- struct{}{} // somebody else's
		done := call(t.Context(), n)
		pid, ref, _ := peer.request()
		go peer.answer(pid, ref, term.Int(5))
		synctest.Wait()
		select {
		case got := <-done:
			t.Fatalf("decoded out of turn: %v", got.value)
		default:
		}
		<-n.turns
		if got := <-done; got.value != term.Int(5) {
			t.Errorf("in turn: %v, %v", got.value, got.err)
		}
	})
}

// defect panics when something is logged.
type defect struct{ slog.Handler }

func (defect) Enabled(context.Context, slog.Level) bool  { return true }
func (defect) Handle(context.Context, slog.Record) error { panic("a defect") }

type survivor struct{ got chan any }

func (s survivor) survive(what string) {
	if r := recover(); r != nil {
		s.got <- what
	}
}

func TestPanicEndsOneConnection(t *testing.T) {
	s := survivor{make(chan any, 1)}
	n, peer := pairWith(t, func(c *Config) { c.Log, c.Survive = slog.New(defect{}), s.survive })
	done := call(t.Context(), n)
	peer.request()
	peer.write(term.Tuple{term.Int(wire.OpGroupLeader), peer.pid, n.pid}, nil) // is logged
	if what := <-s.got; what != "read from demo_web@vm" {
		t.Errorf("survived %v", what)
	}
	if got := <-done; !errors.Is(got.err, ErrDown) {
		t.Errorf("call gives %v, want ErrDown", got.err)
	}
	<-n.Done()
	if err := n.Err(); !errors.Is(err, errDefect) {
		t.Errorf("the connection ended: %v", err)
	}
}
