package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
)

// pairOfSockets is a connection between two processes.
func pairOfSockets(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = connOf(net.FileConn(f)); err != nil {
			t.Fatal(err)
		}
		f.Close()
		t.Cleanup(func() { ends[i].Close() })
	}
	return ends[0], ends[1]
}

// handOver moves everything to another gateway, which the scene goes on with.
func (s *scene) handOver() {
	s.t.Helper()
	from, to := pairOfSockets(s.t)
	elder, began := s.server, time.Now()
	defer func() { s.t.Logf("handed over in %v", time.Since(began)) }()
	heir := New(Config{EPMD: s.mapper, Tick: patienceOfTests, Log: slog.New(slog.NewTextHandler(s.t.Output(), nil))})
	s.t.Cleanup(heir.clear)
	events, stop := heir.feed.follow()
	s.t.Cleanup(stop)
	got := make(chan error, 1)
	go func() { got <- heir.Inherit(to) }()
	_ = from.SetDeadline(time.Now().Add(patienceOfTests))
	if err := errors.Join(elder.handOver(courier{from}), <-got); err != nil {
		s.t.Fatal(err)
	}
	elder.leaving.Wait()
	if n := len(elder.Nodes()); n != 0 {
		s.t.Fatalf("the elder serves %d members", n)
	}
	s.server, s.events = heir, events
}

var (
	sink  = func(n uint32) term.Pid { return term.Pid{Node: "pulse@vm", ID: n, Creation: 42} }
	asker = func(n uint32) term.Pid { return term.Pid{Node: "web@vm", ID: n, Creation: 41} }
)

func sinks(t *testing.T, text string) []byte {
	return message(t, term.Tuple{term.Int(wire.OpRegSend), sink(1), term.Atom(""), term.Atom("sink")}, term.Binary(text))
}

// TestLinksGoToAnotherGateway: the connections that both nodes have stay, with
// what was half read, half written, asked and not answered yet.
func TestLinksGoToAnotherGateway(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	before := s.node()
	s.handOver()
	after := s.node()
	if !after.Up || !after.Registered || !after.Since.Equal(before.Since) || after.Port != before.Port {
		t.Errorf("the member was %+v, is %+v", before, after)
	}
	for i, text := range []string{"first", "second", "third"} {
		guest.send(t, sinks(t, text))
		if _, m, _ := host.receive(t); !term.Equal(m, term.Binary(text)) {
			t.Errorf("%d: the host VM got %s", i, term.Format(m))
		}
		host.send(t, message(t, term.Tuple{term.Int(wire.OpSend), term.Atom(""), sink(uint32(i))}, term.Binary(text)))
		if _, m, _ := guest.receive(t); !term.Equal(m, term.Binary(text)) {
			t.Errorf("%d: the guest got %s", i, term.Format(m))
		}
		s.handOver()
	}
}

// TestCallIsAnsweredThroughAnotherGateway: a right that one gateway learnt
// counts in the next one, once.
func TestCallIsAnsweredThroughAnotherGateway(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	ref := term.Ref{Node: "web@vm", Creation: 41, Len: 3, Words: [5]uint32{7, 8, 9}}
	host.send(t, message(t, term.Tuple{term.Int(wire.OpRegSend), asker(3), term.Atom(""), term.Atom("desk")},
		term.Tuple{term.Atom("$gen_call"), term.Tuple{asker(3), ref}, term.Atom("get")}))
	_, asked, _ := guest.receive(t)
	from := asked.(term.Tuple)[1].(term.Tuple)
	s.handOver()
	answer := message(t, term.Tuple{term.Int(wire.OpSend), term.Atom(""), from[0]}, term.Tuple{from[1], term.Int(5)})
	guest.send(t, answer)
	if _, m, _ := host.receive(t); !term.Equal(m, term.Tuple{ref, term.Int(5)}) {
		t.Errorf("the host VM got %s", term.Format(m))
	}
	s.handOver()
	guest.send(t, answer)
	guest.send(t, sinks(t, "end"))
	if _, m, _ := host.receive(t); !term.Equal(m, term.Binary("end")) {
		t.Errorf("an answer passed twice: %s", term.Format(m))
	}
}

