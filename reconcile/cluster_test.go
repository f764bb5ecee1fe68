package reconcile_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/macula"
	"beamsandbox/reconcile/reconciletest"
	"beamsandbox/reconcile/status"
)

// maculaHost is the host VM of a world with a module macula.
type maculaHost struct {
	*reconciletest.HostVM
	mu      sync.Mutex
	exports []string // nil: no module
	lies    bool     // about the cookie
	called  []string
}

func (h *maculaHost) set(exports ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.exports, h.called = exports, nil
}

func (h *maculaHost) calls(function string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.called {
		if c == function {
			n++
		}
	}
	return n
}

func (h *maculaHost) Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := fmt.Sprintf("%s/%d", function, len(args))
	switch {
	case module+":"+name == "code:ensure_loaded/1" && args[0] == term.Term(term.Atom("macula")):
		if h.exports == nil {
			return term.Tuple{term.Atom("error"), term.Atom("nofile")}, nil
		}
		return term.Tuple{term.Atom("module"), args[0]}, nil
	case module+":"+name == "erlang:function_exported/3":
		asked := fmt.Sprintf("%s/%d", args[1].(term.Atom), args[2].(term.Int))
		return map[bool]term.Term{true: term.Atom("true"), false: term.Atom("false")}[slices.Contains(h.exports, asked)], nil
	case module+":"+name == "erlang:is_alive/0":
		return term.Atom("true"), nil
	case module != "macula":
		return h.HostVM.Call(ctx, module, function, args...)
	}
	h.called = append(h.called, name)
	switch {
	case name == macula.GetCookie && h.lies:
		return term.Atom("another"), nil
	case name == macula.GetCookie:
		return h.HostVM.Call(ctx, "erlang", "get_cookie")
	case name == macula.SetCookie:
		return h.HostVM.Call(ctx, "erlang", "set_cookie", term.Atom(reconciletest.HostNode), args[0])
	}
	return term.Atom("ok"), nil
}

// withMacula runs a world with one guest, whose cookies are files.
func withMacula(t *testing.T, exports []string, test func(b *bench, h *maculaHost, files *brittle)) {
	inWorld(t, func(b *bench) {
		h := &maculaHost{HostVM: b.world.Host, exports: exports}
		b.host = h
		b.world.Repo.Commit(map[string]string{"apps/pulse/app.config": guest("pulse", "1.0.0", "")})
		files := &brittle{}
		files.Root, files.Configured = b.root, app.NewSecret(reconciletest.ClusterCookie)
		files.Getenv = func(string) string { return "" }
		b.files = files
		b.start()
		b.after(time.Second)
		b.wantPhase("pulse", status.Healthy)
		test(b, h, files)
	})
}

func TestMaculaIsAsked(t *testing.T) {
	withMacula(t, macula.Functions(), func(b *bench, h *maculaHost, files *brittle) {
		m := b.r.Status().Macula
		if m == nil || !slices.Equal(m.Asked, macula.Functions()) || len(m.Own) > 0 || m.Error != "" {
			t.Errorf("status has %+v", m)
		}
		b.after(10 * time.Minute)
		for function, want := range map[string]int{macula.EnsureDistributed: 1, macula.MonitorNodes: 1, macula.GetCookie: 11, macula.UnmonitorNodes: 0} {
			if n := h.calls(function); n != want {
				t.Errorf("%s was called %d times in 10 minutes, want %d", function, n, want)
			}
		}
		if _, err := b.r.RotateCluster(context.Background()); err != nil {
			t.Error(err)
		}
		b.agree("", files, reconciletest.ClusterCookie)
		if n := h.calls(macula.SetCookie); n != 1 {
			t.Errorf("%s was called %d times, want 1", macula.SetCookie, n)
		}
		b.world.Host.Blink()
		b.after(time.Second)
		if n := h.calls(macula.MonitorNodes); n != 2 {
			t.Errorf("a host VM that came back was asked %d times to watch nodes, want 2", n)
		}
		b.halt()
		if n := h.calls(macula.UnmonitorNodes); n != 1 {
			t.Errorf("%s was called %d times at the end, want 1", macula.UnmonitorNodes, n)
		}
	})
}

// A cookie that Macula changes reaches the gateway, and no link is lost; one
// that is not in force does not.
func TestMaculaChangesTheCookie(t *testing.T) {
	withMacula(t, []string{macula.GetCookie}, func(b *bench, h *maculaHost, _ *brittle) {
		pid := b.app("pulse").Pid
		b.diary()
		gateway := func(want string) {
			t.Helper()
			b.after(90 * time.Second)
			if c, _ := b.world.Nodes.Config("pulse"); c.HostCookie.Reveal() != want {
				t.Errorf("the gateway knows %q, want %q", c.HostCookie.Reveal(), want)
			}
			if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid || !a.Linked {
				t.Errorf("pid %d became %d, linked %v", pid, a.Pid, a.Linked)
			}
		}
		if _, err := h.HostVM.Call(t.Context(), "erlang", "set_cookie", term.Atom(reconciletest.HostNode), term.Atom("fresh")); err != nil {
			t.Fatal(err)
		}
		gateway("fresh")
		h.mu.Lock()
		h.lies = true
		h.mu.Unlock()
		gateway(reconciletest.ClusterCookie)
		if m := b.r.Status().Macula; m == nil || !strings.Contains(m.Error, "another cookie than the host VM has") || strings.Contains(m.Error, "fresh") {
			t.Errorf("status has %+v", m)
		}
		h.set()
		gateway(reconciletest.ClusterCookie)
		if m := b.r.Status().Macula; m != nil {
			t.Errorf("without the module, status has %+v", m)
		}
	})
}
