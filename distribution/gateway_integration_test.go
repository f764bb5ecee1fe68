//go:build integration

package distribution

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// room is a Gateway with a real process, and what a test needs around it.
type room struct {
	t      *testing.T
	cfg    Config
	dir    string
	short  string
	opened atomic.Int32 // sockets asked for
}

func newRoom(t *testing.T) *room {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the room starts its gateway as another user: run this test as root")
	}
	dir, err := os.MkdirTemp("", "gwr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary := filepath.Join(dir, "sandbox-gateway")
	if out, err := exec.Command("go", "build", "-o", binary, "beamsandbox/cmd/sandbox-gateway").CombinedOutput(); err != nil {
		t.Fatalf("build gateway: %v\n%s", err, out)
	}
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	short, _, _ := strings.Cut(name, ".")
	r := &room{t: t, dir: dir, short: short}
	r.cfg = Config{
		Binary: binary, RunDir: filepath.Join(dir, "run"), Hostname: short, EPMD: r.free(),
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	t.Cleanup(func() {
		if log, _ := os.ReadFile(filepath.Join(r.cfg.RunDir, logName)); t.Failed() {
			t.Logf("gateway's log:\n%s", log)
		}
	})
	return r
}

func (r *room) free() netip.AddrPort {
	r.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// start starts the room; its gateway is killed after the test.
func (r *room) start() *Gateway {
	r.t.Helper()
	g, err := Start(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		pid := 0
		if resp, err := protocol.Ask(context.Background(), g.socket, protocol.Request{Op: protocol.OpHello}); err == nil {
			pid = resp.Hello.Pid
		}
		g.Close()
		if pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return g
}

func (r *room) pid(g *Gateway) int {
	r.t.Helper()
	resp, err := protocol.Ask(r.t.Context(), g.socket, protocol.Request{Op: protocol.OpHello})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.Hello.Pid
}

func (r *room) member(name string) Member {
	return Member{
		Name: app.Name(name), Node: name + "@" + r.short, HostNode: "gwroomhost@" + r.short,
		Guest: r.free(), EPMD: r.free(), Host: r.free(),
		Cookie: app.NewSecret("cookie-" + name), HostCookie: app.NewSecret("cluster-cookie"),
		Listen: func(_ context.Context, addr netip.AddrPort) (*os.File, error) {
			r.opened.Add(1)
			ln, err := net.Listen("tcp", addr.String())
			if err != nil {
				return nil, err
			}
			defer ln.Close()
			return ln.(*net.TCPListener).File()
		},
	}
}

func (r *room) run(name string, env []string, args ...string) *exec.Cmd {
	r.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// beam starts a node whose cookie is a file.
func (r *room) beam(name, cookie string, mapper netip.AddrPort, args ...string) *exec.Cmd {
	home := r.t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte(cookie), 0o400); err != nil {
		r.t.Fatal(err)
	}
	return r.run("erl", []string{"HOME=" + home, fmt.Sprintf("ERL_EPMD_PORT=%d", mapper.Port())},
		append([]string{"-noinput", "-sname", name + "@" + r.short, "-start_epmd", "false"}, args...)...)
}

func (r *room) guest(m Member) *exec.Cmd {
	port := strconv.Itoa(int(m.Guest.Port()))
	return r.beam(string(m.Name), m.Cookie.Reveal(), m.EPMD, "-kernel", "inet_dist_listen_min", port, "inet_dist_listen_max", port)
}

func (r *room) wait(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not within 20 s", what)
		}
		pause(r.t.Context(), 10*time.Millisecond)
	}
}

// mapper starts a private port mapper.
func (r *room) mapper() {
	r.t.Helper()
	r.run("epmd", nil, "-port", fmt.Sprint(r.cfg.EPMD.Port()), "-address", "127.0.0.1")
	r.wait("port mapper", func() bool { _, err := epmd.Names(r.t.Context(), r.cfg.EPMD); return err == nil })
}

// expect reads events until one of the kind comes.
func expect(t *testing.T, next func() (Event, error, bool), kind EventKind) Event {
	t.Helper()
	for {
		ev, err, ok := next()
		if err != nil || !ok {
			t.Fatalf("no event %s: %v", kind, err)
		}
		if ev.Kind == kind {
			return ev
		}
	}
}

func TestGatewayOutlivesItsRoom(t *testing.T) {
	r := newRoom(t)
	r.mapper()
	g := r.start()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	next, stop := iter.Pull2(g.Watch(ctx))
	defer stop()
	host := r.beam("gwroomhost", "cluster-cookie", r.cfg.EPMD)
	r.wait("the host VM is registered", func() bool {
		_, err := epmd.Lookup(ctx, r.cfg.EPMD, "gwroomhost")
		return err == nil
	})
	m := r.member("gwroom")
	for range 2 {
		if n, err := g.Ensure(ctx, m); err != nil || n.Node != m.Node {
			t.Fatalf("ensure: %+v, %v", n, err)
		}
	}
	if n := r.opened.Load(); n != 2 {
		t.Errorf("%d sockets were opened for two ensures, want 2", n)
	}
	r.guest(m)
	expect(t, next, Registered)
	if v, err := g.Call(ctx, m.Name, "erlang", "node"); err != nil || v != term.Atom(m.Node) {
		t.Fatalf("call in guest: %v, %v", v, err)
	}
	var bad *BadRPC
	if _, err := g.Call(ctx, m.Name, "nowhere", "nothing"); !errors.As(err, &bad) {
		t.Errorf("call of an unknown function: %v", err)
	}
	// The guest dials: net_adm:ping makes the link.
	if v, err := g.Call(ctx, m.Name, "net_adm", "ping", term.Atom(m.HostNode)); err != nil || v != term.Atom("pong") {
		t.Fatalf("guest pings host: %v, %v", v, err)
	}
	expect(t, next, Up)
	pid := r.pid(g)
	r.confined(pid)
	before, err := g.List(ctx)
	if err != nil || len(before) != 1 || !before[0].Up || !before[0].Registered {
		t.Fatalf("list: %+v, %v", before, err)
	}

	// The room goes and another one comes: same process, same link.
	stop()
	g.Close()
	g = r.start()
	after, err := g.List(ctx)
	if err != nil || len(after) != 1 || !after[0].Up || !after[0].Since.Equal(before[0].Since) || r.pid(g) != pid {
		t.Fatalf("after the room's restart: %+v, %v, pid %d was %d", after, err, r.pid(g), pid)
	}
	if _, err := g.Ensure(ctx, m); err != nil || r.opened.Load() != 2 {
		t.Errorf("ensure after the room's restart: %v, %d sockets", err, r.opened.Load())
	}

	// The gateway dies: the room starts another, says so, and links come back.
	next2, stop2 := iter.Pull2(g.Watch(ctx))
	defer stop2()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	expect(t, next2, Restarted)
	if _, err := g.Ensure(ctx, m); err != nil {
		t.Fatal(err)
	}
	expect(t, next2, Registered) // BEAM comes back to its port mapper by itself
	r.wait("host is reached again", func() bool {
		v, err := g.Call(ctx, m.Name, "net_adm", "ping", term.Atom(m.HostNode))
		return err == nil && v == term.Atom("pong")
	})

	// Removed, nothing is left.
	if err := errors.Join(g.Remove(ctx, m.Name), g.Remove(ctx, m.Name)); err != nil {
		t.Fatal(err)
	}
	r.wait("name is free", func() bool { _, err := epmd.Lookup(ctx, r.cfg.EPMD, "gwroom"); return errors.Is(err, epmd.ErrNotFound) })
	for _, addr := range []netip.AddrPort{m.EPMD, m.Host} {
		if c, err := net.Dial("tcp", addr.String()); err == nil {
			c.Close()
			t.Errorf("%s still answers", addr)
		}
	}
	_ = host
}

// confined checks what the kernel says about the gateway.
func (r *room) confined(pid int) {
	r.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		r.t.Fatal(err)
	}
	_, gid := unprivileged()
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", fmt.Sprintf("Gid:\t%d\t", gid), "Groups:\t \n"} {
		if !bytes.Contains(status, []byte(want)) {
			r.t.Errorf("status of the gateway lacks %q", want)
		}
	}
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil || bytes.Contains(text, []byte("cookie")) {
			r.t.Errorf("%s is %q, %v", file, text, err)
		}
	}
}

