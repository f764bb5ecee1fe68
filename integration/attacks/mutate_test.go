//go:build integration

package attacks

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"syscall"
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
// the second guest's BEAM: 100 000 mutants of captured sessions, over one link for
// each of these, then of those that end a link one for each rule, on a link of
// its own. Nobody is harmed.
func TestMutatedFrames(t *testing.T) {
	w.enforce(t)
	w.settle(t)
	before, gateway := w.takeStock(t), w.gatewayMemory(t)
	creation, _ := call(t, w.host, "erlang", "system_info", term.Atom("creation")).(term.Int)
	host := wire.Identity{Name: w.host.Name, Creation: uint32(creation), Flags: wire.Relayed}
	closers := map[string]closer{}
	all := sayings()
	for i, about := range slices.Sorted(maps.Keys(all)) {
		t.Run(about, func(t *testing.T) {
			s := capture(t, second, host, all[about])
			m := newMutator(t, s, uint64(i))
			w.sendMutants(t, m, mutants/len(all)+1)
			maps.Copy(closers, m.closers)
		})
	}
	for _, rule := range closing {
		t.Run("closes by rule "+rule, func(t *testing.T) { w.closesBy(t, rule, closers) })
	}
	w.unharmed(t, before)
	if now := w.gatewayMemory(t); now > gateway+64<<20 {
		t.Errorf("the gateway had %d bytes and has %d", gateway, now)
	}
}

// sendMutants makes a link in the second guest's place, sends mutants that leave
// it up, and wants the host VM to hear what comes behind them.
func (w *world) sendMutants(t *testing.T, m *mutator, n int) {
	t.Helper()
	conn := w.dialAs(t, second, m.s.guest)
	go func() { _, _ = io.Copy(io.Discard, conn) }() // what the gateway answers
	was := w.member(t, second)
	m.send(t, conn, n)
	mark := term.Tuple{term.Atom("ok"), term.Int(m.seed + mutants)} // of atoms that the host VM has: the guest's own are used up
	frame, err := wire.AppendMessage(nil, term.Tuple{term.Int(wire.OpRegSend), m.s.guestPid(1), term.Atom(""), term.Atom("attack_sink")}, mark)
	must(t, err)
	must(t, wire.WriteFrame(conn, frame))
	err = stage.Until(within(t, time.Minute), "the host VM hears what was said last", func() bool {
		return w.probe(t, "lists:member("+term.Format(mark)+", attack_host:heard(attack_sink))", term.Atom("none"))
	})
	now := w.member(t, second)
	if err != nil || !now.Since.Equal(was.Since) {
		t.Fatalf("%v; the link was up since %s, now %+v", err, was.Since, now)
	}
	t.Logf("%d frames of %d kinds sent, %d of them changed nothing, %d more would pass; refused %v, then %v",
		n, len(m.s.frames), m.unchanged, m.pass, was.Refused, now.Refused)
	if m.unchanged > n/5 {
		t.Errorf("%d of %d mutants are none", m.unchanged, n)
	}
	must(t, conn.Close())
}

// closer is a frame that ends a link, with the session that it is of.
type closer struct {
	s     *session
	frame []byte
}

// closesBy wants one frame that breaks a rule to end a link of its own, the rule
// and the link to be counted, and who sent it to be kept out until it is
// forgiven.
func (w *world) closesBy(t *testing.T, rule string, closers map[string]closer) {
	t.Helper()
	c, found := closers[rule]
	if rule == "size" { // is known before there is a frame
		c, found = closers["malformed"]
	}
	if !found {
		t.Fatalf("no mutant breaks rule %s", rule)
	}
	conn := w.dialAs(t, second, c.s.guest)
	eventually(t, "the link is up", func() bool { return w.member(t, second).Up })
	before := w.member(t, second)
	sent := time.Now()
	if rule == "size" {
		announce(t, conn, 1500<<20)
	} else {
		must(t, wire.WriteFrame(conn, c.frame))
	}
	must(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the link stands after %x", c.frame)
	}
	eventually(t, fmt.Sprintf("rule %s counts %x and the closed link", rule, c.frame), func() bool {
		now := w.member(t, second)
		return now.Closed == before.Closed+1 && now.Refused[rule] == before.Refused[rule]+1
	})
	w.shutOut(t, c.s, sent)
	w.forgive(t, second)
}

