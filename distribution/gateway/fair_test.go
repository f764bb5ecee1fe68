package gateway

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// second links another guest with the same host and returns both ends.
func (s *scene) second() (host, guest peer) {
	s.t.Helper()
	view, stand, accepts := listen(s.t), listen(s.t), listen(s.t)
	spec := s.spec
	spec.Name, spec.Node, spec.Cookie = "other", "other@vm", "other's"
	spec.EPMD, spec.Host, spec.Guest = addrOf(view), addrOf(stand), addrOf(accepts)
	if _, need, err := s.server.Set(spec, map[netip.AddrPort]net.Listener{spec.EPMD: view, spec.Host: stand}); err != nil || len(need) > 0 {
		s.t.Fatal(need, err)
	}
	answer := s.accepted(s.host, everything("web@vm", 41), "cluster's", nil)
	guest.conn = s.dialed(spec.Host.Port())
	guest.sees, guest.err = wire.Dial(guest.conn, everything("other@vm", 43), app.NewSecret("other's"), 9)
	host = <-answer
	if err := errors.Join(host.err, guest.err); err != nil {
		s.t.Fatal(err)
	}
	s.expect("up")
	return host, guest
}

func (s *scene) statusOf(name string) protocol.Node {
	for _, n := range s.server.Nodes() {
		if n.Name == name {
			return n
		}
	}
	return protocol.Node{}
}

// toSink is a message to the name that the scene's rules allow.
func toSink(t *testing.T, node string, creation uint32, m term.Term) []byte {
	t.Helper()
	pid := term.Pid{Node: term.Atom(node), ID: 1, Creation: creation}
	return message(t, term.Tuple{term.Int(wire.OpRegSend), pid, term.Atom(""), term.Atom("sink")}, m)
}

// TestFloodOfOneGuestDelaysOthersByAFrameAtMost counts what the host gets of a
// flooding guest while a message of another one is on its way there and back.
func TestFloodOfOneGuestDelaysOthersByAFrameAtMost(t *testing.T) {
	s := newScene(t)
	floodHost, flood := s.linked()
	host, guest := s.second()
	const size = 4 << 20
	rate := float64(policy.Limits{}.WithDefaults().Bytes)
	frame := toSink(t, "pulse@vm", 42, term.Binary(make([]byte, size)))
	go func() {
		for wire.WriteFrame(flood.conn, frame) == nil {
		}
	}()
	var passed atomic.Int64
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := floodHost.conn.Read(buf)
			passed.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	for passed.Load() < 6*size { // it floods, and is held to its rate by now
		small(t, guest, host, "other@vm", 43)
	}
	for range 50 {
		before, began := passed.Load(), time.Now()
		small(t, guest, host, "other@vm", 43)
		small(t, host, guest, "web@vm", 41)
		during, took := passed.Load()-before, time.Since(began)
		if most := size + 1<<20 + int64(rate*took.Seconds()); during > most {
			t.Fatalf("%d bytes of the flood passed in the %v in which one small message went there and back, want %d at most", during, took, most)
		}
	}
	flood.conn.Close()
}

// small sends one message and waits until it is there.
func small(t *testing.T, from, to peer, node string, creation uint32) {
	t.Helper()
	from.send(t, toSink(t, node, creation, term.Int(1)))
	if c, _, _ := to.receive(t); c.Op != wire.OpRegSend {
		t.Fatalf("instead of the message came %v", c)
	}
}

// TestStuckHostLegHoldsUpNobodyElse: the first guest's frames go nowhere.
func TestStuckHostLegHoldsUpNobodyElse(t *testing.T) {
	s := newScene(t)
	s.under(policy.Messages{Allow: s.spec.Messages.Allow, Limits: policy.Limits{Messages: -1, Bytes: -1}})
	_, stuck := s.linked() // its host side reads nothing
	host, guest := s.second()
	frame := toSink(t, "pulse@vm", 42, term.Binary(make([]byte, 256<<10)))
	var sent atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for wire.WriteFrame(stuck.conn, frame) == nil {
			sent.Add(1)
		}
	}()
	for before := int64(-1); before != sent.Load(); { // until nothing moves there
		before = sent.Load()
		for range 1000 {
			small(t, guest, host, "other@vm", 43)
		}
	}
	select {
	case <-done:
		t.Error("the stuck guest's link ended")
	default:
	}
	stuck.conn.Close()
	<-done
}

// TestGuestThatTakesNothingLosesItsLink, and it counts: who sends to it on the
// host VM is suspended meanwhile.
func TestGuestThatTakesNothingLosesItsLink(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	defer guest.conn.Close() // it reads nothing
	frame := message(t, term.Tuple{term.Int(wire.OpSend), term.Atom(""), sink(1)}, term.Binary(make([]byte, 256<<10)))
	began := time.Now()
	for wire.WriteFrame(host.conn, frame) == nil {
	}
	if held := time.Since(began); held < guestPatience || held > 6*guestPatience {
		t.Errorf("the host VM was held up for %v, want about %v", held, guestPatience)
	}
	if ev := s.expect("down"); ev.Detail != errSlow.Error() {
		t.Errorf("the link ended because %q", ev.Detail)
	}
	if n := s.node(); n.Closed != 1 || n.Refused["slow"] != 1 || n.NextTry.IsZero() {
		t.Errorf("it does not count: %+v", n)
	}
}

func TestFrameOverTheLimitIsRefusedBeforeItComes(t *testing.T) {
	for name, size := range map[string]int{
		"over the policy's limit": policy.Limits{}.WithDefaults().Frame + 1,
		"over every limit":        wire.DefaultMaxFrame + 1,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			_, guest := s.linked()
			if _, err := guest.conn.Write(binary.BigEndian.AppendUint32(nil, uint32(size))); err != nil {
				t.Fatal(err)
			}
			if ev := s.expect("down"); !strings.Contains(ev.Detail, "rule size") {
				t.Errorf("event says %q", ev.Detail)
			}
			if n := s.node(); n.Refused["size"] != 1 || n.Closed != 1 {
				t.Errorf("refused %v, closed %d", n.Refused, n.Closed)
			}
		})
	}
}

// TestDefectInALinkEndsThatLink: the judge of one link fails in the middle of
// a frame; the other link, and the member, go on.
func TestDefectInALinkEndsThatLink(t *testing.T) {
	s := newScene(t)
	_, broken := s.linked()
	host, guest := s.second()
	m, err := s.server.member("pulse")
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	l := m.link
	m.mu.Unlock()
	m.record.mu.Lock()
	l.judge = nil
	m.record.mu.Unlock()
	broken.send(t, toSink(t, "pulse@vm", 42, term.Int(1)))
	if ev := s.expect("down"); ev.Name != "pulse" || ev.Detail != "guest session ended by a defect" {
		t.Errorf("event is %+v", ev)
	}
	if _, err := broken.conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the guest's connection: %v", err)
	}
	for range 3 {
		small(t, guest, host, "other@vm", 43)
	}
	if n := s.statusOf("pulse"); n.Up || n.Name == "" {
		t.Errorf("the broken link's member is %+v", n)
	}
	answer := s.accepted(s.host, everything("web@vm", 41), "cluster's", nil)
	again := s.dialed(s.spec.Host.Port())
	_, err = wire.Dial(again, everything("pulse@vm", 42), app.NewSecret("guest's"), 3)
	if err := errors.Join(err, (<-answer).err); err != nil {
		t.Errorf("its guest gets no new link: %v", err)
	}
}
