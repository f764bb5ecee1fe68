package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/wire"
)

const (
	// maxHandshakes bounds the handshakes of one member that are under way, for
	// each side that may dial.
	maxHandshakes = 8
	// So many connections are accepted at once on each side, then one each
	// acceptEvery: what is cheap for who dials must not be work for us.
	acceptBurst = 50
	acceptEvery = 20 * time.Millisecond
	// So many failures of links are told at once, then one each failEvery.
	failBurst = 10
	failEvery = 5 * time.Second
	// A repeated link error becomes an event again after quietFor, another one
	// after calmFor.
	quietFor = 5 * time.Second
	calmFor  = 100 * time.Millisecond
	// A guest may register so often at once, then once in paceEvery; a
	// registration beyond that waits, at most paceLimit.
	startBurst = 5
	paceEvery  = 2 * time.Second
	paceLimit  = time.Minute
)

// member is one guest: its sockets, its name and at most one link.
type member struct {
	s      *Server
	name   string
	alive  string // the node's name without host, as port mappers know it
	port   uint16 // G: where the host VM finds the guest
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	shakes [legs]chan struct{} // hold one token for each handshake under way
	record *record
	view   *epmd.View
	stands stands

	mu       sync.Mutex
	wanted   protocol.Member
	starts   pace // of the guest's registrations
	dials    pace // of its connections to the host
	fails    pace // of what is told about links that are not made
	held     bool // the guest's BEAM holds its name at the view
	leased   bool // and so do we at the machine's port mapper
	told     bool // followers heard of it
	release  context.CancelFunc
	lease    *epmd.Lease
	link     *link
	since    time.Time // of the last change of link
	linkErr  string    // why the last link could not be made
	nameErr  string    // why the name cannot be held
	erred    time.Time // when linkErr was last an event
	forwards map[uint16]*forward
	caller   *caller
	doubted  [legs]bool // the cookie of this leg was refused: try the next one first
}

// checkMember says what is wrong with a member before anything is touched.
func checkMember(spec protocol.Member) error {
	if spec.Name == "" {
		return errors.New("set member: it has no name")
	}
	for _, node := range []string{spec.Node, spec.HostNode} {
		if err := wire.CheckNodeName(node); err != nil {
			return fmt.Errorf("set member %s: %w", spec.Name, err)
		}
	}
	if aliveOf(spec.Node) == aliveOf(spec.HostNode) {
		return fmt.Errorf("set member %s: node %s has the host node's name; give the app a node_prefix", spec.Name, spec.Node)
	}
	if spec.Cookie == "" || spec.HostCookie == "" {
		return fmt.Errorf("set member %s: a cookie is empty", spec.Name)
	}
	if err := checkTLS(spec.Name, spec.GuestTLS, spec.HostTLS); err != nil {
		return err
	}
	for _, addr := range []netip.AddrPort{spec.Guest, spec.EPMD, spec.Host} {
		if !addr.IsValid() || addr.Port() == 0 {
			return fmt.Errorf("set member %s: address %s is not complete", spec.Name, addr)
		}
	}
	return nil
}

// stands are the sockets that stand in for a guest and its host node.
type stands struct {
	epmd, host net.Listener   // inside the guest's namespace
	outer      []net.Listener // where the host VM finds the guest, all with one port
}

// newMember starts serving one guest. It owns sockets unless it fails.
func newMember(s *Server, spec protocol.Member, kept *record, sockets map[netip.AddrPort]net.Listener) (*member, error) {
	outer, err := listenAll(s.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("set member %s: %w", spec.Name, err)
	}
	m := makeMember(s, spec, kept)
	m.serve(m.newView(), stands{sockets[spec.EPMD], sockets[spec.Host], outer})
	m.setForwards(spec.Forward)
	return m, nil
}

