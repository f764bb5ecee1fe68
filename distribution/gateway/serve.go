package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"beamsandbox/distribution/gateway/protocol"
)

const (
	// requestTimeout bounds the arrival of one request and of its answer.
	requestTimeout = 10 * time.Second
	// defaultTimeout and maxTimeout bound calls and probes.
	defaultTimeout = 5 * time.Second
	maxTimeout     = 10 * time.Minute
)

// serve answers the one request of a control connection.
func (s *Server) serve(ctx context.Context, c *net.UnixConn) {
	defer c.Close()
	defer s.survive("control connection")
	if err := s.allowed(c); err != nil {
		s.cfg.Log.Warn("control connection refused", "err", err)
		return
	}
	_ = c.SetDeadline(time.Now().Add(requestTimeout))
	var req protocol.Request
	files, err := protocol.Read(c, &req)
	if err != nil {
		_ = protocol.Write(c, protocol.Response{Error: "read request: " + err.Error()})
		return
	}
	_ = c.SetDeadline(time.Time{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The asker sends nothing more: an end means that it has given up.
	go func() {
		defer cancel()
		_, _ = c.Read(make([]byte, 1))
	}()
	if req.Op == protocol.OpEvents {
		s.serveEvents(ctx, c)
		return
	}
	resp := s.answer(ctx, req, files)
	_ = c.SetWriteDeadline(time.Now().Add(requestTimeout))
	_ = protocol.Write(c, resp)
}

// allowed checks who connected (unix(7), SO_PEERCRED): the socket's mode says
// the same, but the mode is not ours to keep.
func (s *Server) allowed(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if cred.Uid != s.cfg.Controller && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("user %d is not the controller", cred.Uid)
	}
	return nil
}

// answer does what one request asks for. It owns files.
func (s *Server) answer(ctx context.Context, req protocol.Request, files []*os.File) protocol.Response {
	if req.Op == protocol.OpHandOver {
		return s.answerHandOver(files)
	}
	sockets, err := listeners(req.Sockets, files)
	if err != nil {
		return failed(err)
	}
	if req.Op == protocol.OpSet {
		return s.answerSet(req, sockets)
	}
	closeListeners(sockets)
	switch req.Op {
	case protocol.OpHello:
		return protocol.Response{Hello: s.hello()}
	case protocol.OpRemove:
		s.Remove(req.Name)
		return protocol.Response{}
	case protocol.OpKeys:
		return s.answerKeys(req)
	case protocol.OpList:
		return protocol.Response{Nodes: s.Nodes()}
	case protocol.OpRecord:
		return s.answerRecord(req.Name)
	case protocol.OpLift:
		return s.answerLift(req)
	case protocol.OpQuit:
		return s.answerQuit()
	case protocol.OpCall, protocol.OpProbeHTTP, protocol.OpProbeTCP:
		return s.answerGuest(ctx, req)
	}
	return failed(fmt.Errorf("unknown request %q: sandboxd and sandbox-gateway are of different versions", req.Op))
}

func (s *Server) hello() *protocol.Hello {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &protocol.Hello{Version: protocol.Version, Pid: os.Getpid(), Members: len(s.members), HandOver: protocol.HandOver}
}

func (s *Server) answerSet(req protocol.Request, sockets map[netip.AddrPort]net.Listener) protocol.Response {
	if req.Member == nil {
		closeListeners(sockets)
		return failed(fmt.Errorf("set member: request names no member"))
	}
	node, need, err := s.Set(*req.Member, sockets)
	s.rest()
	if err != nil {
		return failed(err)
	}
	return protocol.Response{Node: &node, Need: need}
}

func (s *Server) answerQuit() protocol.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.members); n > 0 {
		return failed(fmt.Errorf("quit: %d members are served", n))
	}
	s.quit()
	return protocol.Response{}
}

// answerGuest does what reaches into one guest, within the asked time.
func (s *Server) answerGuest(ctx context.Context, req protocol.Request) protocol.Response {
	m, err := s.member(req.Name)
	if err != nil {
		return failed(err)
	}
	timeout := req.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, min(timeout, maxTimeout))
	defer cancel()
	switch {
	case req.Op == protocol.OpCall && req.Call != nil:
		return m.call(ctx, *req.Call)
	case req.Op == protocol.OpProbeHTTP && req.Probe != nil:
		status, err := m.probeHTTP(ctx, *req.Probe)
		if err != nil {
			return failed(err)
		}
		return protocol.Response{Status: status}
	case req.Op == protocol.OpProbeTCP && req.Probe != nil:
		if err := m.probeTCP(ctx, req.Probe.Port); err != nil {
			return failed(err)
		}
		return protocol.Response{}
	}
	return failed(fmt.Errorf("%s: request says not what to do", req.Op))
}

// serveEvents streams events until the follower is gone or too slow.
func (s *Server) serveEvents(ctx context.Context, c *net.UnixConn) {
	events, stop := s.feed.follow()
	defer stop()
	if protocol.Write(c, protocol.Response{Hello: s.hello()}) != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case ev, ok := <-events:
			if !ok {
				return
			}
			_ = c.SetWriteDeadline(time.Now().Add(requestTimeout))
			if protocol.Write(c, ev) != nil {
				return
			}
		}
	}
}

// survive keeps a panic in one session from ending the others.
func (s *Server) survive(what string) {
	if r := recover(); r != nil {
		s.cfg.Log.Error("session ended by a defect", "session", what, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
	}
}

// listeners takes over the passed sockets, by the addresses they were sent
// with.
func listeners(addrs []netip.AddrPort, files []*os.File) (map[netip.AddrPort]net.Listener, error) {
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if len(addrs) != len(files) {
		return nil, fmt.Errorf("request names %d sockets and brings %d", len(addrs), len(files))
	}
	all := make(map[netip.AddrPort]net.Listener, len(files))
	for i, f := range files {
		ln, err := net.FileListener(f)
		if err != nil {
			closeListeners(all)
			return nil, fmt.Errorf("take over socket %s: %w", addrs[i], err)
		}
		if all[addrs[i]] != nil {
			all[addrs[i]].Close()
		}
		all[addrs[i]] = ln
	}
	return all, nil
}

func failed(err error) protocol.Response { return protocol.Response{Error: err.Error()} }
