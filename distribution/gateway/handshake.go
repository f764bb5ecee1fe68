package gateway

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/wire"
)

// handshakeTimeout bounds both handshakes of a link together; OTP gives up
// after net_setuptime, 7 s, too.
const handshakeTimeout = 7 * time.Second

// side is one node of a link as its handshake needs it.
type side struct {
	what    string // "guest" or "host VM"
	node    string
	cookies []wire.Cookie               // one, or two while it is replaced, the likelier first
	shown   func(wire.Flags) wire.Flags // its flags as the other side may see them
}

func (m *member) sides() (host, guest side) {
	spec := m.spec()
	host = side{"host VM", spec.HostNode, m.cookies(hostLeg), wire.ToGuest}
	guest = side{"guest", spec.Node, m.cookies(guestLeg), wire.ToHost}
	return host, guest
}

// Reasons why a connection was not served that are no fault of anybody.
var (
	errCrossed = errors.New("both nodes dialed at once, the other connection goes on")
	errNobody  = errors.New("the guest's BEAM does not run")
	errLinked  = errors.New("the older link has not ended yet")
)

// hostDials serves a connection of the host VM to the guest's stand-in.
func (m *member) hostDials(ctx context.Context, conn net.Conn, p *pending) (*link, error) {
	if !m.isHeld() {
		return nil, errNobody
	}
	if err := m.barred(); err != nil {
		return nil, err
	}
	conn, err := m.accepted(ctx, hostLeg, conn)
	if err != nil {
		return nil, err
	}
	host, guest := m.sides()
	from, hostID, err := greet(conn, host)
	if err != nil {
		return nil, err
	}
	if !m.noLink(ctx) {
		_ = from.SendStatus(wire.StatusNOK)
		return nil, errLinked
	}
	guestConn, err := dial(ctx, m.spec().Guest)
	if err != nil {
		return nil, fmt.Errorf("dial guest: %w", err)
	}
	p.add(guestConn)
	if guestConn, err = m.dialed(ctx, guestLeg, guestConn); err != nil {
		return nil, err
	}
	guestID, err := relay(from, hostID, host, wire.NewDialer(guestConn), guest)
	if err != nil {
		m.doubt(guestLeg, err)
		return nil, err
	}
	return m.newLink(conn, hostID, guestConn, guestID), nil
}

// guestDials serves a connection of the guest to the host node's stand-in.
func (m *member) guestDials(ctx context.Context, conn net.Conn, p *pending) (*link, error) {
	if !m.mayDial() {
		return nil, errors.New("guest dials the host VM more often than its limit of handshakes a minute allows")
	}
	if err := m.barred(); err != nil {
		return nil, err
	}
	conn, err := m.accepted(ctx, guestLeg, conn)
	if err != nil {
		return nil, err
	}
	host, guest := m.sides()
	from, guestID, err := greet(conn, guest)
	if err != nil {
		return nil, err
	}
	// A guest that dials has lost its link, whatever the host still thinks.
	m.closeLink("guest dialed again")
	hostConn, err := m.dialHost(ctx, host.node)
	if err != nil {
		return nil, err
	}
	p.add(hostConn)
	if hostConn, err = m.dialed(ctx, hostLeg, hostConn); err != nil {
		return nil, err
	}
	hostID, err := relay(from, guestID, guest, wire.NewDialer(hostConn), host)
	if err != nil {
		m.doubt(hostLeg, err)
		return nil, err
	}
	return m.newLink(hostConn, hostID, conn, guestID), nil
}

// mayDial reports whether the guest has not dialed too often.
func (m *member) mayDial() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dials.next(time.Now(), 0) == 0
}

// greet reads who dials and refuses every name but the pinned one.
func greet(conn net.Conn, s side) (*wire.Acceptor, wire.Identity, error) {
	from := wire.NewAcceptor(conn)
	id, err := from.ReadName()
	if err == nil {
		if err = admit(id, s.node); err != nil {
			_ = from.SendStatus(wire.StatusNotAllowed)
		}
	}
	if err != nil {
		return nil, id, fmt.Errorf("%s dials: %w", s.what, err)
	}
	return from, id, nil
}

// admit says why a node cannot take part in a link.
func admit(id wire.Identity, pinned string) error {
	if id.Name != pinned {
		return fmt.Errorf("node calls itself %s, only %s is welcome", id.Name, pinned)
	}
	return id.Flags.Check()
}

