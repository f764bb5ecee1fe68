//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// TestGuestCannotCommandTheHost: what a guest in its container sends to the host
// VM's servers does nothing, is counted and can be read; the link stays up.
func TestGuestCannotCommandTheHost(t *testing.T) {
	w.haveBeside(t, map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)})
	g := w.guest(t, "pulse")
	before := w.daemon.App(t.Context(), "pulse")
	for _, code := range []string{
		"gen_server:cast({rex, H}, {cast, application, set_env, [kernel, taken, 1], group_leader()})",
		"catch gen_server:call({net_kernel, H}, {spawn, application, set_env, [kernel, taken, 1], group_leader()}, 1000)",
		"{user, H} ! {io_request, self(), make_ref(), {put_chars, unicode, application, set_env, [kernel, taken, 1]}}",
		"catch gen_server:call({application_controller, H}, {set_env, kernel, taken, 1, []}, 1000)",
		"{init, H} ! {stop, stop}",
	} {
		text := strings.ReplaceAll(code, "H}", fmt.Sprintf("'%s'}", w.host.Name))
		call(t, g, "erl_eval", "exprs", parsed(t, g, text+", ok."), term.List{})
	}
	must(t, w.daemon.Await(within(t, time.Minute), "the refusals are counted", func(h status.Host) bool {
		return appOf(h, "pulse").Refused["name"] >= before.Refused["name"]+5
	}))
	if v := mustHost(t, "application", "get_env", term.Atom("kernel"), term.Atom("taken")); v != term.Term(term.Atom("undefined")) {
		t.Errorf("the host VM obeyed the guest: %s", term.Format(v))
	}
	waitForBeat(t, "pulse", "1.0.0")
	after := w.daemon.App(t.Context(), "pulse")
	if after.Restarts != before.Restarts || !after.Linked {
		t.Errorf("the guest was linked before, and now: %+v", after)
	}
	out, err := w.Ctl("status", "pulse")
	must(t, err)
	if !strings.Contains(out, "to init, rule name: {stop,stop}") {
		t.Errorf("status does not show the last refusal:\n%s", out)
	}
}