// TestHalfAMessageGoesOn: what was read of a frame is not lost, neither is what
// a peer has not taken yet.
func TestHalfAMessageGoesOn(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	frame := sinks(t, "whole")
	half := append([]byte{0, 0, 0, byte(len(frame))}, frame...)
	if _, err := guest.conn.Write(half[:3]); err != nil {
		t.Fatal(err)
	}
	big := term.Binary(strings.Repeat("x", 8<<20)) // more than the sockets hold
	sent := make(chan error, 1)
	go func() {
		sent <- wire.WriteFrame(host.conn, message(t, term.Tuple{term.Int(wire.OpSend), term.Atom(""), sink(1)}, big))
	}()
	if err := <-sent; err != nil { // read as a whole, and stuck at the guest
		t.Fatal(err)
	}
	s.handOver()
	if _, err := guest.conn.Write(half[3:]); err != nil {
		t.Fatal(err)
	}
	if _, m, _ := host.receive(t); !term.Equal(m, term.Binary("whole")) {
		t.Errorf("the host VM got %s", term.Format(m))
	}
	if _, m, _ := guest.receive(t); !term.Equal(m, big) {
		t.Error("the guest did not get the large message as it was sent")
	}
}

// TestStreamIsWholeAcrossGateways: messages that go both ways all the time
// arrive, each once and in order, while gateways take turns.
func TestStreamIsWholeAcrossGateways(t *testing.T) {
	const messages = 20_000
	s := newScene(t)
	s.spec.Messages.Limits.Messages, s.spec.Messages.Limits.Bytes = -1, -1
	if _, _, err := s.server.Set(s.spec, nil); err != nil {
		t.Fatal(err)
	}
	host, guest := s.linked()
	stream := func(from, to peer, control term.Tuple) <-chan error {
		done := make(chan error, 2)
		go func() {
			for i := range messages {
				frame, err := wire.AppendMessage(nil, control, term.Tuple{term.Int(i), term.Binary(make([]byte, i%5000))})
				if err = errors.Join(err, wire.WriteFrame(from.conn, frame)); err != nil {
					done <- err
					return
				}
			}
		}()
		go func() { done <- inOrder(to.conn, messages) }()
		return done
	}
	up := stream(guest, host, term.Tuple{term.Int(wire.OpRegSend), sink(1), term.Atom(""), term.Atom("sink")})
	down := stream(host, guest, term.Tuple{term.Int(wire.OpSend), term.Atom(""), sink(1)})
	turns := 0
	for up != nil || down != nil {
		select {
		case err := <-up:
			if up = nil; err != nil {
				t.Fatal("guest to host:", err)
			}
		case err := <-down:
			if down = nil; err != nil {
				t.Fatal("host to guest:", err)
			}
		default:
			s.handOver()
			turns++
		}
	}
	if turns < 2 {
		t.Errorf("gateways took %d turns", turns)
	}
	t.Logf("gateways took %d turns", turns)
}

func inOrder(from net.Conn, messages int) error {
	for i := 0; i < messages; {
		frame, err := wire.ReadFrame(from, nil, 0)
		if err != nil {
			return err
		}
		if len(frame) == 0 {
			continue
		}
		_, payload, err := wire.SplitFrame(frame)
		if err != nil {
			return err
		}
		m, _, err := term.Decode(payload)
		if tuple, ok := m.(term.Tuple); err != nil || !ok || !term.Equal(tuple[0], term.Int(i)) {
			return errors.New("a message is missing, or out of order: " + term.Format(m))
		}
		i++
	}
	return nil
}

// TestNamesGoToAnotherGateway: the guest's name at its view and ours at the
// machine's port mapper are held all the time, and end with the guest.
func TestNamesGoToAnotherGateway(t *testing.T) {
	s := newScene(t)
	lease := s.boot()
	s.handOver()
	for _, at := range []netip.AddrPort{s.mapper, s.spec.EPMD} {
		if _, err := epmd.Lookup(t.Context(), at, "pulse"); err != nil {
			t.Error(err)
		}
	}
	lease.Close()
	s.expect("unregistered")
	s.boot()
	host, _ := s.joined()
	host.conn.Close()
	s.expect("down")
}

