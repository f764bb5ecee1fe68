package reconcile_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/reconcile"
	"beamsandbox/reconcile/ca"
	"beamsandbox/reconcile/reconciletest"
	"beamsandbox/reconcile/status"
)

// overTLS is a bench whose legs speak TLS.
func (b *bench) overTLS(guests, host bool) {
	b.tls = reconcile.TLS{Guests: guests, Host: host, Certificates: ca.Legs{
		Store:    ca.Store{Root: filepath.Join(b.root, "tls"), Now: func() time.Time { return time.Now().Add(b.later) }},
		Hostname: reconciletest.Hostname, HostNode: reconciletest.HostNode,
	}}
}

// proven is what pulse, and the gateway on both legs, prove.
func (b *bench) proven() (guest, toGuest, toHost string) {
	task, _ := b.world.Tasks.Config("pulse")
	member, _ := b.world.Nodes.Config("pulse")
	if task.TLS != nil {
		guest = task.TLS.Node.Reveal()
	}
	return guest, member.GuestTLS.Cert, member.HostTLS.Cert
}

func TestLegsAsConfigured(t *testing.T) {
	for _, on := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
		inWorld(t, func(b *bench) {
			b.overTLS(on[0], on[1])
			b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
			b.start()
			b.after(time.Second)
			if a := b.wantPhase("pulse", status.Healthy); a.TLS != on[0] {
				t.Errorf("%v: status says %v", on, a.TLS)
			}
			if _, err := b.r.RotateTLS(context.Background(), ""); (err == nil) != (on[0] || on[1]) {
				t.Errorf("%v: rotate: %v", on, err)
			}
			guest, toGuest, toHost := b.proven()
			if (guest != "") != on[0] || (toGuest != "") != on[0] || (toHost != "") != on[1] {
				t.Errorf("%v: guest %v, gateway %v and %v", on, guest != "", toGuest != "", toHost != "")
			}
		})
	}
}

// TestGuestSpeaksAsItWasStarted: a guest that runs goes on as it is when the
// configuration changes, and speaks otherwise when it is started again.
func TestGuestSpeaksAsItWasStarted(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.overTLS(true, false)
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		pid := b.wantPhase("pulse", status.Healthy).Pid
		b.halt()
		b.overTLS(false, false)
		b.world.Nodes.Clear() // and the gateway is another one
		b.start()
		b.after(2 * time.Second)
		if _, toGuest, _ := b.proven(); toGuest == "" || !b.app("pulse").TLS {
			t.Error("the gateway speaks plain to a guest over TLS")
		}
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ", env => #{greeting => hello}")})
		b.after(2 * time.Second) // set in place
		b.halt()
		b.world.Nodes.Clear()
		b.start()
		b.after(2 * time.Second)
		if _, toGuest, _ := b.proven(); toGuest == "" || b.app("pulse").Pid != pid {
			t.Error("a guest that was reconfigured is thought to be plain")
		}
		b.commit(map[string]string{"pulse": guest("pulse", "1.1.0", "")})
		b.after(20 * time.Second)
		if a := b.wantPhase("pulse", status.Healthy); a.Pid == pid {
			t.Error("it was not started again")
		}
		if guest, toGuest, _ := b.proven(); guest != "" || toGuest != "" {
			t.Error("a guest that was started anew does not speak as configured")
		}
	})
}

func TestCertificatesAreRenewedInTime(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.overTLS(true, true)
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		pid := b.wantPhase("pulse", status.Healthy).Pid
		guest, toGuest, toHost := b.proven()
		b.later = 50 * 24 * time.Hour
		b.after(2 * time.Hour)
		if g, tg, th := b.proven(); g != guest || tg != toGuest || th != toHost {
			t.Error("renewed too early")
		}
		b.diary()
		b.later += 11 * 24 * time.Hour
		b.after(2 * time.Hour)
		if g, tg, th := b.proven(); g == guest || tg == toGuest || th == toHost {
			t.Errorf("not renewed: guest %v, gateway %v and %v", g == guest, tg == toGuest, th == toHost)
		}
		if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid || !a.Linked {
			t.Errorf("renewing cost %+v", a)
		}
		for _, line := range b.diary() {
			if strings.HasSuffix(line, " down") {
				t.Errorf("renewing did %q", line)
			}
		}
	})
}

func TestRotateTLS(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.overTLS(true, false)
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "other": guest("other", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		guest, toGuest, _ := b.proven()
		done, err := b.r.RotateTLS(context.Background(), "pulse")
		if err != nil || len(done) != 1 || done[0] != (status.Rotation{App: "pulse", State: status.RotationDone}) {
			t.Errorf("got %+v, %v", done, err)
		}
		b.wantOrder("guest pulse: gen_server:call/2") // it reads its files anew
		if m, _ := b.world.Nodes.Config("pulse"); m.GuestTLS.PeerSince.IsZero() {
			t.Error("the old certificate is still believed")
		}
		if m, _ := b.world.Nodes.Config("other"); !m.GuestTLS.PeerSince.IsZero() {
			t.Error("a guest that may have read its certificate or not is doubted")
		}
		second, same, _ := b.proven()
		if second == guest || same != toGuest {
			t.Error("not the guest's certificate alone was replaced")
		}
		done, err = b.r.RotateTLS(context.Background(), "")
		if err != nil || len(done) != 3 {
			t.Errorf("got %+v, %v", done, err)
		}
		if third, toGuestNow, _ := b.proven(); third == second || toGuestNow == toGuest {
			t.Error("not every certificate was replaced")
		}
		if _, err := b.r.RotateTLS(context.Background(), "nobody"); err == nil || !strings.Contains(err.Error(), "nobody is no guest that runs and speaks TLS") {
			t.Errorf("got %v", err)
		}
	})
}
