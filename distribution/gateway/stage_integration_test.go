//go:build integration

package gateway

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/control"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

const (
	clusterCookie = "cluster-cookie-of-the-test"
	loopback      = "127.0.0.1"
)

// helper is loaded by every node of the tests: eval/1 runs source text, seen/0
// tells which nodes came and went.
const helper = `
-module(gwt).
-export([eval/1, watch/0, seen/0]).
eval(S) ->
    {ok, Ts, _} = erl_scan:string(S),
    {ok, Es} = erl_parse:parse_exprs(Ts),
    {value, V, _} = erl_eval:exprs(Es, []),
    V.
watch() ->
    S = self(),
    register(gwt, spawn(fun() -> net_kernel:monitor_nodes(true), S ! watching, loop([]) end)),
    receive watching -> ok end.
loop(L) ->
    receive
        {tell, P} -> P ! {seen, lists:reverse(L)}, loop(L);
        {K, N} -> loop([{K, N} | L])
    end.
seen() -> gwt ! {tell, self()}, receive {seen, L} -> L after 5000 -> timeout end.
`

// stage is a host VM with a port mapper of its own, and a gateway in process.
type stage struct {
	t        testing.TB
	short    string
	code     string // folder with the helper's beam
	epmd     netip.AddrPort
	mapper   *process
	hostBeam *process
	server   *Server
	host     *control.Node
	secure   func(context.Context, net.Conn) (net.Conn, error) // the host VM speaks TLS
}

func newStage(t testing.TB) *stage {
	t.Helper()
	return newStageOver(t, nil)
}

// newStageOver starts the host VM with more arguments, and speaks TLS with it
// when secure is given.
func newStageOver(t testing.TB, secure func(context.Context, net.Conn) (net.Conn, error), hostArgs ...string) *stage {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	short, _, _ := strings.Cut(name, ".")
	s := &stage{t: t, secure: secure, short: short, code: t.TempDir(), epmd: freeAddr(t)}
	s.module("gwt", helper)
	s.startMapper()
	s.server = New(Config{
		EPMD: s.epmd, Listen: []netip.Addr{netip.MustParseAddr(loopback)},
		Log: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	})
	t.Cleanup(s.server.clear)
	s.hostBeam = s.beam("gwhost", clusterCookie, s.epmd.Port(), hostArgs...)
	s.host = s.connect("gwhost", clusterCookie, netip.AddrPort{})
	return s
}

func (s *stage) startMapper() {
	s.t.Helper()
	s.mapper = s.start("epmd", nil, "-port", fmt.Sprint(s.epmd.Port()), "-address", loopback)
	s.wait("port mapper", func() error { return dialOnce(s.epmd) })
}

// module compiles Erlang for every node of the stage.
func (s *stage) module(name, source string) {
	s.t.Helper()
	src := filepath.Join(s.code, name+".erl")
	if err := os.WriteFile(src, []byte(source), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command("erlc", "-o", s.code, src).CombinedOutput(); err != nil {
		s.t.Fatalf("compile helper (is Erlang installed?): %v\n%s", err, out)
	}
}

// process is one program that the test started.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	out  *bytes.Buffer
}

// kill ends the process at once and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (s *stage) start(name string, env []string, args ...string) *process {
	s.t.Helper()
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{}), out: new(bytes.Buffer)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		s.t.Fatalf("start %s: %v", name, err)
	}
	go func() { defer close(p.done); _ = p.cmd.Wait() }()
	s.t.Cleanup(func() {
		p.kill()
		if s.t.Failed() {
			s.t.Logf("%s %v said:\n%s", name, args, p.out)
		}
	})
	return p
}

// beam starts a node; its cookie is a file, as in a guest.
func (s *stage) beam(name, cookie string, epmdPort uint16, args ...string) *process {
	s.t.Helper()
	home := s.t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte(cookie), 0o400); err != nil {
		s.t.Fatal(err)
	}
	args = append([]string{"-noinput", "-sname", name + "@" + s.short, "-start_epmd", "false", "-pa", s.code}, args...)
	return s.start("erl", []string{"HOME=" + home, fmt.Sprintf("ERL_EPMD_PORT=%d", epmdPort)}, args...)
}

// connect makes our own hidden node talk to a node of the stage.
func (s *stage) connect(name, cookie string, addr netip.AddrPort) *control.Node {
	s.t.Helper()
	var node *control.Node
	s.wait("node "+name, func() (err error) {
		node, err = control.Dial(s.t.Context(), control.Config{
			Name: "gwtest@" + s.short, Cookie: app.NewSecret(cookie), Peer: name + "@" + s.short, Addr: addr, EPMD: s.epmd, Secure: s.secure,
		})
		return err
	})
	s.t.Cleanup(func() { node.Close() })
	return node
}