func TestForwardsAndProbes(t *testing.T) {
	r := newRoom(t)
	r.mapper()
	g := r.start()
	ctx := t.Context()
	// The guest's address is another loopback address, its port the same.
	m := r.member("gwforward")
	m.Guest = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.77"), m.Guest.Port())
	port := r.free().Port()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().(*net.TCPAddr).AddrPort().Port()
	ln, err := net.Listen("tcp", netip.AddrPortFrom(m.Guest.Addr(), port).String())
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/away" {
			http.Redirect(w, req, "http://127.0.0.1:1/", http.StatusFound)
			return
		}
		fmt.Fprint(w, strings.Repeat("x", 1<<20))
	})}
	go func() { _ = web.Serve(ln) }()
	defer web.Close()

	m.Forward = []uint16{port, busy}
	n, err := g.Ensure(ctx, m)
	if err != nil || !strings.Contains(n.Error, fmt.Sprintf("port %d of 127.0.0.1 is taken", busy)) {
		t.Fatalf("ensure: %+v, %v", n, err)
	}
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.ContentLength > 1<<20 {
		t.Errorf("through the forwarded port: %s", resp.Status)
	}
	for path, want := range map[string]int{"/": 200, "/away": 302} {
		if status, err := g.ProbeHTTP(ctx, m.Name, port, path); err != nil || status != want {
			t.Errorf("probe %s: %d, %v", path, status, err)
		}
	}
	if err := g.ProbeTCP(ctx, m.Name, port); err != nil {
		t.Error(err)
	}
	if err := g.ProbeTCP(ctx, m.Name, 1); err == nil {
		t.Error("probe of a closed port succeeds")
	}
	taken.Close()
	r.wait("port comes free", func() bool { nodes, err := g.List(ctx); return err == nil && nodes[0].Error == "" })
	m.Forward = nil
	if _, err := g.Ensure(ctx, m); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		c.Close()
		t.Error("forwarded port still answers")
	}
}
