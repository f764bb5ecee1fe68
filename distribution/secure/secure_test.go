package secure_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/secure"
	"beamsandbox/distribution/secure/securetest"
	"beamsandbox/reconcile/app"
)

// shake lets two ends shake hands and returns what each says.
func shake(t *testing.T, client, server secure.Identity, dialed, dialing secure.Peer) (near, far net.Conn, clientErr, serverErr error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	done := make(chan error, 1)
	go func() {
		var err error
		far, err = server.Server(ctx, b, dialing)
		if err != nil {
			b.Close()
		}
		done <- err
	}()
	near, clientErr = client.Client(ctx, a, dialed)
	if clientErr != nil {
		a.Close()
		return near, far, clientErr, <-done
	}
	// Over TLS 1.3 the refusal of our certificate comes with the first byte.
	first := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		first <- err
	}()
	if serverErr = <-done; serverErr == nil {
		_ = a.SetReadDeadline(time.Now())
	}
	if err := <-first; !isTimeout(err) {
		clientErr = err
	}
	_ = a.SetReadDeadline(time.Time{})
	return near, far, clientErr, serverErr
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestNames(t *testing.T) {
	nodes, ours := securetest.New(t), securetest.New(t)
	host := securetest.New(t).IssueNames(ours, nil, []string{"myhost"})
	for what, tc := range map[string]struct {
		proves *securetest.Authority
		node   string // in the certificate; "": the host alone
		byHost bool
		want   string
	}{
		"its own":                 {nodes, "pulse@myhost", false, ""},
		"another node's":          {nodes, "other@myhost", false, "certificate of another node: other@myhost"},
		"another node's, by host": {nodes, "other@myhost", true, "certificate of another node: other@myhost"},
		"another host's":          {nodes, "pulse@elsewhere", true, "certificate of another node"},
		"the host's":              {nodes, "", false, "names neither the node nor its host"},
		"the host's, by host":     {nodes, "", true, ""},
		"of another authority":    {ours, "pulse@myhost", false, "unknown authority"},
	} {
		t.Run(what, func(t *testing.T) {
			id := tc.proves.IssueNames(ours, nil, []string{"myhost"})
			if tc.node != "" {
				id = tc.proves.Issue(tc.node, ours)
			}
			peer := secure.Peer{What: "guest", Node: "pulse@myhost", ByHost: tc.byHost}
			_, _, _, err := shake(t, id, ours.Issue("web@myhost", nodes), secure.Peer{Node: "web@myhost"}, peer)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "guest pulse@myhost")) {
				t.Errorf("dialed by it: %v, want %q", err, tc.want)
			}
		})
	}
	if host.Empty() || (secure.Identity{}).Empty() != true {
		t.Error("Empty is wrong")
	}
}

// TestPlainPeer: a node that speaks plain distribution is told from one with
// a wrong certificate.
func TestPlainPeer(t *testing.T) {
	nodes, ours := securetest.New(t), securetest.New(t)
	a, b := net.Pipe()
	defer a.Close()
	go func() { _, _ = a.Write([]byte("\x00\x15N0123456789abcdefghijk")) }()
	_, err := ours.Issue("web@myhost", nodes).Server(t.Context(), b, secure.Peer{What: "guest", Node: "pulse@myhost"})
	if err == nil || !strings.Contains(err.Error(), "guest pulse@myhost: it speaks plain distribution: start it with -proto_dist inet_tls") {
		t.Errorf("got %v", err)
	}
}

// TestCloseDoesNotWait for a peer that reads nothing.
func TestCloseDoesNotWait(t *testing.T) {
	nodes, ours := securetest.New(t), securetest.New(t)
	near, far, clientErr, serverErr := shake(t, nodes.Issue("pulse@myhost", ours), ours.Issue("web@myhost", nodes),
		secure.Peer{Node: "web@myhost"}, secure.Peer{Node: "pulse@myhost"})
	if err := errors.Join(clientErr, serverErr); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := near.Close(); err != nil || time.Since(begin) > 4*time.Second { // TLS would wait 5 s
		t.Errorf("closing took %v: %v", time.Since(begin), err)
	}
	if left := time.Until(far.(secure.Conn).Ends()); left <= 0 || left > time.Hour {
		t.Errorf("the certificate ends in %v", left)
	}
}

func TestCheck(t *testing.T) {
	nodes, ours := securetest.New(t), securetest.New(t)
	good := nodes.Issue("pulse@myhost", ours)
	for what, tc := range map[string]struct {
		change func(*secure.Identity)
		want   string
	}{
		"good":            {func(*secure.Identity) {}, ""},
		"no authority":    {func(id *secure.Identity) { id.CA = "SECRET" }, "no certificate is in it"},
		"another's key":   {func(id *secure.Identity) { id.Key = nodes.Issue("x@y", ours).Key }, "private key does not match"},
		"no key":          {func(id *secure.Identity) { id.Key = app.NewSecret("SECRET") }, "read our own certificate"},
		"key and no cert": {func(id *secure.Identity) { id.Cert = "SECRET" }, "read our own certificate"},
	} {
		id := good
		tc.change(&id)
		err := id.Check()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "SECRET")) {
			t.Errorf("%s: %v, want %q", what, err, tc.want)
		}
	}
}
