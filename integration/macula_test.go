//go:build integration

package integration

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

// maculaModule is a module macula that exports some of these functions and
// counts their calls, and those of what it does not export.
const maculaModule = `-module(macula).
-export([%s]).
-export(['$handle_undefined_function'/2]).
'$handle_undefined_function'(F, _) -> note(F), error(undef).
ensure_distributed() -> note(ensure_distributed).
get_cookie() -> note(get_cookie), erlang:get_cookie().
set_cookie(C) -> erlang:set_cookie(C), note(set_cookie).
monitor_nodes() -> note(monitor_nodes).
unmonitor_nodes() -> note(unmonitor_nodes).
note(F) -> persistent_term:put({macula, F}, persistent_term:get({macula, F}, 0) + 1), ok.
`

// TestMacula: what the host VM's module macula exports is asked of it, and
// what it does not is done by ourselves: with all, some and none of the five
// functions. Its cookie is the cluster's.
func TestMacula(t *testing.T) {
	w.have(t, map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)})
	all := []string{"ensure_distributed/0", "get_cookie/0", "set_cookie/1", "monitor_nodes/0", "unmonitor_nodes/0"}
	if m := w.hostStatus(t).Macula; m != nil {
		t.Fatalf("without the module, status has %+v", m)
	}
	w.runMacula(t, all...)
	wantAsked(t, "ensure_distributed", "get_cookie", "monitor_nodes")
	if out, err := w.Ctl("status"); err != nil || !strings.Contains(out, "macula    asked for ensure_distributed/0 get_cookie/0") {
		t.Errorf("status: %v\n%s", err, out)
	}

	// The cluster gets another cookie, which nobody but Macula tells sandboxd.
	pid := w.daemon.App(t.Context(), "pulse").Pid
	t.Cleanup(func() { afterwards(t, "erlang", "set_cookie", term.Atom(w.Cookie)) })
	mustHost(t, "erlang", "set_cookie", term.Atom(rand.Text()))
	w.relink(t)
	daemon := term.Atom(w.Node("sandboxd"))
	mustHost(t, "erlang", "disconnect_node", daemon)
	must(t, stage.Until(within(t, 20*time.Second), "sandboxd is connected again", func() bool {
		hidden, _ := mustHost(t, "erlang", "nodes", term.Atom("hidden")).(term.List)
		return slices.Contains(hidden.Elems, term.Term(daemon))
	}))

	w.awaitMacula(t, "Macula is asked again", func(m *status.Macula) bool { return m != nil && len(m.Own) == 0 })
	must(t, w.daemon.Stop(20*time.Second))
	if asked(t, "unmonitor_nodes") != 1 {
		t.Errorf("macula:unmonitor_nodes/0 was called %d times by a sandboxd that ended", asked(t, "unmonitor_nodes"))
	}
	mustHost(t, "erlang", "set_cookie", term.Atom(w.Cookie))
	var err error
	w.daemon, err = w.RestartDaemon(within(t, 20*time.Second))
	must(t, err)
	w.runMacula(t, "get_cookie/0", "monitor_nodes/0")
	wantAsked(t, "get_cookie", "monitor_nodes")
	w.relink(t) // which our own watch of nodes tells, beside Macula's
	wantAsked(t, "get_cookie", "monitor_nodes")
	w.runMacula(t)
	wantAsked(t)
	w.relink(t) // with the cookie that sandboxd has by itself
	wantAsked(t)
	unloadFromHost(t, "macula")
	w.awaitMacula(t, "the module is gone", func(m *status.Macula) bool { return m == nil })
	w.relink(t)
	if a := w.daemon.App(t.Context(), "pulse"); a.Pid != pid {
		t.Errorf("the guest was started again: pid %d, before %d", a.Pid, pid)
	}
}

