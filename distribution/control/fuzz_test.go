package control

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
)

// sink is a connection that counts what is written to it.
type sink struct {
	net.Conn
	wrote int
}

func (s *sink) Write(b []byte) (int, error)      { s.wrote += len(b); return len(b), nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) Close() error                     { return nil }

// FuzzTake hands arbitrary frames to a node that waits for an answer: a guest
// may send anything to those who call it.
func FuzzTake(f *testing.F) {
	data, err := os.ReadFile("../wire/testdata/frames.hex")
	if err != nil {
		f.Fatal(err)
	}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if b, err := hex.DecodeString(s.Text()); err == nil {
			f.Add(b)
		}
	}
	self := wire.Identity{Name: "s@h", Flags: wire.OwnFlags, Creation: 5}
	pid := term.Pid{Node: "s@h", ID: 1, Creation: 5}
	ref := term.Ref{Node: "s@h", Creation: 5, Len: 3, Words: [5]uint32{1}}
	answer, err := wire.AppendMessage(nil, term.Tuple{term.Int(wire.OpSend), term.Atom(""), pid}, term.Tuple{ref, term.Float(1)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(answer)
	down, err := wire.AppendMessage(nil, term.Tuple{term.Int(wire.OpPayloadMonitorExit), term.Atom("rex"), pid, ref}, term.Atom("x"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(down)
	f.Fuzz(func(t *testing.T, frame []byte) {
		conn := &sink{}
		n := &Node{
			cfg: Config{Log: slog.New(slog.DiscardHandler)}, self: self, peer: peerID, pid: pid, conn: conn,
			waiting: make(map[term.Ref]chan<- reply), turns: make(chan struct{}, 1), quit: make(chan struct{}),
		}
		waits, err := n.expect(ref)
		if err != nil {
			t.Fatal(err)
		}
		_ = n.take(frame)
		if conn.wrote > 4*len(frame)+64 {
			t.Errorf("a frame of %d bytes was answered by %d", len(frame), conn.wrote)
		}
		select {
		case r := <-waits:
			if (r.value == nil) == (r.err == nil) {
				t.Errorf("the call got both or neither of a value and an error: %+v", r)
			}
		default:
		}
	})
}
