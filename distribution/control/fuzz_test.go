package control

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"os"
	"runtime"
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

func (s *sink) SetReadDeadline(time.Time) error { return nil }

// The node whose calls are answered, and the one call that waits.
var (
	fuzzSelf = wire.Identity{Name: "s@h", Flags: wire.OwnFlags, Creation: 5}
	fuzzPid  = term.Pid{Node: "s@h", ID: 1, Creation: 5}
	fuzzRef  = term.Ref{Node: "s@h", Creation: 5, Len: 3, Words: [5]uint32{1}}
)

// fuzzNode is a node without goroutines and the answer that it waits for.
func fuzzNode(t *testing.T, conn net.Conn) (*Node, <-chan reply) {
	t.Helper()
	cfg := Config{Limits: Hostile(), MaxFrame: 4 << 20}.withDefaults()
	n := &Node{
		cfg: cfg, self: fuzzSelf, peer: peerID, pid: fuzzPid, conn: conn, in: newIntake(cfg, conn),
		waiting: make(map[term.Ref]chan<- reply), turns: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	waits, err := n.expect(fuzzRef)
	if err != nil {
		t.Fatal(err)
	}
	return n, waits
}

// fuzzFrames are captured ones and the two that answer the call.
func fuzzFrames(f *testing.F) [][]byte {
	data, err := os.ReadFile("../wire/testdata/frames.hex")
	if err != nil {
		f.Fatal(err)
	}
	var all [][]byte
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if b, err := hex.DecodeString(s.Text()); err == nil {
			all = append(all, b)
		}
	}
	answer, err := wire.AppendMessage(nil, term.Tuple{term.Int(wire.OpSend), term.Atom(""), fuzzPid}, term.Tuple{fuzzRef, term.Float(1)})
	if err != nil {
		f.Fatal(err)
	}
	down, err := wire.AppendMessage(nil, term.Tuple{term.Int(wire.OpPayloadMonitorExit), term.Atom("rex"), fuzzPid, fuzzRef}, term.Atom("x"))
	if err != nil {
		f.Fatal(err)
	}
	return append(all, answer, down)
}

// check wants a call to have got one thing or to wait still.
func check(t *testing.T, waits <-chan reply) {
	t.Helper()
	select {
	case r := <-waits:
		if (r.value == nil) == (r.err == nil) {
			t.Errorf("the call got both or neither of a value and an error: %+v", r)
		}
	default:
	}
}

// FuzzTake hands arbitrary frames to a node that waits for an answer: a guest
// may send anything to those who call it.
func FuzzTake(f *testing.F) {
	for _, frame := range fuzzFrames(f) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		conn := &sink{}
		n, waits := fuzzNode(t, conn)
		_ = n.take(frame)
		if conn.wrote > 4*len(frame)+64 {
			t.Errorf("a frame of %d bytes was answered by %d", len(frame), conn.wrote)
		}
		check(t, waits)
	})
}

// source is a connection that brings some bytes and then ends.
type source struct {
	sink
	bytes.Reader
}

func (s *source) Read(b []byte) (int, error) { return s.Reader.Read(b) }

// FuzzRead hands an arbitrary stream to it, lengths of frames included: what is
// announced takes no memory, and what is sent at most a bounded multiple of it.
func FuzzRead(f *testing.F) {
	var all []byte
	for _, frame := range fuzzFrames(f) {
		one := append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
		all = append(all, one...)
		f.Add(one)
	}
	f.Add(all)
	f.Add([]byte{0, 0x3F, 0xFF, 0xFF, 112, 131, 104})
	large, err := wire.AppendMessage(nil, term.Tuple{term.Int(wire.OpSend), term.Atom(""), fuzzPid}, term.Tuple{fuzzRef, nils(20_000)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(large))), large...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		conn := &source{}
		conn.Reader.Reset(stream)
		n, waits := fuzzNode(t, conn)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n.read()
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(256<<10+512*len(stream)) {
			t.Errorf("a stream of %d bytes takes %d bytes", len(stream), took)
		}
		if n.Err() == nil {
			t.Error("the connection has not ended")
		}
		check(t, waits)
	})
}