// makeMember is a member that does nothing yet.
func makeMember(s *Server, spec protocol.Member, kept *record) *member {
	m := &member{
		s: s, name: spec.Name, alive: aliveOf(spec.Node), wanted: spec, since: time.Now(),
		record: kept, forwards: make(map[uint16]*forward), fails: pace{every: failEvery, burst: failBurst},
		starts: pace{every: paceEvery, burst: startBurst}, dials: dialing(spec.Messages),
	}
	for leg := range m.shakes {
		m.shakes[leg] = make(chan struct{}, maxHandshakes)
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.caller = newCaller(m)
	return m
}

func (m *member) newView() *epmd.View {
	return &epmd.View{
		Pinned: m.alive, Peers: map[string]uint16{aliveOf(m.wanted.HostNode): m.wanted.Host.Port()},
		OnRegister: m.registered, OnUnregister: m.unregistered,
	}
}

// serve answers at the member's sockets until it is closed.
func (m *member) serve(view *epmd.View, at stands) {
	gate := m.s.ice.gate
	m.view, m.stands = view, stands{gate(at.epmd), gate(at.host), nil}
	m.run("port mapper view", func() { m.report(view.Serve(m.ctx, m.stands.epmd)) })
	m.acceptAll(guestLeg, m.stands.host, m.guestDials)
	for _, ln := range at.outer {
		m.stands.outer = append(m.stands.outer, gate(ln))
	}
	m.port = at.outer[0].Addr().(*net.TCPAddr).AddrPort().Port()
	for _, ln := range m.stands.outer {
		m.acceptAll(hostLeg, ln, m.hostDials)
	}
}

// listenAll listens at every address with one port, chosen by the kernel.
func listenAll(addrs []netip.Addr) ([]net.Listener, error) {
	if len(addrs) == 0 {
		addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	var err error
	for range 8 { // a port that is free at one address may be taken at another
		var all []net.Listener
		if all, err = listenSame(addrs); err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("listen for the host VM: %w", err)
}

func listenSame(addrs []netip.Addr) ([]net.Listener, error) {
	var all []net.Listener
	var port uint16
	for _, addr := range addrs {
		ln, err := net.Listen("tcp", netip.AddrPortFrom(addr, port).String())
		if err != nil {
			for _, open := range all {
				open.Close()
			}
			return nil, err
		}
		port = ln.Addr().(*net.TCPAddr).AddrPort().Port()
		all = append(all, ln)
	}
	return all, nil
}

// run starts a goroutine that close waits for; a panic in it ends it alone.
func (m *member) run(what string, f func()) {
	m.wg.Go(func() {
		defer m.s.survive(m.name + " " + what)
		f()
	})
}

// report notes the failure of one of the member's own sockets.
func (m *member) report(err error) {
	if err != nil && m.ctx.Err() == nil {
		m.fail(err)
	}
}

// dialed makes a link out of an accepted connection.
type dialed func(ctx context.Context, conn net.Conn, p *pending) (*link, error)

// acceptAll serves each connection of the node of a leg, which comes to ln, in a
// goroutine of its own.
func (m *member) acceptAll(leg int, ln net.Listener, serve dialed) {
	who := [legs]string{guestLeg: "guest", hostLeg: "host"}[leg]
	context.AfterFunc(m.ctx, func() { ln.Close() })
	m.run("accept from "+who, func() {
		for p := (pace{every: acceptEvery, burst: acceptBurst}); ; rest(m.ctx, p.next(time.Now(), time.Minute)) {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				m.report(fmt.Errorf("accept from %s: %w", who, err))
				rest(m.ctx, firstRetry)
				continue
			}
			m.shake(who, m.shakes[leg], conn, serve)
		}
	})
}

// shake runs one handshake, unless too many are under way already, and then
// the link that it makes.
func (m *member) shake(who string, shakes chan struct{}, conn net.Conn, serve dialed) {
	select {
	case shakes <- struct{}{}:
	default:
		conn.Close()
		return
	}
	m.run("link by "+who, func() {
		l, err := m.linked(shakes, conn, serve)
		switch {
		case errors.Is(err, errNobody), errors.Is(err, errCrossed), errors.Is(err, errLinked), m.ctx.Err() != nil:
		case err != nil:
			m.fail(err)
		}
		if err == nil {
			m.carry(l)
		}
	})
}

// linked makes the member's link out of a connection.
func (m *member) linked(shakes chan struct{}, conn net.Conn, serve dialed) (*link, error) {
	defer func() { <-shakes }()
	l, err := m.join(conn, serve)
	if err == nil {
		err = m.begin(l)
	}
	return l, err
}

// join runs one handshake within handshakeTimeout; its connections are closed
// when it fails.
func (m *member) join(conn net.Conn, serve dialed) (*link, error) {
	ctx, cancel := context.WithTimeout(m.ctx, handshakeTimeout)
	defer cancel()
	var p pending
	defer p.abort()
	p.add(conn)
	defer context.AfterFunc(ctx, p.abort)()
	l, err := serve(ctx, conn, &p)
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("handshake took longer than %v: %w", handshakeTimeout, err)
	}
	if err == nil && !p.keep() {
		err = fmt.Errorf("handshake took longer than %v", handshakeTimeout)
	}
	return l, err
}

// spec is the member as it is wanted now.
func (m *member) spec() protocol.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wanted
}

