//go:build integration

package integration

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

// TestDeploy: from a git commit to a healthy guest that is a node of the
// cluster, and an embedded app beside it.
func TestDeploy(t *testing.T) {
	w.have(t, nil) // what runs already would not pass through all stages
	w.have(t, map[string]string{
		"pulse":   w.pulseConfig("pulse", "memory_limit => 128", 18085),
		"counter": w.counterConfig("embedded", "step => 5"),
	})
	nodes, err := w.host.Nodes(t.Context())
	must(t, err)
	if !slices.Equal(nodes, []string{w.Node("pulse")}) {
		t.Errorf("nodes() on the host VM = %v, want the guest alone", nodes)
	}
	if n, ok := mustHost(t, "counter", "value").(term.Int); !ok || n < 0 {
		t.Errorf("counter:value() in the host VM = %v", n)
	}
	a := w.daemon.App(t.Context(), "pulse")
	for _, want := range []string{"image", "network", "gateway", "task", "joined", "verified", "healthy"} {
		if !slices.ContainsFunc(a.Stages, func(s status.Stage) bool { return s.Name == want }) {
			t.Errorf("stage %s is not among %v", want, a.Stages)
		}
	}
	waitForBeat(t, "pulse", "1.0.0")
}

// TestCookies: the guest's cookie is its own, and no cookie is where other
// processes or git could read it.
func TestCookies(t *testing.T) {
	w.have(t, map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)})
	own, err := w.GuestCookie("pulse")
	must(t, err)
	inside := call(t, w.guest(t, "pulse"), "erlang", "get_cookie")
	if inside != term.Term(term.Atom(own)) || own == w.Cookie {
		t.Errorf("the guest's cookie must be the one kept for it and not the cluster's")
	}
	pid := w.daemon.App(t.Context(), "pulse").Pid
	for _, file := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		must(t, err)
		if len(b) == 0 || bytes.Contains(b, []byte(own)) || bytes.Contains(b, []byte(w.Cookie)) {
			t.Errorf("/proc/%d/%s is empty or holds a cookie", pid, file)
		}
	}
	out, err := w.Ctl("status", "-o", "json")
	must(t, err)
	log, err := os.ReadFile(w.daemon.Log)
	must(t, err)
	for name, text := range map[string][]byte{"status": []byte(out), "the daemon's log": log} {
		if bytes.Contains(text, []byte(own)) || bytes.Contains(text, []byte(w.Cookie)) {
			t.Errorf("%s holds a cookie", name)
		}
	}
}

// mustHost calls a function on the host VM.
func mustHost(t *testing.T, module, function string, args ...term.Term) term.Term {
	t.Helper()
	v, err := w.host.Call(t.Context(), module, function, args...)
	if err != nil {
		t.Fatalf("%s:%s on the host VM: %v", module, function, err)
	}
	return v
}

// waitForBeat waits until a new message {pulse, Node, Version, N} of that
// guest and version arrives in the host VM.
func waitForBeat(t *testing.T, name, version string) {
	t.Helper()
	beat := func() (count term.Int, from string) {
		heard, _ := mustHost(t, "demo_web", "heard").(term.Map)
		v, _ := heard.Get(term.Atom(w.Node(name)))
		if p, ok := v.(term.Tuple); ok {
			count, _ = p[0].(term.Int)
			if m, ok := p[1].(term.Tuple); ok {
				from, _ = term.Text(m[2])
			}
		}
		return count, from
	}
	before, _ := beat()
	must(t, stage.Until(within(t, 20*time.Second), "a beat of "+name+" "+version+" arrives", func() bool {
		n, v := beat()
		return n > before && v == version
	}))
}
