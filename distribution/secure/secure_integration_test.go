//go:build integration

package secure_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/epmd/erltest"
	"beamsandbox/distribution/secure"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/ca"
)

// TestBEAMOverTLS: OTP's own TLS distribution and ours shake hands, whoever
// dials, each proves a certificate, and one for somebody else is refused by
// whoever looks.
func TestBEAMOverTLS(t *testing.T) {
	store := ca.Store{Root: t.TempDir(), Now: time.Now}
	short := hostname(t)
	node := "tlsnode@" + short
	mapper := erltest.EPMD(t)
	erl := erltest.Start(t, mapper, "tlsnode", beamArgs(t, store, node)...)
	info, err := epmd.Lookup(t.Context(), mapper, "tlsnode")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(mapper.Addr(), info.Port)
	for _, tc := range []struct {
		name, node string
		as         ca.Authority
		want       string
	}{
		{"ours", node, ca.Host, ""},
		{"expecting another node", "other@" + short, ca.Host, "certificate of another node: " + node},
		{"proving what it does not believe", node, ca.Guests, "unknown certificate authority"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := dialBEAM(t, at, identity(t, store, tc.as, "sandboxd@"+short), tc.node)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	lease, err := epmd.Register(t.Context(), mapper, epmd.Registration{Name: "ours", Port: netip.MustParseAddrPort(ln.Addr().String()).Port()})
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	got := make(chan error, 1)
	go func() { got <- acceptBEAM(t.Context(), ln, identity(t, store, ca.Host, "ours@"+short), node) }()
	erl.Eval(fmt.Sprintf("net_kernel:connect_node('ours@%s').", short))
	if err := <-got; err != nil {
		t.Errorf("the BEAM dials: %v", err)
	}
}

func hostname(t *testing.T) string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	short, _, _ := strings.Cut(host, ".")
	return short
}

// beamArgs make a BEAM speak TLS with a certificate of the authority Host.
func beamArgs(t *testing.T, store ca.Store, node string) []string {
	t.Helper()
	id := identity(t, store, ca.Host, node)
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

// identity is a node's own, believing the authority Host.
func identity(t *testing.T, store ca.Store, a ca.Authority, node string) secure.Identity {
	t.Helper()
	issued, err := store.Keep(a, node, node)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := store.Trust(ca.Host)
	if err != nil {
		t.Fatal(err)
	}
	return secure.Identity{CA: trust, Cert: issued.Cert, Key: issued.Key}
}

func dialBEAM(t *testing.T, at netip.AddrPort, id secure.Identity, node string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	raw, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	c, err := id.Client(ctx, raw, secure.Peer{Node: node})
	if err != nil {
		return err
	}
	_, host, _ := strings.Cut(node, "@")
	self := wire.Identity{Name: "sandboxd@" + host, Flags: wire.OwnFlags, Creation: 4}
	_, err = wire.Dial(c, self, app.NewSecret(erltest.Cookie), 1)
	return err
}

func acceptBEAM(ctx context.Context, ln net.Listener, id secure.Identity, node string) error {
	raw, err := ln.Accept()
	if err != nil {
		return err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	c, err := id.Server(ctx, raw, secure.Peer{Node: node})
	if err != nil {
		return err
	}
	_, host, _ := strings.Cut(node, "@")
	_, err = wire.Accept(c, wire.Identity{Name: "ours@" + host, Flags: wire.OwnFlags, Creation: 5}, app.NewSecret(erltest.Cookie), 2, nil)
	return err
}

// TestBEAMReadsAnew: a BEAM that is told to forget its files, as sandboxd does
// after it has replaced them, proves the new certificate at the next handshake.
func TestBEAMReadsAnew(t *testing.T) {
	store := ca.Store{Root: t.TempDir(), Now: time.Now}
	short := hostname(t)
	node := "tlsnode@" + short
	mapper := erltest.EPMD(t)
	args := beamArgs(t, store, node)
	erl := erltest.Start(t, mapper, "tlsnode", args...)
	info, err := epmd.Lookup(t.Context(), mapper, "tlsnode")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(mapper.Addr(), info.Port)
	first := serial(t, store, at, node)
	fresh, err := store.Renew(ca.Host, node, node)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(args[len(args)-1]), "node.pem")
	if err := os.WriteFile(path, []byte(fresh.PEM().Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	if serial(t, store, at, node) != first {
		t.Error("it reads its files at every handshake: nobody needs to tell it")
	}
	erl.Eval("gen_server:call(ssl_pem_cache_dist, {unconditionally_clear_pem_cache, []}).")
	if serial(t, store, at, node) == first {
		t.Error("it still proves the old certificate")
	}
}

// serial is that of the certificate which a BEAM proves now.
func serial(t *testing.T, store ca.Store, at netip.AddrPort, node string) string {
	t.Helper()
	raw, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_, host, _ := strings.Cut(node, "@")
	c, err := identity(t, store, ca.Host, "sandboxd@"+host).Client(t.Context(), raw, secure.Peer{Node: node})
	if err != nil {
		t.Fatal(err)
	}
	return c.(secure.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
}
