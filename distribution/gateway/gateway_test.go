package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/protocol"
)

// served runs s behind a control socket and returns its path; the channel
// tells when Serve returned.
func served(t *testing.T, s *Server) (socket string, done <-chan error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(t.Context(), ln) }()
	return socket, ended
}

func TestControlSocket(t *testing.T) {
	s := newScene(t)
	socket, _ := served(t, s.server)
	ask := func(req protocol.Request, files ...*os.File) (protocol.Response, error) {
		t.Helper()
		return protocol.Ask(t.Context(), socket, req, files...)
	}
	if resp, err := ask(protocol.Request{Op: protocol.OpHello}); err != nil || resp.Hello.Version != protocol.Version || resp.Hello.Members != 1 {
		t.Errorf("hello: %+v, %v", resp, err)
	}
	if resp, err := ask(protocol.Request{Op: protocol.OpSet, Member: &s.spec}); err != nil || len(resp.Need) > 0 || resp.Node.Port != s.node().Port {
		t.Errorf("set of the same: %+v, %v", resp, err)
	}
	other := s.spec
	other.Name, other.Node = "other", "other@vm"
	view, stand := listen(t), listen(t)
	other.EPMD, other.Host = addrOf(view), addrOf(stand)
	need := []netip.AddrPort{other.EPMD, other.Host}
	resp, err := ask(protocol.Request{Op: protocol.OpSet, Member: &other})
	if err != nil || fmt.Sprint(resp.Need) != fmt.Sprint(need) {
		t.Errorf("set of another: %+v, %v", resp, err)
	}
	files := []*os.File{file(t, view), file(t, stand)}
	if resp, err := ask(protocol.Request{Op: protocol.OpSet, Member: &other, Sockets: need}, files...); err != nil || resp.Node == nil {
		t.Errorf("set with sockets: %+v, %v", resp, err)
	}
	if resp, err := ask(protocol.Request{Op: protocol.OpList}); err != nil || len(resp.Nodes) != 2 {
		t.Errorf("list: %+v, %v", resp, err)
	}
	for range 2 {
		if _, err := ask(protocol.Request{Op: protocol.OpRemove, Name: "other"}); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	same := other
	same.Node = s.spec.Node
	for want, req := range map[string]protocol.Request{
		"members are served":     {Op: protocol.OpQuit},
		"unknown request":        {Op: "dance"},
		"no member nobody":       {Op: protocol.OpProbeTCP, Name: "nobody", Probe: &protocol.Probe{Port: 1}},
		"says not what to do":    {Op: protocol.OpCall, Name: "pulse"},
		"names no member":        {Op: protocol.OpSet},
		"brings 0":               {Op: protocol.OpSet, Member: &other, Sockets: need},
		"it has no name":         {Op: protocol.OpSet, Member: &protocol.Member{}},
		"the guest's BEAM does":  {Op: protocol.OpCall, Name: "pulse", Call: &protocol.Call{Module: "m", Function: "f", Args: []byte{131, 106}}},
		"they are not one list":  {Op: protocol.OpCall, Name: "pulse", Call: &protocol.Call{Args: []byte{131, 97, 1}}},
		"does not begin with /":  {Op: protocol.OpProbeHTTP, Name: "pulse", Probe: &protocol.Probe{Port: 1, Path: "x"}},
		"probe tcp port 1: dial": {Op: protocol.OpProbeTCP, Name: "pulse", Probe: &protocol.Probe{Port: 1}},
	} {
		if _, err := ask(req); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", req.Op, err, want)
		}
	}
}

func file(t *testing.T, ln net.Listener) *os.File {
	t.Helper()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSetRefuses(t *testing.T) {
	for want, change := range map[string]func(*protocol.Member){
		"is not of the form name@host": func(m *protocol.Member) { m.Node = "pulse" },
		"has the host node's name":     func(m *protocol.Member) { m.Node = "web@elsewhere" },
		"a cookie is empty":            func(m *protocol.Member) { m.Cookie = "" },
		"is not complete":              func(m *protocol.Member) { m.Guest = netip.AddrPort{} },
		"belongs to member pulse":      func(m *protocol.Member) { m.Name = "twin" },
	} {
		s := newScene(t)
		m, view, stand := s.spec, listen(t), listen(t)
		change(&m)
		m.EPMD, m.Host = addrOf(view), addrOf(stand)
		_, _, err := s.server.Set(m, map[netip.AddrPort]net.Listener{m.EPMD: view, m.Host: stand})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "cluster's") {
			t.Errorf("error %v, want one with %q", err, want)
		}
		if s.dialed(s.spec.Host.Port()); len(s.server.Nodes()) != 1 {
			t.Errorf("%s: members are %+v", want, s.server.Nodes())
		}
	}
}

