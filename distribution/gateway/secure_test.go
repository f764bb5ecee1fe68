package gateway

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/secure"
	"beamsandbox/distribution/secure/securetest"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
)

// tlsScene is a scene whose legs speak TLS where authorities are given: each
// leg has one for the node and one for the gateway.
type tlsScene struct {
	*scene
	guest, host *tlsLeg
}

type tlsLeg struct{ nodes, gateway *securetest.Authority }

func newTLSLeg(t *testing.T) *tlsLeg {
	return &tlsLeg{securetest.New(t), securetest.New(t)}
}

// ours is what the gateway proves on the leg, theirs what a node proves.
func (l *tlsLeg) ours() *protocol.TLS {
	if l == nil {
		return nil
	}
	id := l.gateway.Issue("web@vm", l.nodes)
	return &protocol.TLS{CA: id.CA, Cert: id.Cert, Key: id.Key.Reveal()}
}

func (l *tlsLeg) theirs(node string) secure.Identity {
	if l == nil {
		return secure.Identity{}
	}
	return l.nodes.Issue(node, l.gateway)
}

func newTLSScene(t *testing.T, guest, host bool) *tlsScene {
	t.Helper()
	s := &tlsScene{scene: newScene(t)}
	if guest {
		s.guest = newTLSLeg(t)
	}
	if host {
		s.host = newTLSLeg(t)
	}
	s.spec.GuestTLS, s.spec.HostTLS = s.guest.ours(), s.host.ours()
	if _, need, err := s.server.Set(s.spec, nil); err != nil || len(need) > 0 {
		t.Fatal(need, err)
	}
	s.boot()
	return s
}

// dial plays a node that dials its stand-in's port and proves id, if it has one.
func (s *tlsScene) dial(self wire.Identity, port uint16, id secure.Identity, peer, cookie string) error {
	s.t.Helper()
	c := s.dialed(port)
	if !id.Empty() {
		ctx, cancel := context.WithTimeout(s.t.Context(), patienceOfTests)
		defer cancel()
		inner, err := id.Client(ctx, c, secure.Peer{Node: peer, ByHost: true})
		if err != nil {
			return err
		}
		c = inner
	}
	_, err := wire.Dial(c, self, app.NewSecret(cookie), 3)
	return err
}

// answer plays the node that is dialed.
func (s *tlsScene) answer(ln net.Listener, self wire.Identity, id secure.Identity, cookie string) <-chan error {
	got := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			got <- err
			return
		}
		_ = c.SetDeadline(time.Now().Add(patienceOfTests))
		if !id.Empty() {
			c, err = id.Server(context.Background(), c, secure.Peer{Node: "web@vm", ByHost: true})
		}
		if err == nil {
			_, err = wire.Accept(c, self, app.NewSecret(cookie), 7, nil)
		}
		got <- err
	}()
	return got
}

func TestLegsOverTLS(t *testing.T) {
	for _, legs := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		s := newTLSScene(t, legs[0], legs[1])
		done := s.answer(s.scene.guest, everything("pulse@vm", 42), s.guest.theirs("pulse@vm"), "guest's")
		if err := s.dial(everything("web@vm", 41), s.node().Port, s.host.theirs("web@vm"), "web@vm", "cluster's"); err != nil {
			t.Fatalf("legs %v, host VM dials: %v", legs, err)
		}
		if err := <-done; err != nil {
			t.Errorf("legs %v, guest: %v", legs, err)
		}
		s.expect("up")
		s.server.members["pulse"].closeLink("test")
		done = s.answer(s.scene.host, everything("web@vm", 41), s.host.theirs("web@vm"), "cluster's")
		if err := s.dial(everything("pulse@vm", 42), s.spec.Host.Port(), s.guest.theirs("pulse@vm"), "web@vm", "guest's"); err != nil {
			t.Fatalf("legs %v, guest dials: %v", legs, err)
		}
		if err := <-done; err != nil {
			t.Errorf("legs %v, host VM: %v", legs, err)
		}
		s.expect("up")
	}
}

