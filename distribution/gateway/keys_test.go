package gateway

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
)

// dialsAs plays a node that dials the other one's stand-in and proves cookie.
func (s *scene) dialsAs(guest bool, cookie string) (peer, error) {
	s.t.Helper()
	self, port := everything("web@vm", 41), s.node().Port
	if guest {
		self, port = everything("pulse@vm", 42), s.spec.Host.Port()
	}
	p := peer{conn: s.dialed(port)}
	p.sees, p.err = wire.Dial(p.conn, self, app.NewSecret(cookie), 9)
	return p, p.err
}

// answersAs plays the node that is dialed and knows cookie.
func (s *scene) answersAs(guest bool, cookie string) <-chan peer {
	s.t.Helper()
	if guest {
		return s.accepted(s.guest, everything("pulse@vm", 42), cookie, nil)
	}
	return s.accepted(s.host, everything("web@vm", 41), cookie, nil)
}

var bothKeys = protocol.Keys{
	Guest: &protocol.KeyPair{Now: "guest's", Next: "guest's new"},
	Host:  &protocol.KeyPair{Now: "cluster's", Next: "cluster's new"},
}

// TestRekeyKeepsTheLink: while a cookie is replaced either is welcome on each
// leg, then the new one alone; what is established stays.
func TestRekeyKeepsTheLink(t *testing.T) {
	s := newScene(t)
	s.server.cfg.Tick = 8 * time.Second
	host, _ := s.linked()
	if _, err := s.server.Rekey("pulse", bothKeys); err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ReadFrame(host.conn, nil, 0); err != nil || !s.node().Up { // a tick
		t.Errorf("after the change the node is %+v: %v", s.node(), err)
	}
	for _, guestDials := range []bool{true, false} {
		for _, cookies := range [][2]string{{"guest's", "cluster's"}, {"guest's new", "cluster's new"}, {"guest's", "cluster's new"}, {"guest's new", "cluster's"}} {
			s.relinks(guestDials, cookies[0], cookies[1])
		}
	}
	if _, err := s.server.Rekey("pulse", protocol.Keys{Guest: &protocol.KeyPair{Now: "guest's new"}, Host: &protocol.KeyPair{Now: "cluster's new"}}); err != nil {
		t.Fatal(err)
	}
	s.relinks(true, "guest's new", "cluster's new")
	s.server.members["pulse"].closeLink("test")
	s.answersAs(false, "cluster's new")
	if _, err := s.dialsAs(true, "guest's"); !errors.Is(err, wire.ErrCookie) {
		t.Errorf("the guest's old cookie: %v", err)
	}
	s.answersAs(true, "guest's new")
	if _, err := s.dialsAs(false, "cluster's"); !errors.Is(err, wire.ErrCookie) {
		t.Errorf("the cluster's old cookie: %v", err)
	}
}

// relinks ends the link and makes it again, in two tries at most: one may be
// needed to find out what the dialed node knows.
func (s *scene) relinks(guestDials bool, guestKnows, hostKnows string) {
	s.t.Helper()
	s.server.members["pulse"].closeLink("test")
	dials, answers := guestKnows, hostKnows
	if !guestDials {
		dials, answers = hostKnows, guestKnows
	}
	var err error
	for range 2 {
		answer := s.answersAs(!guestDials, answers)
		_, err = s.dialsAs(guestDials, dials)
		<-answer
		if err == nil {
			s.expect("up")
			return
		}
	}
	s.t.Errorf("guest dials: %v, guest knows %s, host VM knows %s: %v", guestDials, guestKnows, hostKnows, err)
}

// TestWrongCookieOfADialerChangesNothing: while cookies are replaced, what a node
// that dials proves says nothing about what the other one knows.
func TestWrongCookieOfADialerChangesNothing(t *testing.T) {
	s := newScene(t)
	s.boot()
	if _, err := s.server.Rekey("pulse", bothKeys); err != nil {
		t.Fatal(err)
	}
	m := s.server.members["pulse"]
	before := [legs]bool{m.doubted[guestLeg], m.doubted[hostLeg]}
	for _, guestDials := range []bool{true, false} {
		s.answersAs(!guestDials, "cluster's")
		if _, err := s.dialsAs(guestDials, "a wrong one"); err == nil {
			t.Fatal("it was let in")
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.doubted != before {
		t.Errorf("doubted %v, was %v", m.doubted, before)
	}
}

// TestIdleDialersOfOneSideLeaveTheOtherSide: connections that say nothing on the
// guest's side do not keep the host VM from its link, nor the other way round.
func TestIdleDialersOfOneSideLeaveTheOtherSide(t *testing.T) {
	for name, guestIdles := range map[string]bool{"guest": true, "host VM": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.boot()
			port, full := s.node().Port, hostLeg
			if guestIdles {
				port, full = s.spec.Host.Port(), guestLeg
			}
			m := s.server.members["pulse"]
			for range 2 * maxHandshakes {
				s.dialed(port)
			}
			for len(m.shakes[full]) < maxHandshakes {
				runtime.Gosched()
			}
			answer := s.answersAs(guestIdles, map[bool]string{true: "guest's", false: "cluster's"}[guestIdles])
			_, err := s.dialsAs(!guestIdles, map[bool]string{true: "cluster's", false: "guest's"}[guestIdles])
			if err = errors.Join(err, (<-answer).err); err != nil {
				t.Fatal(err)
			}
			s.expect("up")
		})
	}
}

func TestRekeyIsRefused(t *testing.T) {
	s := newScene(t)
	if _, err := s.server.Rekey("nobody", bothKeys); err == nil || !strings.Contains(err.Error(), "no member nobody") {
		t.Errorf("got %v", err)
	}
	if _, err := s.server.Rekey("pulse", protocol.Keys{Host: &protocol.KeyPair{Next: "x"}}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("got %v", err)
	}
	if got := s.server.members["pulse"].spec(); got.HostCookie != "cluster's" || got.NextHostCookie != "" {
		t.Error("a change that was refused was made")
	}
}