func TestNewCookieLeavesTheLink(t *testing.T) {
	s := newScene(t)
	s.linked()
	since := s.node().Since
	s.spec.HostCookie = "rotated"
	if n, need, err := s.server.Set(s.spec, nil); err != nil || len(need) > 0 || !n.Up || !n.Since.Equal(since) {
		t.Errorf("set: %+v, %v, %v", n, need, err)
	}
	s.spec.Node = "renamed@vm"
	if _, need, err := s.server.Set(s.spec, nil); err != nil || len(need) != 2 {
		t.Errorf("set of another name: need %v, %v", need, err)
	}
	s.expect("down")
}

func TestRemovedMemberLeavesNothing(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	port := s.node().Port
	s.server.Remove("pulse")
	for who, p := range map[string]peer{"host": host, "guest": guest} {
		if _, err := io.Copy(io.Discard, p.conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s's connection: %v", who, err)
		}
	}
	for _, at := range []netip.AddrPort{s.spec.EPMD, s.spec.Host, netip.AddrPortFrom(s.spec.Host.Addr(), port)} {
		if c, err := net.Dial("tcp", at.String()); err == nil {
			c.Close()
			t.Errorf("%s still answers", at)
		}
	}
}

func TestUnusedGatewayEnds(t *testing.T) {
	s := New(Config{Idle: time.Hour})
	socket, done := served(t, s)
	c, err := protocol.Open(t.Context(), socket, protocol.Request{Op: protocol.OpEvents})
	if err != nil {
		t.Fatal(err)
	}
	follower := func() bool { return s.asking == 1 && s.idle == nil }
	s.awaits(t, "a follower stops the clock", follower)
	s.mu.Lock()
	s.cfg.Idle = 30 * time.Millisecond
	s.mu.Unlock()
	if _, err := protocol.Ask(t.Context(), socket, protocol.Request{Op: protocol.OpHello}); err != nil {
		t.Fatal(err)
	}
	s.awaits(t, "the follower alone is left, and no clock runs", follower)
	select { // as long as somebody follows, it stays
	case err := <-done:
		t.Fatalf("ended while followed: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	c.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// awaits polls a condition that the server's lock guards.
func (s *Server) awaits(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patienceOfTests)
	for there := false; !there; runtime.Gosched() {
		s.mu.Lock()
		there = ok()
		s.mu.Unlock()
		if !there && time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

func TestSlowFollowerIsCutOff(t *testing.T) {
	var f feed
	slow, stop := f.follow()
	defer stop()
	quick, stop2 := f.follow()
	defer stop2()
	for range feedLength + 1 {
		f.send(protocol.Event{Kind: "up"})
		<-quick
	}
	n := 0
	for range slow {
		n++
	}
	if n != feedLength {
		t.Errorf("slow follower got %d events before it was cut off, want %d", n, feedLength)
	}
}

func TestDefectEndsOneSessionOnly(t *testing.T) {
	s := newScene(t)
	s.boot()
	m, err := s.server.member("pulse")
	if err != nil {
		t.Fatal(err)
	}
	broken := listen(t)
	m.acceptAll(guestLeg, broken, func(context.Context, net.Conn, *pending) (*link, error) { panic("defect") })
	for range maxHandshakes + 1 { // tokens come back, too
		c := s.dialed(addrOf(broken).Port())
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("broken session answers")
		}
	}
	host, guest := s.joined()
	small(t, guest, host, "pulse@vm", 42)
	if n := s.node(); !n.Up || len(n.Refused) > 0 || n.Closed > 0 {
		t.Errorf("after the defects the member is %+v", n)
	}
}

func TestForwardedPort(t *testing.T) {
	s := newScene(t)
	// The guest lives at another loopback address, so that one port is free
	// on the host and taken there.
	ln, err := net.Listen("tcp", "127.0.0.88:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "from the guest") })}
	go func() { _ = web.Serve(ln) }()
	defer web.Close()
	port := addrOf(ln).Port()
	taken := listen(t)
	m, err := s.server.member("pulse")
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.wanted.Guest = netip.AddrPortFrom(addrOf(ln).Addr(), m.wanted.Guest.Port())
	m.mu.Unlock()
	spec := m.spec()
	spec.Forward = []uint16{port, addrOf(taken).Port()}
	n, _, err := s.server.Set(spec, nil)
	if err != nil || !strings.Contains(n.Error, "is taken by another process") {
		t.Fatalf("set: %+v, %v", n, err)
	}
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "from the guest" {
		t.Errorf("body %q, %v", body, err)
	}
	http.DefaultClient.CloseIdleConnections()
	spec.Forward = nil
	if n, _, err := s.server.Set(spec, nil); err != nil || n.Error != "" {
		t.Errorf("set without ports: %+v, %v", n, err)
	}
	if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		c.Close()
		t.Error("port still answers")
	}
}