// relay makes one handshake of two: the dialing node b hears of is a, with
// a's creation and those of its flags that b may see, and the other way
// round; each proves its own cookie to us. Who dialed is proven first, and
// told of success last. It returns who b is.
func relay(from *wire.Acceptor, id wire.Identity, a side, to *wire.Dialer, b side) (wire.Identity, error) {
	blame := func(s side, err error) (wire.Identity, error) {
		err = fmt.Errorf("%s %s: %w", s.what, s.node, err)
		if s.node == b.node {
			err = dialedError{err}
		}
		return wire.Identity{}, err
	}
	id.Flags = a.shown(id.Flags)
	if err := present(to, id, from); err != nil {
		return blame(b, err)
	}
	c, err := to.ReadChallenge()
	if err == nil {
		err = admit(c.Identity, b.node)
	}
	if err != nil {
		return blame(b, err)
	}
	shown := c.Identity
	shown.Flags = b.shown(shown.Flags)
	if err := from.SendChallenge(shown, number()); err != nil {
		return blame(a, err)
	}
	known, err := from.ReadReplyAny(a.cookies...)
	if err != nil {
		return blame(a, err)
	}
	if err := to.SendReply(b.cookies[0], number()); err != nil {
		return blame(b, err)
	}
	if err := to.ReadAck(b.cookies[0]); err != nil {
		return blame(b, err)
	}
	if err := from.SendAck(known); err != nil {
		return blame(a, err)
	}
	return c.Identity, nil
}

// dialedError is a handshake that ended at the node that we dialed.
type dialedError struct{ err error }

func (e dialedError) Error() string { return e.err.Error() }
func (e dialedError) Unwrap() error { return e.err }

// present names the dialing node to the dialed one and passes the status on.
// A dialed node that still holds an older link is told to replace it: the one
// who dials would not, if it had that link too.
func present(to *wire.Dialer, id wire.Identity, from *wire.Acceptor) error {
	if err := to.SendName(id); err != nil {
		return err
	}
	status, err := to.ReadStatus()
	if err != nil {
		return err
	}
	switch status.Code {
	case wire.StatusAlive:
		if err := to.SendStatus(true); err != nil {
			return err
		}
		return from.SendStatus(wire.StatusOK)
	case wire.StatusOK, wire.StatusSimultaneous:
		return from.SendStatus(status.Code)
	case wire.StatusNOK:
		_ = from.SendStatus(wire.StatusNOK)
		return errCrossed
	}
	_ = from.SendStatus(wire.StatusNotAllowed)
	return status.Code
}

// dialHost finds the host VM at the machine's port mapper and dials it.
func (m *member) dialHost(ctx context.Context, node string) (net.Conn, error) {
	info, err := epmd.Lookup(ctx, m.s.cfg.EPMD, aliveOf(node))
	if err != nil {
		return nil, fmt.Errorf("find host VM %s: %w", node, err)
	}
	addrs := []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), info.Port)}
	for _, a := range m.s.cfg.Listen {
		if a != addrs[0].Addr() {
			addrs = append(addrs, netip.AddrPortFrom(a, info.Port))
		}
	}
	conn, err := dial(ctx, addrs...)
	if err != nil {
		return nil, fmt.Errorf("dial host VM %s: %w", node, err)
	}
	return conn, nil
}

// dial connects to the first address that answers.
func dial(ctx context.Context, addrs ...netip.AddrPort) (conn net.Conn, err error) {
	for _, a := range addrs {
		if conn, err = new(net.Dialer).DialContext(ctx, "tcp", a.String()); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// pending holds the connections of a handshake under way: they close together
// when it fails or takes too long.
type pending struct {
	mu    sync.Mutex
	conns []net.Conn
	over  bool
}

// add takes in a connection; one that comes too late is closed.
func (p *pending) add(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		c.Close()
	}
	p.conns = append(p.conns, c)
}

// abort closes every connection, unless they are kept.
func (p *pending) abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.over = true
		for _, c := range p.conns {
			c.Close()
		}
	}
}

// keep makes abort do nothing; it is false when abort was first.
func (p *pending) keep() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := !p.over
	p.over = true
	return kept
}

// number is an unpredictable challenge.
func number() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	return binary.BigEndian.Uint32(b[:])
}
