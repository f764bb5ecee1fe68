//go:build integration

package gateway

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/secure"
	"beamsandbox/distribution/secure/securetest"
	"beamsandbox/policy"
)

// beamTLS makes a BEAM prove id.
func beamTLS(t testing.TB, id secure.Identity) []string {
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	options := secure.Options(file("ca.pem", id.CA), file("node.pem", id.Cert+id.Key.Reveal()))
	return []string{"-proto_dist", "inet_tls", "-ssl_dist_optfile", file("ssl_dist.config", options)}
}

// realLeg is a leg between the gateway and a BEAM.
type realLeg struct{ nodes, gateway *securetest.Authority }

func newRealLeg(t *testing.T, on bool) *realLeg {
	if !on {
		return nil
	}
	return &realLeg{securetest.New(t), securetest.New(t)}
}

func (l *realLeg) args(t *testing.T, node string) []string {
	if l == nil {
		return nil
	}
	return beamTLS(t, l.nodes.Issue(node, l.gateway))
}

func (l *realLeg) ours(node string) *protocol.TLS {
	if l == nil {
		return nil
	}
	id := l.gateway.Issue(node, l.nodes)
	return &protocol.TLS{CA: id.CA, Cert: id.Cert, Key: id.Key.Reveal()}
}

// client is what our own node proves to the host VM.
func (l *realLeg) client(short string) func(context.Context, net.Conn) (net.Conn, error) {
	if l == nil {
		return nil
	}
	id := l.gateway.Issue("gwtest@"+short, l.nodes)
	return func(ctx context.Context, c net.Conn) (net.Conn, error) {
		return id.Client(ctx, c, secure.Peer{What: "host VM", Node: "gwhost@" + short})
	}
}

func shortName(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	short, _, _ := strings.Cut(name, ".")
	return short
}

// TestRealLegs: real nodes over each mixture of plain and TLS legs, whoever
// dials, with calls and a process group over them.
func TestRealLegs(t *testing.T) {
	for name, on := range map[string][2]bool{
		"plain, plain": {false, false}, "guest over TLS": {true, false}, "host VM over TLS": {false, true}, "both": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			short := shortName(t)
			guestLeg, hostLeg := newRealLeg(t, on[0]), newRealLeg(t, on[1])
			s := newStageOver(t, hostLeg.client(short), hostLeg.args(t, "gwhost@"+short)...)
			g := s.member("gwtls")
			g.member.GuestTLS, g.member.HostTLS = guestLeg.ours("gwhost@"+short), hostLeg.ours("gwhost@"+short)
			g.member.Messages.Groups = []policy.Groups{{Scope: "pg", Names: []string{"room"}, Message: "{hello, '$atom'}"}}
			s.set(g.member)
			g.args = guestLeg.args(t, g.node)
			g.boot().join()
			g.speaks()
			g.renews(guestLeg, hostLeg)
			// Then the guest dials.
			s.onHost("erlang:disconnect_node('" + g.node + "')")
			s.eventually("the link's end", "[]", func() string { return g.on("nodes()") })
			if got := g.on("net_kernel:connect_node('gwhost@" + short + "')"); got != "true" {
				t.Errorf("guest dials: %s, %+v", got, g.status())
			}
			if got := s.onHost("net_adm:ping('" + g.node + "')"); got != "pong" {
				t.Errorf("host VM pings: %s", got)
			}
		})
	}
}

// speaks sends calls and a group's message over the link.
func (g *guest) speaks() {
	g.s.t.Helper()
	if got := g.s.onHost("byte_size(rpc:call('" + g.node + "', binary, copy, [<<7>>, 3000000]))"); got != "3000000" {
		g.s.t.Errorf("host VM calls: %s", got)
	}
	g.s.onHost("P = spawn(fun() -> pg:start_link(), pg:join(room, self()), receive {hello, X} -> register(got, spawn(fun() -> timer:sleep(60000) end)), X end end), timer:sleep(50), is_pid(P)")
	g.on("{ok, P} = pg:start_link(), unlink(P), ok")
	g.s.eventually("guest's view of the group", "1", func() string { return g.on("length(pg:get_members(room))") })
	g.on("[P ! {hello, from_guest} || P <- pg:get_members(room)], ok")
	g.s.eventually("message at the host", "true", func() string { return g.s.onHost("is_pid(whereis(got))") })
}

// renews replaces the gateway's certificates under the link.
func (g *guest) renews(guestLeg, hostLeg *realLeg) {
	g.s.t.Helper()
	since := g.status().Since
	keys := protocol.Keys{GuestTLS: guestLeg.ours("gwhost@" + g.s.short), HostTLS: hostLeg.ours("gwhost@" + g.s.short)}
	if _, err := g.s.server.Rekey(g.name, keys); err != nil {
		g.s.t.Error(err)
	}
	if n := g.status(); !n.Up || n.Since != since {
		g.s.t.Errorf("after new certificates: %+v", n)
	}
}

// TestRealGuestWithWrongCertificate: a BEAM that proves another guest's
// certificate, or none, gets no link, and the error says why.
func TestRealGuestWithWrongCertificate(t *testing.T) {
	s := newStage(t)
	leg := newRealLeg(t, true)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"gwthief": {leg.args(t, "gwother@"+s.short), "certificate of another node: gwother@" + s.short},
		"gwplain": {nil, "plain distribution"},
	} {
		g := s.member(name)
		g.member.GuestTLS = leg.ours("gwhost@" + s.short)
		s.set(g.member)
		g.args = tc.args
		g.boot()
		begin := time.Now()
		if got := s.onHost("net_kernel:connect_node('" + g.node + "')"); got != "false" {
			t.Errorf("%s is linked: %s", name, got)
		}
		s.wait("reason of "+name, func() error {
			if e := g.status().Error; !strings.Contains(e, tc.want) {
				return context.DeadlineExceeded
			}
			return nil
		})
		t.Logf("%s after %v: %s", name, time.Since(begin), g.status().Error)
	}
}
