// Package gateway carries Erlang distribution between isolated guests and the
// host VM, and judges every frame on its way.
//
// Each guest is a member with sockets of its own: in its namespace a port
// mapper view and a stand-in for the host node, on the host a stand-in for
// the guest. A link is two connections whose handshakes both end here, each
// with its own cookie. A member's trouble never reaches another one.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"beamsandbox/distribution/gateway/protocol"
)

// Config is what a Server is told once.
type Config struct {
	// EPMD is the machine's own port mapper.
	EPMD netip.AddrPort
	// Listen is where the machine's short name resolves: there the host VM
	// looks for its guests, and listens itself.
	Listen []netip.Addr
	// Idle ends Serve when nobody is served and nobody is connected for so
	// long; 0 means never.
	Idle time.Duration
	// Tick is the net_ticktime of the nodes: a peer silent for so long is
	// gone; 0 means 60 s, OTP's default.
	Tick time.Duration
	// Controller is the user that may connect to the control socket, beside
	// the one that the gateway runs as.
	Controller uint32
	Log        *slog.Logger
}

const (
	defaultTick = 60 * time.Second
	// maxMembers bounds the guests of one gateway.
	maxMembers = 1024
)

// Server serves the members of one machine.
type Server struct {
	cfg    Config
	feed   feed
	larder larder
	ice    ice

	mu      sync.Mutex
	members map[string]*member
	records map[string]*record
	asking  int // open control connections
	idle    *time.Timer
	quit    func()     // ends Serve
	retired []*forward // of members that were handed over
	leaving sync.WaitGroup
}

// New makes a Server without members.
func New(cfg Config) *Server {
	if cfg.Tick == 0 {
		cfg.Tick = defaultTick
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, members: make(map[string]*member), records: make(map[string]*record), quit: func() {}}
	s.larder.init(largeBytes)
	return s
}

// Serve answers the control socket until ctx ends, the gateway is asked to
// quit or nobody has needed it for Config.Idle; then every member goes.
func (s *Server) Serve(ctx context.Context, ln *net.UnixListener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.quit = cancel
	s.mu.Unlock()
	s.rest()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	defer s.drain()
	defer s.clear()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := ln.AcceptUnix()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept on control socket: %w", err)
		}
		s.enter()
		wg.Go(func() {
			defer s.leave()
			s.serve(ctx, c)
		})
	}
}

// enter and leave count the control connections.
func (s *Server) enter() {
	s.mu.Lock()
	s.asking++
	s.mu.Unlock()
	s.rest()
}

func (s *Server) leave() {
	s.mu.Lock()
	s.asking--
	s.mu.Unlock()
	s.rest()
}

// rest winds up or stops the clock that ends an unused gateway.
func (s *Server) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	if s.cfg.Idle > 0 && s.asking == 0 && len(s.members) == 0 {
		s.idle = time.AfterFunc(s.cfg.Idle, s.quitIfIdle)
	}
}

func (s *Server) quitIfIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking == 0 && len(s.members) == 0 {
		s.quit()
	}
}

// Set makes a member as given and returns it. Sockets are listeners inside
// its namespace by their address; those not needed are closed. When one is
// lacking, need lists what to bring and the member is not made; an older one
// of other names or addresses is gone by then, so that its addresses are free.
func (s *Server) Set(spec protocol.Member, sockets map[netip.AddrPort]net.Listener) (node protocol.Node, need []netip.AddrPort, err error) {
	if err := checkMember(spec); err != nil {
		closeListeners(sockets)
		return protocol.Node{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.keep(spec)
	spec.Record = nil
	if m := s.members[spec.Name]; m != nil {
		if m.same(spec) {
			closeListeners(sockets)
			m.adjust(spec)
			return m.node(), nil, nil
		}
		delete(s.members, spec.Name)
		m.close()
	}
	for _, addr := range []netip.AddrPort{spec.EPMD, spec.Host} {
		if sockets[addr] == nil {
			need = append(need, addr)
		}
	}
	if len(need) > 0 {
		closeListeners(sockets)
		return protocol.Node{}, need, nil
	}
	if err := s.admit(spec); err != nil {
		closeListeners(sockets)
		return protocol.Node{}, nil, err
	}
	m, err := newMember(s, spec, kept, sockets)
	if err != nil {
		closeListeners(sockets)
		return protocol.Node{}, nil, err
	}
	s.members[spec.Name] = m
	return m.node(), nil, nil
}

// admit says why a member cannot be added; s.mu is held.
func (s *Server) admit(spec protocol.Member) error {
	if len(s.members) >= maxMembers {
		return fmt.Errorf("set member %s: the gateway serves %d members already", spec.Name, maxMembers)
	}
	for _, other := range s.members {
		if other.spec().Node == spec.Node {
			return fmt.Errorf("set member %s: node %s belongs to member %s", spec.Name, spec.Node, other.name)
		}
	}
	return nil
}

// Remove ends a member: its links, its name and its sockets. A member that is
// not there is no error.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	m := s.members[name]
	delete(s.members, name)
	s.mu.Unlock()
	if m != nil {
		m.close()
	}
	s.rest()
}

// Nodes lists the members, in no order.
func (s *Server) Nodes() []protocol.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	nodes := make([]protocol.Node, 0, len(s.members))
	for _, m := range s.members {
		nodes = append(nodes, m.node())
	}
	return nodes
}

// member finds a member by name.
func (s *Server) member(name string) (*member, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.members[name]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("gateway has no member %s", name)
}

// clear removes every member.
func (s *Server) clear() {
	s.mu.Lock()
	members := s.members
	s.members = make(map[string]*member)
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, m := range members {
		wg.Go(m.close)
	}
	wg.Wait()
}

func closeListeners(all map[netip.AddrPort]net.Listener) {
	for _, ln := range all {
		ln.Close()
	}
}
