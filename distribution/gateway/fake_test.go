package gateway

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// scene is a Server with one member, and the two nodes played by the test.
type scene struct {
	t      *testing.T
	server *Server
	spec   protocol.Member
	mapper netip.AddrPort // plays the machine's port mapper
	host   net.Listener   // where the host node accepts
	guest  net.Listener   // where the guest accepts
	events <-chan protocol.Event
}

// patienceOfTests is for all that a connection carries, thousands of round trips
// on a busy machine included: nothing waits it out but a test that fails.
const patienceOfTests = time.Minute

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func addrOf(ln net.Listener) netip.AddrPort { return ln.Addr().(*net.TCPAddr).AddrPort() }

func newScene(t *testing.T) *scene {
	t.Helper()
	mapper := listen(t)
	go func() { _ = new(epmd.View).Serve(t.Context(), mapper) }()
	s := &scene{t: t, mapper: addrOf(mapper), host: listen(t), guest: listen(t)}
	s.server = New(Config{EPMD: s.mapper, Tick: patienceOfTests}) // the played nodes do not tick
	t.Cleanup(s.server.clear)
	events, stop := s.server.feed.follow()
	t.Cleanup(stop)
	s.events = events
	view, stand := listen(t), listen(t)
	s.spec = protocol.Member{
		Name: "pulse", Node: "pulse@vm", HostNode: "web@vm", Guest: addrOf(s.guest),
		EPMD: addrOf(view), Host: addrOf(stand), Cookie: "guest's", HostCookie: "cluster's",
		Messages: policy.Messages{Allow: []policy.Allow{{To: "sink", Kind: policy.Info}}, Limits: policy.Limits{Handshakes: -1}},
	}
	_, need, err := s.server.Set(s.spec, map[netip.AddrPort]net.Listener{addrOf(view): view, addrOf(stand): stand})
	if err != nil || len(need) > 0 {
		t.Fatal(need, err)
	}
	s.register(s.mapper, epmd.Registration{Name: "web", Port: addrOf(s.host).Port()})
	return s
}

func (s *scene) register(at netip.AddrPort, r epmd.Registration) *epmd.Lease {
	s.t.Helper()
	lease, err := epmd.Register(s.t.Context(), at, r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { lease.Close() })
	return lease
}

// boot plays the guest's BEAM asking for its name.
func (s *scene) boot() *epmd.Lease {
	s.t.Helper()
	lease := s.register(s.spec.EPMD, epmd.Registration{Name: "pulse", Port: s.spec.Guest.Port()})
	s.expect("registered")
	return lease
}

func (s *scene) expect(kind string) protocol.Event {
	s.t.Helper()
	for {
		select {
		case ev := <-s.events:
			if ev.Kind == kind {
				return ev
			}
		case <-time.After(patienceOfTests):
			s.t.Fatalf("no event %s", kind)
		}
	}
}

// node is the member as the gateway shows it.
func (s *scene) node() protocol.Node { return s.server.Nodes()[0] }

// dialed connects as a node would and fails the test when reads hang.
func (s *scene) dialed(port uint16) net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patienceOfTests))
	return c
}

// accepted plays the accepting node in the background.
func (s *scene) accepted(ln net.Listener, self wire.Identity, cookie string, admit func(wire.Identity) wire.StatusCode) <-chan peer {
	got := make(chan peer, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			got <- peer{err: err}
			return
		}
		_ = c.SetDeadline(time.Now().Add(patienceOfTests))
		id, err := wire.Accept(c, self, app.NewSecret(cookie), 7, admit)
		if err != nil {
			c.Close()
		}
		got <- peer{conn: c, sees: id, err: err}
	}()
	return got
}

// peer is one played node at the end of a handshake.
type peer struct {
	conn net.Conn
	sees wire.Identity
	err  error
}

// node identities of the scene: everything OTP 25 can do.
func everything(name string, creation uint32) wire.Identity {
	all := wire.Mandatory26 | wire.Relayed | wire.DistHdrAtomCache | wire.Fragments | wire.SendSender |
		wire.BigSeqtraceLabels | wire.AlternateActionSigs | wire.Flags(1)<<50
	return wire.Identity{Name: name, Flags: all, Creation: creation}
}

// linked has the guest ask for its name, and joined.
func (s *scene) linked() (host, guest peer) {
	s.t.Helper()
	s.boot()
	return s.joined()
}

// joined makes a link, dialed by the host, and returns both ends.
func (s *scene) joined() (host, guest peer) {
	s.t.Helper()
	answer := s.accepted(s.guest, everything("pulse@vm", 42), "guest's", nil)
	host.conn = s.dialed(s.node().Port)
	host.sees, host.err = wire.Dial(host.conn, everything("web@vm", 41), app.NewSecret("cluster's"), 9)
	guest = <-answer
	if err := errors.Join(host.err, guest.err); err != nil {
		s.t.Fatal(err)
	}
	s.expect("up")
	return host, guest
}

func (p peer) send(t *testing.T, frame []byte) {
	t.Helper()
	if err := wire.WriteFrame(p.conn, frame); err != nil {
		t.Fatal(err)
	}
}

// receive reads the next frame that is no tick, and counts ticks.
func (p peer) receive(t *testing.T) (c wire.Control, message term.Term, ticks int) {
	t.Helper()
	for {
		frame, err := wire.ReadFrame(p.conn, nil, 0)
		if err != nil {
			t.Fatalf("receive: %v", err)
		}
		if len(frame) == 0 {
			ticks++
			continue
		}
		c, payload, err := wire.SplitFrame(frame)
		if err != nil {
			t.Fatal(err)
		}
		if payload != nil {
			message, _, err = term.Decode(payload)
			if err != nil {
				t.Fatal(err)
			}
		}
		return c, message, ticks
	}
}

func message(t *testing.T, control term.Tuple, m term.Term) []byte {
	t.Helper()
	var frame []byte
	var err error
	if m == nil {
		frame, err = wire.AppendFrame(nil, control, nil)
	} else {
		frame, err = wire.AppendMessage(nil, control, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return frame
}