// TestGatewayThatIsRefusedGoesOn: when the other gateway does not take over,
// links and names stay where they were.
func TestGatewayThatIsRefusedGoesOn(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	from, to := pairOfSockets(t)
	to.Close()
	if err := s.server.handOver(courier{from}); err == nil {
		t.Fatal("nobody took over, and that was no error")
	}
	guest.send(t, sinks(t, "still here"))
	if _, m, _ := host.receive(t); !term.Equal(m, term.Binary("still here")) {
		t.Errorf("the host VM got %s", term.Format(m))
	}
	if n := s.node(); !n.Up || !n.Registered {
		t.Errorf("the member is %+v", n)
	}
	host.conn.Close()
	s.expect("down")
	s.joined()
}

// TestHeirOfAnElderThatStays touches nothing.
func TestHeirOfAnElderThatStays(t *testing.T) {
	for name, last := range map[string]parcel{"stays": {Kind: parcelStay}, "speaks otherwise": {Kind: "greetings"}} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			_, _ = s.linked()
			from, to := pairOfSockets(t)
			heir := New(Config{EPMD: s.mapper})
			got := make(chan error, 1)
			go func() { got <- heir.Inherit(to) }()
			s.server.ice.freeze()
			s.server.stopLinks(time.Now().Add(finishIn))
			err := s.server.tellAll(courier{from})
			s.server.ice.melt(false)
			if err = errors.Join(err, courier{from}.send(last)); err != nil {
				t.Fatal(err)
			}
			if err := <-got; err == nil {
				t.Error("it took over")
			}
			if len(heir.Nodes()) != 0 {
				t.Error("it serves somebody")
			}
		})
	}
}

// TestForwardedConnectionsOutliveTheHandOver: one that is under way goes on in
// the elder, the next one comes to the heir.
func TestForwardedConnectionsOutliveTheHandOver(t *testing.T) {
	s := newScene(t)
	free, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	port := addrOf(free).Port()
	go echo(free)
	s.spec.Guest = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), s.spec.Guest.Port())
	s.spec.Forward = []uint16{port}
	view, stand := listen(t), listen(t)
	s.spec.EPMD, s.spec.Host = addrOf(view), addrOf(stand)
	if _, _, err := s.server.Set(s.spec, map[netip.AddrPort]net.Listener{s.spec.EPMD: view, s.spec.Host: stand}); err != nil {
		t.Fatal(err)
	}
	old := s.dialed(port)
	says(t, old, "before")
	elder := s.server
	s.handOver()
	says(t, old, "after")
	says(t, s.dialed(port), "anew")
	old.Close()
	elder.drain()
}

func echo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(c, c); c.Close() }()
	}
}

func says(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("heard %q, %v", got, err)
	}
}

// TestHandOverByTheControlSocket: the elder answers who asked, and its Serve
// ends.
func TestHandOverByTheControlSocket(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	elder := s.server
	go func() { served <- elder.Serve(context.Background(), ln) }()
	from, to := pairOfSockets(t)
	f, err := from.File()
	if err != nil {
		t.Fatal(err)
	}
	heir := New(Config{EPMD: s.mapper, Tick: patienceOfTests})
	t.Cleanup(heir.clear)
	got := make(chan error, 1)
	go func() { got <- heir.Inherit(to) }()
	_, err = protocol.Ask(t.Context(), socket, protocol.Request{Op: protocol.OpHandOver}, f)
	f.Close()
	if err = errors.Join(err, <-got, <-served); err != nil {
		t.Fatal(err)
	}
	guest.send(t, sinks(t, "on"))
	if _, m, _ := host.receive(t); !term.Equal(m, term.Binary("on")) {
		t.Errorf("the host VM got %s", term.Format(m))
	}
}
