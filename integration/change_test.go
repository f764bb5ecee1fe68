//go:build integration

package integration

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// TestBrokenBesideGood: the good app runs; status and validate say where the
// bad one is wrong.
func TestBrokenBesideGood(t *testing.T) {
	w.have(t, map[string]string{"counter": w.counterConfig("vm", "")})
	pid := w.daemon.App(t.Context(), "counter").Pid
	w.push(t, map[string]string{
		"counter": w.counterConfig("vm", ""),
		"bad":     "#{name => bad,\n  version => <<\"1\">>,\n  isolation => cloud}.",
	})
	const place = "apps/bad/app.config:3:16"
	must(t, w.daemon.Await(within(t, 20*time.Second), "the bad app is listed", func(h status.Host) bool {
		a := appOf(h, "bad")
		return a.Phase == status.Broken && strings.Contains(a.Detail, place)
	}))
	if a := w.daemon.App(t.Context(), "counter"); a.Phase != status.Healthy || a.Pid != pid {
		t.Errorf("the good app is %s, pid %d, want healthy, pid %d", a.Phase, a.Pid, pid)
	}
	out, err := w.Ctl("validate", w.gitops.Dir)
	if err == nil || !strings.Contains(out, place) || !strings.Contains(out, "ok      counter") {
		t.Errorf("validate: %v\n%s", err, out)
	}
	if out, err := w.Ctl("status"); err != nil || !strings.Contains(out, place) {
		t.Errorf("status: %v\n%s", err, out)
	}
}

// TestUpgrade: a new version of the source replaces the guest; a version that
// does not build replaces nothing.
func TestUpgrade(t *testing.T) {
	w.have(t, map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)})
	pid := w.daemon.App(t.Context(), "pulse").Pid
	release(t, "1.1.0", func(b []byte) []byte { return b })
	must(t, w.pulse.Write("src/pulse_app.erl", []byte("-module(pulse_app).\nthis is not Erlang\n")))
	must(t, errors.Join(w.pulse.Commit("Break it"), w.pulse.Tag("v1.2.0")))
	at := func(version string) map[string]string {
		return map[string]string{"pulse": strings.ReplaceAll(w.pulseConfig("pulse", "", 18085), "1.0.0", version)}
	}
	w.push(t, at("1.2.0"))
	must(t, w.daemon.Await(within(t, 90*time.Second), "the build's failure is told", func(h status.Host) bool {
		a := appOf(h, "pulse")
		return a.Reason == "build_failed" && strings.Contains(a.Detail, "pulse_app.erl")
	}))
	if a := w.daemon.App(t.Context(), "pulse"); a.Pid != pid || !a.Linked {
		t.Errorf("a failed build touched what runs: pid %d, linked %v", a.Pid, a.Linked)
	}
	w.push(t, at("1.1.0"))
	must(t, w.daemon.Await(within(t, 90*time.Second), "pulse 1.1.0 is healthy", func(h status.Host) bool {
		a := appOf(h, "pulse")
		return a.Version == "1.1.0" && a.Phase == status.Healthy
	}))
	waitForBeat(t, "pulse", "1.1.0")
}

// release commits and tags another version of pulse.
func release(t *testing.T, version string, change func([]byte) []byte) {
	t.Helper()
	for _, f := range []string{"src/pulse.app.src", "rebar.config"} {
		b, err := w.pulse.Read(f)
		must(t, err)
		must(t, w.pulse.Write(f, change(bytes.ReplaceAll(b, []byte("1.0.0"), []byte(version)))))
	}
	must(t, errors.Join(w.pulse.Commit("Release "+version), w.pulse.Tag("v"+version)))
}

// TestReconfigure: only env changed, so the running node gets it and goes on.
func TestReconfigure(t *testing.T) {
	for _, isolation := range []string{"vm", "embedded"} {
		t.Run(isolation, func(t *testing.T) {
			w.have(t, map[string]string{"counter": w.counterConfig(isolation, "step => 1")})
			before := w.daemon.App(t.Context(), "counter")
			w.push(t, map[string]string{"counter": w.counterConfig(isolation, "step => 1000")})
			get := func() term.Term {
				if isolation == "embedded" {
					return mustHost(t, "application", "get_env", term.Atom("counter"), term.Atom("step"))
				}
				return mustHost(t, "rpc", "call", term.Atom(w.Node("counter")), term.Atom("application"), term.Atom("get_env"),
					term.List{Elems: []term.Term{term.Atom("counter"), term.Atom("step")}})
			}
			must(t, w.daemon.Await(within(t, 20*time.Second), "step is 1000 in the running app", func(h status.Host) bool {
				return appOf(h, "counter").Phase == status.Healthy && term.Format(get()) == "{ok,1000}"
			}))
			if after := w.daemon.App(t.Context(), "counter"); after.Pid != before.Pid || after.Restarts != before.Restarts {
				t.Errorf("the app was started again: pid %d, then %d", before.Pid, after.Pid)
			}
		})
	}
}

// TestMove: embedded to vm and back.
func TestMove(t *testing.T) {
	w.have(t, map[string]string{"counter": w.counterConfig("embedded", "")})
	mustHost(t, "counter", "value")
	w.have(t, map[string]string{"counter": w.counterConfig("vm", "")})
	must(t, w.daemon.Await(within(t, 60*time.Second), "counter is a guest", func(h status.Host) bool {
		a := appOf(h, "counter")
		return a.Isolation == "vm" && a.Linked && a.Phase == status.Healthy
	}))
	if v := term.Format(mustHost(t, "code", "which", term.Atom("counter"))); v != "non_existing" {
		t.Errorf("code:which(counter) in the host VM = %s after it moved out", v)
	}
	w.have(t, map[string]string{"counter": w.counterConfig("embedded", "")})
	must(t, w.daemon.Await(within(t, 60*time.Second), "counter is embedded again", func(h status.Host) bool {
		a := appOf(h, "counter")
		return a.Isolation == "embedded" && a.Phase == status.Healthy
	}))
	mustHost(t, "counter", "value")
}