// shutOut wants the guest, whose link was ended for what it sent at some time, to
// get no other one within a second of that: the gateway hangs up on it.
func (w *world) shutOut(t *testing.T, s *session, sent time.Time) {
	t.Helper()
	conn, err := w.dialOnce(second, s.guest)
	if err == nil {
		conn.Close()
	}
	hungUp := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	if took := time.Since(sent); !hungUp && took < time.Second {
		t.Errorf("who broke the protocol gets another link after %v: %v", took, err)
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
	s               *session
	seed            uint64
	rand            *rand.Rand
	frames          [][]byte
	judge, poor     *judge.Judge // say which mutants end a link; the poor one's guest has no atoms left
	walker          walk.Walker  // says whether a message is one
	closers         map[string]closer
	unchanged, pass int
	last            [][]byte
}

// newMutator always makes the same changes, and logs the last ones when the test
// fails.
func newMutator(t *testing.T, s *session, seed uint64) *mutator {
	t.Helper()
	walker := walk.Walker{Depth: 64, Nodes: 200_000, Bytes: 256, Atom: func([]byte, bool) bool { return true },
		Pid: func(walk.Pid, []byte) bool { return true }, Ref: func(walk.Ref, []byte) bool { return true }}
	m := &mutator{s: s, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), frames: s.frames, walker: walker, closers: map[string]closer{},
		judge: newJudge(t, s, 200), poor: newJudge(t, s, 1)}
	t.Logf("seed %d, %d frames", seed, len(s.frames))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last frames were\n%x", m.last)
		}
	})
	return m
}

// newJudge is a judge of the session's link by the test's own policy, but for how
// many atoms the guest may bring.
func newJudge(t *testing.T, s *session, atoms int) *judge.Judge {
	t.Helper()
	parsed, err := term.Parse([]byte(messages(policy.Enforce) + "."))
	must(t, err)
	all, err := policy.ParseApps(parsed[0])
	must(t, err)
	rules := all[second]
	rules.Limits.Atoms = atoms
	j, err := judge.New(judge.Config{Guest: s.guest, Host: s.host, Messages: rules}, &judge.Lifetime{})
	must(t, err)
	return j
}

// send writes mutants that leave the link up and keeps those that would not, one
// for each rule.
func (m *mutator) send(t *testing.T, conn net.Conn, n int) {
	t.Helper()
	out := bufio.NewWriterSize(conn, 64<<10)
	for sent := 0; sent < n; {
		base := m.frames[m.rand.IntN(len(m.frames))]
		frame := m.mutate(slices.Clone(base))
		if m.closes(t, frame) {
			continue
		}
		if bytes.Equal(frame, base) {
			m.unchanged++
		}
		m.last = append(m.last[max(0, len(m.last)-19):], frame)
		must(t, wire.WriteFrame(out, frame))
		sent++
	}
	must(t, out.Flush())
}

// closes says whether a frame ends a link: by a judge's word, or because its
// message is none. A judge stops at the first thing that it refuses, which on
// another link may be another one.
func (m *mutator) closes(t *testing.T, frame []byte) bool {
	t.Helper()
	now := time.Now()
	v, poor := m.judge.FromGuest(now, slices.Clone(frame)), m.poor.FromGuest(now, slices.Clone(frame))
	if v.Action == judge.Close {
		if len(v.Forward) > 0 {
			t.Fatalf("%x ends the link and goes on", frame)
		}
		if poor.Rule == v.Rule {
			m.closers[v.Rule] = closer{m.s, frame}
		}
		return true
	}
	if v.Action == judge.Pass {
		m.pass++
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
