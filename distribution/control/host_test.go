package control

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
)

func TestHostConnectsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, peers := connect(t, peerID, "secret-cookie")
		h := NewHost(cfg)
		defer h.Close()
		for i := range 3 {
			done := make(chan called, 1)
			go func() {
				v, err := h.Call(t.Context(), "m", "f")
				done <- called{v, err}
			}()
			peer := <-peers
			pid, ref, _ := peer.request()
			peer.answer(pid, ref, term.Int(i))
			if got := <-done; got.value != term.Int(i) {
				t.Errorf("call %d gives %v, %v", i, got.value, got.err)
			}
			peer.conn.Close()
			synctest.Wait()
			if h.Err() == nil {
				t.Error("the lost connection is not noticed")
			}
		}
	})
}

func TestHostUnreachableInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _ := connect(t, peerID, "secret-cookie")
		attempts := 0
		cfg.Connect = func(context.Context) (net.Conn, error) { attempts++; return nil, errors.New("no route") }
		h := NewHost(cfg)
		begin := time.Now()
		_, err := h.Call(t.Context(), "m", "f")
		want := "host VM demo_web@vm is not reachable: dial demo_web@vm: not reachable: no route"
		if !errors.Is(err, ErrUnreachable) || err.Error() != want {
			t.Errorf("call gives %v", err)
		}
		if d := time.Since(begin); d != defaultWait {
			t.Errorf("call took %v", d)
		}
		time.Sleep(time.Minute - defaultWait) // of the bubble's clock
		h.Close()
		if attempts < 12 || attempts > 18 {
			t.Errorf("%d attempts in a minute", attempts)
		}
		if _, err := h.Call(t.Context(), "m", "f"); !errors.Is(err, ErrClosed) {
			t.Errorf("call after close gives %v", err)
		}
	})
}

func TestHostWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, peers := connect(t, peerID, "secret-cookie")
		h := NewHost(cfg)
		defer h.Close()
		ctx, cancel := context.WithCancel(t.Context())
		resume := make(chan struct{})
		var seen []bool
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			for up := range h.Watch(ctx) {
				seen = append(seen, up)
				if up && len(seen) > 1 {
					<-resume // busy while a connection goes and comes
				}
			}
		}()
		(<-peers).conn.Close()
		last := <-peers
		synctest.Wait()
		resume <- struct{}{}
		synctest.Wait()
		last.conn.Close()
		synctest.Wait()
		if !seen[len(seen)-1] { // still busy with the second coming
			t.Errorf("seen %v", seen)
		}
		resume <- struct{}{}
		synctest.Wait()
		cancel()
		close(resume)
		<-watched
		flips := slices.Compact(slices.Clone(seen))
		if len(flips) != len(seen) || seen[len(seen)-1] {
			t.Errorf("seen %v: a change is missing or told twice", seen)
		}
	})
}

func TestEitherCookieIsTried(t *testing.T) {
	for name, tc := range map[string]struct {
		knows []string
		want  error
	}{
		"the first":  {[]string{"secret-cookie", "other"}, nil},
		"the second": {[]string{"other", "secret-cookie"}, nil},
		"neither":    {nil, wire.ErrCookie},
		"none":       {nil, errNoCookies},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, peers := connect(t, peerID, "secret-cookie")
			cfg.Cookie = app.Secret{}
			cfg.Cookies = func() ([]app.Secret, error) {
				var all []app.Secret
				for _, c := range tc.knows {
					all = append(all, app.NewSecret(c))
				}
				return all, tc.want
			}
			if errors.Is(tc.want, wire.ErrCookie) {
				cfg.Cookies = func() ([]app.Secret, error) { return []app.Secret{app.NewSecret("x"), app.NewSecret("y")}, nil }
			}
			n, err := Dial(t.Context(), cfg)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if err == nil {
				<-peers
				n.Close()
			}
		})
	}
}

var errNoCookies = errors.New("the cookie's file is gone")
