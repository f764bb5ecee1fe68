package control

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
)

func TestTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, peers := connect(t, peerID, "secret-cookie")
		h := NewHost(cfg)
		defer h.Close()
		<-peers
		if err := h.Try(t.Context(), "doctor@vm"); err != nil {
			t.Errorf("try: %v", err)
		}
		if p := <-peers; p.seen.Name != "doctor@vm" {
			t.Errorf("the trial's name is %s", p.seen.Name)
		}
		if h.Err() != nil {
			t.Errorf("the lasting connection ended: %v", h.Err())
		}
	})
}

// TestTryRefused: what is wrong now is said although the old connection lasts.
func TestTryRefused(t *testing.T) {
	other := peerID
	other.Name = "someone@vm"
	for name, tc := range map[string]struct {
		id     wire.Identity
		cookie string
		want   error
	}{"cookie": {peerID, "changed", wire.ErrCookie}, "name": {other, "secret-cookie", ErrOtherNode}} {
		t.Run(name, func(t *testing.T) {
			cfg, _ := connect(t, tc.id, tc.cookie)
			h := &Host{cfg: cfg.withDefaults()}
			if err := h.Try(t.Context(), "doctor@vm"); !errors.Is(err, tc.want) {
				t.Errorf("try: %v", err)
			}
		})
	}
}

// TestTryOverTLS makes no second connection: the certificate is of one name.
func TestTryOverTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, peers := connect(t, peerID, "secret-cookie")
		cfg.Secure = func(_ context.Context, conn net.Conn) (net.Conn, error) { return conn, nil }
		h := NewHost(cfg)
		defer h.Close()
		peer := <-peers
		done := make(chan error, 1)
		go func() { done <- h.Try(t.Context(), "doctor@vm") }()
		pid, ref, _ := peer.request()
		peer.answer(pid, ref, term.Atom("yes"))
		if err := <-done; err != nil || len(peers) != 0 {
			t.Errorf("try: %v, %d more connections", err, len(peers))
		}
	})
}
