//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// TestEmbeddedFromSourceOnAnotherOTP: what is built here would not load into a
// host VM of another OTP. status says so before anything of it is there,
// whether it ran before or is new; a guest beside it runs on, and the app is
// back once the host VM is of the right release again.
func TestEmbeddedFromSourceOnAnotherOTP(t *testing.T) {
	guest := map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)}
	both := map[string]string{"pulse": guest["pulse"], "counter": w.counterConfig("embedded", "")}
	w.have(t, both)
	pid := w.daemon.App(t.Context(), "pulse").Pid
	command, env := otp27(t).Erl()
	w.replaceHost(t, command, env)
	back := func() { w.replaceHost(t, []string{"erl"}, nil) }
	defer func() { back() }()
	wantWrongOTP(t, "counter")

	w.push(t, guest)
	must(t, w.daemon.AwaitHealthy(within(t, 2*time.Minute), "pulse"))
	w.push(t, both)
	wantWrongOTP(t, "counter")
	if a := w.daemon.App(t.Context(), "pulse"); a.Pid != pid || !a.Linked {
		t.Errorf("the guest beside it: pid %d, then %d, linked %v", pid, a.Pid, a.Linked)
	}

	back()
	back = func() {}
	must(t, w.daemon.Sync(t.Context()))
	must(t, w.daemon.AwaitHealthy(within(t, 2*time.Minute), "counter", "pulse"))
	mustHost(t, "counter", "value")
}

// wantWrongOTP waits until an embedded app is told to be of another OTP than
// the host VM, and looks there for what may have been loaded all the same.
func wantWrongOTP(t *testing.T, name string) {
	t.Helper()
	const want = "another release of Erlang/OTP: the host VM runs OTP 27, "
	must(t, w.daemon.Await(within(t, 2*time.Minute), "the wrong OTP is told", func(h status.Host) bool {
		a := appOf(h, name)
		return h.HostOTP == "27" && a.Phase == status.Failed && a.Reason == "build_failed" && strings.Contains(a.Detail, want)
	}))
	out, err := w.Ctl("status", name)
	must(t, err)
	if !strings.Contains(out, want) || !strings.Contains(out, " holds OTP 25; set erlang to the host VM's") {
		t.Errorf("status %s says\n%s", name, out)
	}
	wantNothingLoaded(t, name)
}

// wantNothingLoaded checks that the host VM has no code of an app, knows no
// place to find it, and does not know the application.
func wantNothingLoaded(t *testing.T, name string) {
	t.Helper()
	app := term.Atom(name)
	for _, c := range []struct{ module, function, want string }{
		{"code", "is_loaded", "false"}, {"code", "which", "non_existing"}, {"application", "get_all_key", "undefined"},
	} {
		if got := term.Format(mustHost(t, c.module, c.function, app)); got != c.want {
			t.Errorf("%s:%s(%s) in the host VM: %s, want %s", c.module, c.function, name, got, c.want)
		}
	}
	if paths := term.Format(mustHost(t, "code", "get_path")); strings.Contains(paths, "images/releases") {
		t.Errorf("something of ours is on the host VM's code path: %s", paths)
	}
}