// runMacula loads the module with these functions in place of the one that is
// there and waits until status shows that they are asked and the others are not.
// Calls are counted from here on.
func (w *world) runMacula(t *testing.T, functions ...string) {
	t.Helper()
	unloadFromHost(t, "macula")
	w.awaitMacula(t, "no Macula is known", func(m *status.Macula) bool { return m == nil })
	for _, f := range maculaFunctions() {
		mustHost(t, "persistent_term", "erase", term.Tuple{term.Atom("macula"), term.Atom(f)})
	}
	countAlive(t)
	loadOnHost(t, "macula", fmt.Sprintf(maculaModule, strings.Join(functions, ", ")))
	w.awaitMacula(t, fmt.Sprintf("Macula serves %v", functions), func(m *status.Macula) bool {
		return m != nil && slices.Equal(m.Asked, functions) && len(m.Own) == 5-len(functions) && m.Error == ""
	})
}

func (w *world) awaitMacula(t *testing.T, what string, ok func(*status.Macula) bool) {
	t.Helper()
	must(t, w.daemon.Await(within(t, 20*time.Second), what, func(h status.Host) bool {
		if ok(h.Macula) {
			return true
		}
		return w.daemon.Sync(t.Context()) != nil // it looks again
	}))
}

func (w *world) hostStatus(t *testing.T) status.Host {
	t.Helper()
	h, err := w.daemon.Status(t.Context())
	must(t, err)
	return h
}

// relink cuts the guest's link and waits until the host VM, with the cookie
// that it has now, and the gateway have made a new one.
func (w *world) relink(t *testing.T) {
	t.Helper()
	must(t, w.daemon.Sync(t.Context()))
	mustHost(t, "erlang", "disconnect_node", term.Atom(w.Node("pulse")))
	must(t, w.daemon.Await(within(t, 30*time.Second), "the guest is linked again", func(h status.Host) bool {
		nodes, err := w.host.Nodes(t.Context())
		return err == nil && slices.Contains(nodes, w.Node("pulse")) && appOf(h, "pulse").Phase == status.Healthy
	}))
}

func maculaFunctions() []string {
	return []string{"ensure_distributed", "get_cookie", "set_cookie", "monitor_nodes", "unmonitor_nodes"}
}

// wantAsked wants that these functions were called since runMacula and no others,
// exported or not, and that we asked the host VM ourselves whether it is a node
// where Macula does not say so.
func wantAsked(t *testing.T, functions ...string) {
	t.Helper()
	for _, f := range maculaFunctions() {
		if got := asked(t, f); (got > 0) != slices.Contains(functions, f) {
			t.Errorf("of %v, macula:%s was called %d times", functions, f, got)
		}
	}
	if n := aliveAsked(t); (n > 0) == slices.Contains(functions, "ensure_distributed") {
		t.Errorf("with %v, erlang:is_alive/0 was called %d times", functions, n)
	}
}

// isAlive is what our own implementation of ensure_distributed calls.
func isAlive() term.Term {
	return term.Tuple{term.Atom("erlang"), term.Atom("is_alive"), term.Int(0)}
}

// countAlive has the host VM count its calls from now on.
func countAlive(t *testing.T) {
	t.Helper()
	for _, on := range []string{"false", "true"} {
		mustHost(t, "erlang", "trace_pattern", isAlive(), term.Atom(on), term.List{Elems: []term.Term{term.Atom("call_count")}})
	}
	t.Cleanup(func() {
		afterwards(t, "erlang", "trace_pattern", isAlive(), term.Atom("false"), term.List{Elems: []term.Term{term.Atom("call_count")}})
	})
}

func aliveAsked(t *testing.T) int {
	t.Helper()
	answer, _ := mustHost(t, "erlang", "trace_info", isAlive(), term.Atom("call_count")).(term.Tuple)
	if len(answer) != 2 {
		t.Fatal("calls of erlang:is_alive/0 are not counted")
	}
	n, ok := answer[1].(term.Int)
	if !ok {
		t.Fatalf("calls of erlang:is_alive/0 are not counted: %s", term.Format(answer))
	}
	return int(n)
}

// asked is how often a function of module macula was called.
func asked(t *testing.T, function string) int {
	t.Helper()
	n, _ := mustHost(t, "persistent_term", "get", term.Tuple{term.Atom("macula"), term.Atom(function)}, term.Int(0)).(term.Int)
	return int(n)
}
