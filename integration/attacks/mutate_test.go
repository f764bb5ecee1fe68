//go:build integration

package attacks

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/judge"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/distribution/wire/walk"
	"beamsandbox/integration/stage"
	"beamsandbox/policy"
)

// mutants is how many mutated frames go to the gateway.
const mutants = 100_000

// TestMutatedFrames sends what no node would say, by a program in the place of
// the second guest's BEAM: 100 000 mutants of a captured session over one link,
// then one of those that end a link. Nobody is harmed.
func TestMutatedFrames(t *testing.T) {
	w.enforce(t)
	before, gateway := w.takeStock(t), w.gatewayMemory(t)
	creation, _ := call(t, w.host, "erlang", "system_info", term.Atom("creation")).(term.Int)
	s := capture(t, second, wire.Identity{Name: w.host.Name, Creation: uint32(creation), Flags: wire.Relayed})
	m := newMutator(t, s)
	conn := w.dialAs(t, second, s.guest)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn) // what the gateway answers
	}()
	sent := m.send(t, conn)
	mark := term.Tuple{term.Atom("ok"), term.Int(mutants)} // of atoms that the host VM has: the guest's own are used up
	frame, err := wire.AppendMessage(nil, term.Tuple{term.Int(wire.OpRegSend), s.guestPid(1), term.Atom(""), term.Atom("attack_sink")}, mark)
	must(t, err)
	must(t, wire.WriteFrame(conn, frame))
	was := w.member(t, second)
	err = stage.Until(within(t, time.Minute), "the host VM hears what was said last", func() bool {
		return w.probe(t, fmt.Sprintf("lists:member({ok, %d}, attack_host:heard(attack_sink))", mutants), term.Atom("none"))
	})
	if err != nil {
		t.Fatalf("%v; the link was up since %s, now %+v", err, was.Since, w.member(t, second))
	}
	t.Logf("%d frames of %d kinds sent, %d of them changed nothing; %d that would end the link; refused %v", sent, len(s.frames), m.passed, len(m.closers), w.member(t, second).Refused)
	// One that ends every link: it does not even begin like a frame.
	closer := m.closers[slices.IndexFunc(m.closers, func(b []byte) bool { return b[0] != 112 })]
	must(t, wire.WriteFrame(conn, closer))
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Errorf("the link stands after %x", closer)
	}
	w.shutOut(t, s)
	w.unharmed(t, before)
	if now := w.gatewayMemory(t); now > gateway+64<<20 {
		t.Errorf("the gateway had %d bytes and has %d", gateway, now)
	}
}

// shutOut wants the guest, whose link was just ended for what it sent, to get no
// other one at once.
func (w *world) shutOut(t *testing.T, s *session) {
	t.Helper()
	if conn, err := w.dial(within(t, time.Minute), second, s.guest); err == nil {
		conn.Close()
		t.Error("who broke the protocol gets another link at once")
	}
	if m := w.member(t, second); m.Closed == 0 && m.Quarantine == nil {
		t.Errorf("the gateway has not noted why: %+v", m)
	}
}

// gatewayMemory is what sandbox-gateway occupies, in bytes. It fails once that
// is another process.
func (w *world) gatewayMemory(t *testing.T) int {
	t.Helper()
	pid, err := stage.PidOf("sandbox-gateway", w.RunDir)
	must(t, err)
	if w.gateway == 0 {
		w.gateway = pid
	}
	if pid != w.gateway {
		t.Errorf("sandbox-gateway was process %d and is %d", w.gateway, pid)
	}
	return kilobytes(t, pid, "VmRSS") << 10
}

// mutator makes frames out of those of a session.
type mutator struct {
	rand    *rand.Rand
	frames  [][]byte
	judge   *judge.Judge // says which mutants end a link
	walker  walk.Walker  // says whether a message is one
	closers [][]byte
	passed  int
}

