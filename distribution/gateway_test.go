package distribution

import (
	"context"
	"errors"
	"iter"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/gateway"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/reconcile/app"
)

// folder is a run folder with a short path, as unix sockets need.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gwu")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// listenAt plays the end of a gateway that already runs in dir.
func listenAt(t *testing.T, dir string) *net.UnixListener {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func tcp(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func addr(ln net.Listener) netip.AddrPort { return ln.Addr().(*net.TCPAddr).AddrPort() }

// program is that of the gateways here, which live in this process: one of the
// same program is not replaced.
func program(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// notAProgram is a file that cannot be run: a gateway that is found is not
// started.
func notAProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(folder(t), "not-a-program")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRoomFindsARunningGateway(t *testing.T) {
	dir, mapper := folder(t), tcp(t)
	go func() { _ = new(epmd.View).Serve(t.Context(), mapper) }()
	server := gateway.New(gateway.Config{EPMD: addr(mapper), Controller: uint32(os.Geteuid())})
	ended := make(chan error, 1)
	serve, stop := context.WithCancel(t.Context())
	ln := listenAt(t, dir)
	go func() { ended <- server.Serve(serve, ln) }()
	defer func() { stop(); <-ended }()

	g, err := Start(t.Context(), Config{Binary: program(t), RunDir: dir, EPMD: addr(mapper)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if up, err := g.Up(); !up || err != nil {
		t.Errorf("up: %v, %v", up, err)
	}
	next, done := iter.Pull2(g.Watch(t.Context()))
	defer done()
	view, stand, opened := tcp(t), tcp(t), 0
	m := Member{
		Name: "pulse", Node: "pulse@vm", HostNode: "web@vm", Guest: netip.MustParseAddrPort("127.0.0.1:9100"),
		EPMD: addr(view), Host: addr(stand), Cookie: app.NewSecret("hush"), HostCookie: app.NewSecret("hush-hush"),
		Listen: func(_ context.Context, at netip.AddrPort) (*os.File, error) {
			opened++
			if at == addr(view) {
				return view.(*net.TCPListener).File()
			}
			return stand.(*net.TCPListener).File()
		},
	}
	for range 2 {
		n, err := g.Ensure(t.Context(), m)
		if err != nil || n.Name != "pulse" || n.Port == 0 || n.Registered || n.Up {
			t.Fatalf("ensure: %+v, %v", n, err)
		}
	}
	if opened != 2 {
		t.Errorf("%d sockets opened, want 2", opened)
	}
	if _, err := epmd.Register(t.Context(), m.EPMD, epmd.Registration{Name: "pulse", Port: 9100}); err != nil {
		t.Fatal(err)
	}
	if ev, err, _ := next(); err != nil || ev.Kind != Registered || ev.Name != "pulse" || ev.Node != "pulse@vm" || ev.At.IsZero() {
		t.Errorf("event %+v, %v", ev, err)
	}
	if nodes, err := g.List(t.Context()); err != nil || len(nodes) != 1 || !nodes[0].Registered {
		t.Errorf("list: %+v, %v", nodes, err)
	}
	if _, err := g.Call(t.Context(), "nobody", "erlang", "node"); err == nil || !strings.Contains(err.Error(), "no member nobody") {
		t.Errorf("call: %v", err)
	}
	for range 2 {
		if err := g.Remove(t.Context(), "pulse"); err != nil {
			t.Error(err)
		}
	}
}

func TestEnsureErrorsNameTheMember(t *testing.T) {
	dir := folder(t)
	server := gateway.New(gateway.Config{Controller: uint32(os.Geteuid())})
	ln := listenAt(t, dir)
	go func() { _ = server.Serve(t.Context(), ln) }()
	g, err := Start(t.Context(), Config{Binary: program(t), RunDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	m := Member{
		Name: "pulse", Node: "pulse@vm", HostNode: "web@vm", Guest: netip.MustParseAddrPort("127.0.0.1:1"),
		EPMD: netip.MustParseAddrPort("127.0.0.1:2"), Host: netip.MustParseAddrPort("127.0.0.1:3"),
		Cookie: app.NewSecret("hush"), HostCookie: app.NewSecret("hush"),
	}
	for want, listen := range map[string]func(context.Context, netip.AddrPort) (*os.File, error){
		"nobody opens them": nil,
		"no namespace of pulse": func(context.Context, netip.AddrPort) (*os.File, error) {
			return nil, errors.New("no namespace of pulse")
		},
	} {
		m.Listen = listen
		_, err := g.Ensure(t.Context(), m)
		if err == nil || !strings.Contains(err.Error(), "ensure gateway member pulse") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// oldGateway answers everything with a hello of another version.
func oldGateway(t *testing.T, dir string, members int) (asked <-chan protocol.Op) {
	t.Helper()
	ln, ops := listenAt(t, dir), make(chan protocol.Op, 8)
	go func() {
		for {
			c, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			var req protocol.Request
			_, _ = protocol.Read(c, &req)
			_ = protocol.Write(c, protocol.Response{Hello: &protocol.Hello{Version: protocol.Version + 1, Pid: 1, Members: members}})
			ops <- req.Op
			c.Close()
			if req.Op == protocol.OpQuit {
				ln.Close()
			}
		}
	}()
	return ops
}

func TestGatewayOfAnotherVersion(t *testing.T) {
	t.Run("with members it is left alone", func(t *testing.T) {
		dir := folder(t)
		asked := oldGateway(t, dir, 3)
		_, err := Start(t.Context(), Config{Binary: notAProgram(t), RunDir: dir})
		if !errors.Is(err, ErrVersion) {
			t.Errorf("start: %v", err)
		}
		if op := <-asked; op != protocol.OpEvents || len(asked) > 0 {
			t.Errorf("asked to %s and %d more", op, len(asked))
		}
	})
	t.Run("without members it is asked to quit", func(t *testing.T) {
		dir := folder(t)
		asked := oldGateway(t, dir, 0)
		// There is no program to start in its place here.
		_, err := Start(t.Context(), Config{Binary: notAProgram(t), RunDir: dir})
		if err == nil || !strings.Contains(err.Error(), "not-a-program") {
			t.Errorf("start: %v", err)
		}
		for _, want := range []protocol.Op{protocol.OpEvents, protocol.OpQuit} {
			select {
			case op := <-asked:
				if op != want {
					t.Errorf("asked to %s instead of %s", op, want)
				}
			case <-time.After(time.Minute):
				t.Fatalf("not asked to %s", want)
			}
		}
	})
}

func TestStartWithoutAProgram(t *testing.T) {
	_, err := Start(t.Context(), Config{Binary: "/nowhere/sandbox-gateway", RunDir: folder(t)})
	if err == nil || !strings.Contains(err.Error(), "find sandbox-gateway") {
		t.Errorf("start: %v", err)
	}
}