// guest is one member with its BEAM.
type guest struct {
	s      *stage
	name   string
	node   string
	member protocol.Member
	beam   *process
	args   []string
}

// member makes a member whose guest does not run yet.
func (s *stage) member(name string) *guest {
	s.t.Helper()
	g := &guest{s: s, name: name, node: name + "@" + s.short}
	g.member = protocol.Member{
		Name: name, Node: g.node, HostNode: "gwhost@" + s.short,
		Guest: freeAddr(s.t), EPMD: freeAddr(s.t), Host: freeAddr(s.t),
		Cookie: "cookie-of-" + name, HostCookie: clusterCookie,
		Messages: policy.Messages{Limits: policy.Limits{Handshakes: -1}}, // tests link anew all the time
	}
	s.set(g.member)
	return g
}

// set does what sandboxd does: it brings sockets where they are lacking.
func (s *stage) set(m protocol.Member) protocol.Node {
	s.t.Helper()
	node, need, err := s.server.Set(m, nil)
	if len(need) > 0 {
		sockets := map[netip.AddrPort]net.Listener{}
		for _, addr := range need {
			ln, err := net.Listen("tcp", addr.String())
			if err != nil {
				s.t.Fatal(err)
			}
			sockets[addr] = ln
		}
		node, need, err = s.server.Set(m, sockets)
	}
	if err != nil || len(need) > 0 {
		s.t.Fatalf("set %s: need %v, %v", m.Name, need, err)
	}
	return node
}

// boot starts the guest's BEAM and waits until it is registered.
func (g *guest) boot() *guest {
	g.s.t.Helper()
	events, stop := g.s.server.feed.follow()
	defer stop()
	port := fmt.Sprint(g.member.Guest.Port())
	args := append([]string{"-kernel", "inet_dist_listen_min", port, "inet_dist_listen_max", port}, g.args...)
	g.beam = g.s.beam(g.name, g.member.Cookie, g.member.EPMD.Port(), args...)
	g.s.await(events, "registered", g.name)
	return g
}

// join has the host connect to the guest.
func (g *guest) join() *guest {
	g.s.t.Helper()
	if got := g.s.onHost("net_kernel:connect_node('" + g.node + "')"); got != "true" {
		g.s.t.Fatalf("host cannot connect to %s: %s; node %+v", g.node, got, g.status())
	}
	return g
}

func (g *guest) status() protocol.Node {
	g.s.t.Helper()
	for _, n := range g.s.server.Nodes() {
		if n.Name == g.name {
			return n
		}
	}
	g.s.t.Fatalf("no member %s", g.name)
	return protocol.Node{}
}

// await waits for an event and returns it.
func (s *stage) await(events <-chan protocol.Event, kind, name string) protocol.Event {
	s.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case ev := <-events:
			if ev.Kind == kind && ev.Name == name {
				return ev
			}
		case <-deadline:
			s.t.Fatalf("no event %s of %s came", kind, name)
		}
	}
}

// onHost evaluates Erlang in the host VM and returns the value as text.
func (s *stage) onHost(code string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	value, err := s.host.Call(ctx, "gwt", "eval", term.String(code+"."))
	if err != nil {
		s.t.Fatalf("on host: %s: %v", code, err)
	}
	return term.Format(value)
}

// on evaluates Erlang in the guest, by the gateway's own call.
func (g *guest) on(code string) string {
	g.s.t.Helper()
	m, err := g.s.server.member(g.name)
	if err != nil {
		g.s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(g.s.t.Context(), 30*time.Second)
	defer cancel()
	args, err := term.Encode(term.List{Elems: []term.Term{term.String(code + ".")}})
	if err != nil {
		g.s.t.Fatal(err)
	}
	resp := m.call(ctx, protocol.Call{Module: "gwt", Function: "eval", Args: args})
	if resp.Error != "" {
		g.s.t.Fatalf("on %s: %s: %s", g.name, code, resp.Error)
	}
	value, _, err := term.Decode(resp.Result)
	if err != nil {
		g.s.t.Fatal(err)
	}
	return term.Format(value)
}

// wait repeats try until it succeeds: other programs need a moment to start.
func (s *stage) wait(what string, try func() error) {
	s.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %v", what, err)
		}
		rest(s.t.Context(), 10*time.Millisecond)
	}
}

// eventually waits until get returns want.
func (s *stage) eventually(what, want string, get func() string) {
	s.t.Helper()
	s.wait(what, func() error {
		if got := get(); got != want {
			return fmt.Errorf("got %s, want %s", got, want)
		}
		return nil
	})
}

// freeAddr is a loopback address that is free at this moment.
func freeAddr(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func dialOnce(addr netip.AddrPort) error {
	c, err := net.Dial("tcp", addr.String())
	if err == nil {
		c.Close()
	}
	return err
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil { // not after the test
		w.t.Logf("%s", bytes.TrimSpace(b))
	}
	return len(b), nil
}