// same reports whether spec can be reached by adjust alone.
func (m *member) same(spec protocol.Member) bool {
	w := m.spec()
	return w.Node == spec.Node && w.HostNode == spec.HostNode &&
		w.Guest == spec.Guest && w.EPMD == spec.EPMD && w.Host == spec.Host
}

// adjust takes over what may change while links stay: cookies (for the next
// handshake), rules and forwarded ports.
func (m *member) adjust(spec protocol.Member) {
	m.mu.Lock()
	changed := !slices.Equal(m.wanted.Forward, spec.Forward)
	if d := dialing(spec.Messages); d.every != m.dials.every {
		m.dials = d
	}
	m.wanted = spec
	l := m.link
	m.mu.Unlock()
	if changed {
		m.setForwards(spec.Forward)
	}
	if l == nil {
		return
	}
	if err := l.set(spec.Messages); err != nil {
		// Whoever asked must not be told of a link that is going: the news of
		// its end may reach him first.
		l.end(err.Error())
		<-l.done
	}
}

// close ends everything of the member and waits for it.
func (m *member) close() {
	m.cancel()
	m.closeLink("member removed")
	m.caller.close()
	m.setForwards(nil)
	m.wg.Wait()
}

// fail notes why a link could not be made and tells followers, not too often.
func (m *member) fail(err error) {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	m.mu.Lock()
	ago := time.Since(m.erred)
	quiet := ago < calmFor || text == m.linkErr && ago < quietFor || m.fails.next(time.Now(), 0) != 0
	m.linkErr = text
	if !quiet {
		m.erred = time.Now()
	}
	m.mu.Unlock()
	if !quiet {
		m.s.cfg.Log.Warn("link not made", "app", m.name, "err", text)
		m.tell("link_error", text)
	}
}

// tell sends an event to followers.
func (m *member) tell(kind, detail string) {
	m.s.feed.send(protocol.Event{Kind: kind, Name: m.name, Node: m.spec().Node, Detail: detail, At: time.Now()})
}

// node is the member as it is now.
func (m *member) node() protocol.Node {
	n := m.record.node(m.judging(), time.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	n.Name, n.Node, n.Port, n.Mode = m.name, m.wanted.Node, m.port, m.wanted.Messages.Mode
	n.Registered, n.Up, n.Since = m.held && m.leased, m.link != nil, m.since
	n.AtomBudget = m.wanted.Messages.Limits.WithDefaults().Atoms
	errs := []string{m.nameErr}
	if m.link == nil {
		errs = append(errs, m.linkErr)
	}
	for _, port := range slices.Sorted(maps.Keys(m.forwards)) {
		errs = append(errs, m.forwards[port].problem())
	}
	n.Error = strings.Join(slices.DeleteFunc(errs, func(e string) bool { return e == "" }), "; ")
	return n
}

// aliveOf is a node's name without its host, as port mappers know it.
func aliveOf(node string) string {
	alive, _, _ := strings.Cut(node, "@")
	return alive
}