func newMutator(t *testing.T, s *session) *mutator {
	t.Helper()
	parsed, err := term.Parse([]byte(messages(policy.Enforce) + "."))
	must(t, err)
	all, err := policy.ParseApps(parsed[0])
	must(t, err)
	j, err := judge.New(judge.Config{Guest: s.guest, Host: s.host, Messages: all[second]}, &judge.Lifetime{})
	must(t, err)
	walker := walk.Walker{Depth: 64, Nodes: 200_000, Bytes: 256, Atom: func([]byte, bool) bool { return true },
		Pid: func(walk.Pid, []byte) bool { return true }, Ref: func(walk.Ref, []byte) bool { return true }}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return &mutator{rand: rand.New(rand.NewPCG(seed, 0)), frames: s.frames, judge: j, walker: walker}
}

// send writes mutants that leave the link up and keeps those that would not.
func (m *mutator) send(t *testing.T, conn net.Conn) (sent int) {
	t.Helper()
	out := bufio.NewWriterSize(conn, 64<<10)
	for sent < mutants {
		base := m.frames[m.rand.IntN(len(m.frames))]
		frame := m.mutate(slices.Clone(base))
		switch {
		case m.closes(t, frame):
			m.closers = append(m.closers, frame)
			continue
		case bytes.Equal(frame, base):
			m.passed++
		}
		must(t, wire.WriteFrame(out, frame))
		sent++
	}
	must(t, out.Flush())
	return sent
}

// closes says whether a frame ends a link: by the judge's word, or because its
// message is none. A judge stops at the first thing that it refuses, which on
// another link may be another one.
func (m *mutator) closes(t *testing.T, frame []byte) bool {
	t.Helper()
	v := m.judge.FromGuest(time.Now(), slices.Clone(frame))
	if v.Action == judge.Close {
		if len(v.Forward) > 0 {
			t.Fatalf("%x ends the link and goes on", frame)
		}
		return true
	}
	control := walk.Reader{B: frame[2:]}
	if _, ok := control.Skip(); !ok || len(control.B) == 0 {
		return !ok
	}
	message := slices.Clone(control.B[1:])
	n, why := m.walker.Walk(message)
	return why == walk.Malformed || why == walk.Tag || why == walk.OK && n != len(message)
}

// mutate changes a frame in one to four places.
func (m *mutator) mutate(b []byte) []byte {
	for range 1 + m.rand.IntN(4) {
		if len(b) < 16 { // cuts must leave a frame: an empty one is a tick
			return b
		}
		at := m.rand.IntN(len(b))
		switch m.rand.IntN(7) {
		case 0:
			b[at] ^= 1 << m.rand.IntN(8)
		case 1:
			b[at] = byte(m.rand.Uint32())
		case 2:
			b[at] = m.interesting()
		case 3: // cut something out
			b = slices.Delete(b, at, min(len(b), at+1+m.rand.IntN(8)))
		case 4: // say something twice
			b = slices.Insert(b, at, slices.Clone(b[at:min(len(b), at+1+m.rand.IntN(40))])...)
		case 5: // another operation
			b[min(5, len(b)-1)] = byte(m.rand.IntN(40))
		case 6: // another message behind the same control message
			b = m.splice(b)
		}
	}
	return b
}

// interesting is a tag of the external term format, or an extreme number.
func (m *mutator) interesting() byte {
	values := []byte{0, 1, 127, 128, 255, 70, 77, 88, 90, 97, 98, 100, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 116, 118, 119, 120, 131}
	return values[m.rand.IntN(len(values))]
}

func (m *mutator) splice(b []byte) []byte {
	other := m.frames[m.rand.IntN(len(m.frames))]
	here, there := payloadAt(b), payloadAt(other)
	if here < 0 || there < 0 {
		return b
	}
	return append(b[:here:here], other[there:]...)
}

// payloadAt is where a frame's message begins, -1 without one.
func payloadAt(b []byte) int { return bytes.LastIndexByte(b, 131) }

func (s *session) guestPid(id uint32) term.Pid {
	return term.Pid{Node: term.Atom(s.guest.Name), ID: id, Creation: s.guest.Creation}
}