// TestWrongCertificates: whoever dials without the right certificate gets no
// link, and the event says what is wrong with it.
func TestWrongCertificates(t *testing.T) {
	for name, tc := range map[string]struct {
		prove func(s *tlsScene) secure.Identity
		note  string
	}{
		"another guest's":     {func(s *tlsScene) secure.Identity { return s.guest.theirs("other@vm") }, "guest pulse@vm proves the certificate of another node: other@vm"},
		"another authority's": {func(s *tlsScene) secure.Identity { return securetest.New(t).Issue("pulse@vm", s.guest.gateway) }, "unknown authority"},
		"the gateway's own":   {func(s *tlsScene) secure.Identity { return s.guest.gateway.Issue("pulse@vm", s.guest.gateway) }, "unknown authority"},
		"of the other leg":    {func(s *tlsScene) secure.Identity { return s.host.nodes.Issue("pulse@vm", s.guest.gateway) }, "unknown authority"},
		"ended": {func(s *tlsScene) secure.Identity {
			return s.guest.nodes.IssueFor("pulse@vm", s.guest.gateway, -time.Minute)
		}, "expired"},
		"none, it is plain": {func(*tlsScene) secure.Identity { return secure.Identity{} }, "speaks plain distribution"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTLSScene(t, true, true)
			if err := s.dial(everything("pulse@vm", 5), s.spec.Host.Port(), tc.prove(s), "web@vm", "guest's"); err == nil {
				t.Error("it is linked")
			}
			if ev := s.expect("link_error"); !strings.Contains(ev.Detail, tc.note) {
				t.Errorf("event says %q, want %q", ev.Detail, tc.note)
			}
		})
	}
}

// TestGuestWithAnotherGuestsCertificate is the same when the gateway dials.
func TestGuestWithAnotherGuestsCertificate(t *testing.T) {
	s := newTLSScene(t, true, false)
	s.answer(s.scene.guest, everything("pulse@vm", 42), s.guest.theirs("other@vm"), "guest's")
	if err := s.dial(everything("web@vm", 41), s.node().Port, secure.Identity{}, "", "cluster's"); err == nil {
		t.Error("it is linked")
	}
	if ev := s.expect("link_error"); !strings.Contains(ev.Detail, "certificate of another node: other@vm") {
		t.Errorf("event says %q", ev.Detail)
	}
}

func TestNewCertificatesKeepTheLink(t *testing.T) {
	s := newTLSScene(t, true, false)
	done := s.answer(s.scene.guest, everything("pulse@vm", 42), s.guest.theirs("pulse@vm"), "guest's")
	if err := s.dial(everything("web@vm", 41), s.node().Port, secure.Identity{}, "", "cluster's"); err != nil {
		t.Fatal(err)
	}
	<-done
	s.expect("up")
	fresh := newTLSLeg(t)
	if _, err := s.server.Rekey("pulse", protocol.Keys{GuestTLS: fresh.ours(), HostTLS: fresh.ours()}); err != nil || !s.node().Up {
		t.Fatalf("the node is %+v: %v", s.node(), err)
	}
	if spec := s.server.members["pulse"].spec(); spec.HostTLS != nil {
		t.Error("a plain leg became another one")
	}
	s.answer(s.scene.host, everything("web@vm", 41), secure.Identity{}, "cluster's")
	if err := s.dial(everything("pulse@vm", 42), s.spec.Host.Port(), s.guest.theirs("pulse@vm"), "web@vm", "guest's"); err == nil {
		t.Error("the old authority is still believed")
	}
	s.answer(s.scene.host, everything("web@vm", 41), secure.Identity{}, "cluster's")
	if err := s.dial(everything("pulse@vm", 42), s.spec.Host.Port(), fresh.theirs("pulse@vm"), "web@vm", "guest's"); err != nil {
		t.Errorf("the new one: %v", err)
	}
	bad := protocol.TLS{CA: "x", Cert: "y", Key: "SECRETKEY"}
	if _, err := s.server.Rekey("pulse", protocol.Keys{GuestTLS: &bad}); err == nil || strings.Contains(err.Error(), "SECRETKEY") {
		t.Errorf("an identity that is none: %v", err)
	}
}
