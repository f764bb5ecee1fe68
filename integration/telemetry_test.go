//go:build integration

package integration

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
	"beamsandbox/reconcile/telemetry"
)

// metricsSocket is where the world's sandboxd serves metrics.
func (w *world) metricsSocket() string { return filepath.Join(w.RunDir, "metrics.sock") }

// heard is one event that a handler on the host VM got.
type heard struct {
	name         string // "deploy stop"
	app          string
	duration     term.Int // -1: none
	measurements term.Map
	metadata     term.Map
}

func hear(t *testing.T) []heard {
	t.Helper()
	list, _ := mustHost(t, "doctor_host", "heard").(term.List)
	var all []heard
	for _, e := range list.Elems {
		one, _ := e.(term.Tuple)
		name, _ := one[0].(term.List)
		h := heard{duration: -1}
		h.measurements, _ = one[1].(term.Map)
		h.metadata, _ = one[2].(term.Map)
		for _, n := range name.Elems {
			text, _ := term.Text(n)
			h.name = strings.TrimSpace(h.name + " " + text)
		}
		h.name = strings.TrimPrefix(h.name, "bc_gitops ")
		if v, ok := h.measurements.Get(term.Atom("duration")); ok {
			h.duration, _ = v.(term.Int)
		}
		if v, ok := h.metadata.Get(term.Atom("app")); ok {
			h.app, _ = term.Text(v)
		}
		all = append(all, h)
	}
	return all
}

// follow checks that events of pulse come in this order, others between them,
// and returns the last.
func follow(t *testing.T, all []heard, names ...string) heard {
	t.Helper()
	var last heard
	for _, n := range names {
		i := 0
		for i < len(all) && (all[i].name != n || all[i].app != "pulse") {
			i++
		}
		if i == len(all) {
			t.Errorf("%s does not follow in %+v", n, all)
			return heard{}
		}
		last, all = all[i], all[i+1:]
	}
	return last
}

// TestTelemetry: a handler that is attached on the host VM for bc_gitops's
// events gets them, with bc_gitops's metadata, and the metrics tell the same.
func TestTelemetry(t *testing.T) {
	w.have(t, map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)})
	w.teach(t, "telemetry")
	w.teach(t, "doctor_host")
	defer w.unteach(t, "telemetry")
	var events term.List
	for _, name := range telemetry.Events() {
		scope, what, _ := strings.Cut(name, " ")
		events.Elems = append(events.Elems, term.List{Elems: []term.Term{term.Atom("bc_gitops"), term.Atom(scope), term.Atom(what)}})
	}
	mustHost(t, "doctor_host", "listen", events)
	defer mustHost(t, "telemetry", "detach", term.Atom("doctor_host"))
	must(t, stage.Until(within(t, 20*time.Second), "the handler hears health checks", func() bool { return len(hear(t)) > 0 }))

	w.push(t, map[string]string{})
	must(t, w.daemon.Await(within(t, time.Minute), "pulse is gone", func(h status.Host) bool { return len(h.Apps) == 0 }))
	w.have(t, map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)})
	var all []heard
	must(t, stage.Until(within(t, 20*time.Second), "the handler hears of the deployment", func() bool {
		all = hear(t)
		return len(all) > 0 && contains(all, "deploy stop")
	}))
	removed := follow(t, all, "remove start", "vm stop_start", "vm stop_stop", "remove stop")
	if v, _ := removed.metadata.Get(term.Atom("result")); v != term.Term(term.Atom("ok")) || removed.duration <= 0 {
		t.Errorf("removal: %+v", removed)
	}
	follow(t, all, "cluster node_down", "cluster node_up")
	follow(t, all, "deploy start", "build start", "build stop", "vm spawn_start", "vm spawn_stop", "health check", "deploy stop")
	deployed := follow(t, all, "deploy stop")
	if v, _ := deployed.metadata.Get(term.Atom("result")); !strings.HasPrefix(term.Format(v), "{ok,#{") || deployed.duration <= 0 {
		t.Errorf("deployment: %+v", deployed)
	}
	for _, n := range []string{"reconcile start", "reconcile stop", "git pull", "parse start", "parse stop"} {
		if !contains(all, n) {
			t.Errorf("%s is not heard", n)
		}
	}
	got := w.scrape(t)
	for _, want := range []string{
		"beamsandbox_host_vm_up 1", "beamsandbox_gateway_up 1", `beamsandbox_apps{phase="healthy"} 1`, `beamsandbox_guest_linked{app="pulse"} 1`,
		`beamsandbox_reconcile_duration_seconds_count{result="success"}`, `beamsandbox_guest_start_duration_seconds_count{result="success"}`,
		`beamsandbox_telemetry_events_total{result="dropped"} 0`, `beamsandbox_telemetry_events_total{result="failed"} 0`,
	} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("there is no metric %s", want)
		}
	}
	must(t, stage.Until(within(t, 20*time.Second), "memory and refusals are measured", func() bool {
		got := w.scrape(t)
		_, memory, _ := strings.Cut(got, `beamsandbox_guest_memory_bytes{app="pulse"} `)
		return strings.Contains(got, `beamsandbox_gateway_refused_total{app="pulse",rule="`) && memory != "" && memory[0] != '0'
	}))
	if strings.Contains(got, w.Cookie) {
		t.Error("a metric holds the cookie")
	}
}

func contains(all []heard, name string) bool {
	for _, h := range all {
		if h.name == name {
			return true
		}
	}
	return false
}

// scrape reads the metrics as a Prometheus would.
func (w *world) scrape(t *testing.T) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", w.metricsSocket())
	}, DisableKeepAlives: true}}
	res, err := client.Get("http://sandboxd/metrics")
	must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return string(body)
}
