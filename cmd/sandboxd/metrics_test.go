package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/reconcile/status"
	"beamsandbox/reconcile/telemetry"
)

// scrape is what a Prometheus would read.
func scrape(t *testing.T, m *metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func counts() (executed, dropped, failed uint64) { return 5, 2, 1 }

func TestMetrics(t *testing.T) {
	h := status.Host{HostUp: true, Gateway: true, Fetched: time.Unix(1700000000, 0), Apps: []status.App{
		{Name: "pulse", Isolation: "vm", Phase: status.Healthy, Linked: true, Memory: 33 << 20, Restarts: 2,
			Refused: map[string]uint64{"name": 5}, Drops: map[string]uint64{"guest-egress": 7}},
		{Name: "counter", Isolation: "embedded", Phase: status.Healthy},
		{Name: "sick", Isolation: "vm", Phase: status.Backoff},
	}}
	m := newMetrics(func() status.Host { return h }, counts)
	m.observe(telemetry.Event{Scope: "reconcile", What: "stop", Took: 20 * time.Millisecond})
	m.observe(telemetry.Event{Scope: "reconcile", What: "error", Took: time.Second, Err: errors.New("no route")})
	m.observe(telemetry.Event{Scope: "build", What: "stop", Took: time.Second})
	m.observe(telemetry.Event{Scope: "vm", What: "spawn_stop", Took: time.Second})
	m.observe(telemetry.Event{Scope: "health", What: "check", Took: time.Millisecond, Err: errors.New("500")})
	m.observe(telemetry.Event{Scope: "deploy", What: "stop", Took: time.Second})
	got := scrape(t, m)
	for _, want := range []string{
		"beamsandbox_host_vm_up 1", "beamsandbox_gateway_up 1", "beamsandbox_settled 0", "beamsandbox_fetched_timestamp_seconds 1.7e+09",
		`beamsandbox_apps{phase="healthy"} 2`, `beamsandbox_apps{phase="backoff"} 1`, `beamsandbox_apps{phase="broken"} 0`,
		`beamsandbox_app_healthy{app="pulse"} 1`, `beamsandbox_app_healthy{app="sick"} 0`,
		`beamsandbox_guest_linked{app="pulse"} 1`, `beamsandbox_guest_linked{app="sick"} 0`,
		fmt.Sprintf(`beamsandbox_guest_memory_bytes{app="pulse"} %g`, float64(33<<20)),
		`beamsandbox_app_restarts_total{app="pulse"} 2`,
		`beamsandbox_gateway_refused_total{app="pulse",rule="name"} 5`,
		`beamsandbox_firewall_dropped_packets_total{app="pulse",rule="guest-egress"} 7`,
		`beamsandbox_telemetry_events_total{result="executed"} 5`, `beamsandbox_telemetry_events_total{result="dropped"} 2`,
		`beamsandbox_reconcile_duration_seconds_count{result="success"} 1`, `beamsandbox_reconcile_duration_seconds_count{result="failure"} 1`,
		`beamsandbox_build_duration_seconds_count{result="success"} 1`, `beamsandbox_guest_start_duration_seconds_sum{result="success"} 1`,
		`beamsandbox_health_check_duration_seconds_count{result="failure"} 1`,
		"go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("there is no %s", want)
		}
	}
	if strings.Contains(got, `guest_linked{app="counter"}`) {
		t.Error("an embedded app has a link")
	}
}

// TestMetricsAreBounded: many apps and many rules do not make as many metrics.
func TestMetricsAreBounded(t *testing.T) {
	var h status.Host
	for i := range maxApps + 50 {
		h.Apps = append(h.Apps, status.App{Name: fmt.Sprintf("app_%d", i), Phase: status.Healthy})
	}
	h.Apps[0].Refused = map[string]uint64{"other": 1}
	for i := range maxRules + 10 {
		h.Apps[0].Refused[fmt.Sprintf("rule_%03d", i)] = 1
	}
	got := scrape(t, newMetrics(func() status.Host { return h }, counts))
	if n := strings.Count(got, "\nbeamsandbox_app_healthy{"); n != maxApps {
		t.Errorf("%d apps", n)
	}
	if n := strings.Count(got, "\nbeamsandbox_gateway_refused_total{"); n != maxRules {
		t.Errorf("%d rules", n)
	}
	if want := `beamsandbox_gateway_refused_total{app="app_0",rule="other"} 12`; !strings.Contains(got, want) {
		t.Errorf("there is no %s", want)
	}
	if want := fmt.Sprintf(`beamsandbox_apps{phase="healthy"} %d`, maxApps+50); !strings.Contains(got, want) {
		t.Errorf("there is no %s", want)
	}
}

func TestMetricsAddress(t *testing.T) {
	for text, want := range map[string]string{
		`"127.0.0.1:9568"`: "127.0.0.1:9568", `<<"[::1]:9568">>`: "[::1]:9568", `"/run/m.sock"`: "/run/m.sock", `"./m.sock"`: "/etc/m.sock",
		`"0.0.0.0:9568"`: "", `"192.0.2.1:9568"`: "", `"127.0.0.1:0"`: "", `"localhost:9568"`: "", `9568`: "", `""`: "", `off`: "",
	} {
		c := defaults()
		err := c.read("/etc/x.config", []byte(`[{sandboxd, [{metrics, `+text+`}]}].`))
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "expected a loopback address")):
			t.Errorf("%s: %v", text, err)
		case want != "" && (err != nil || c.Metrics != want):
			t.Errorf("%s: %q, %v", text, c.Metrics, err)
		}
	}
}

// TestMetricsOverTheirSockets serves for real; an address that is taken is no
// reason to stop.
func TestMetricsOverTheirSockets(t *testing.T) {
	m := newMetrics(func() status.Host { return status.Host{} }, counts)
	log := slog.New(slog.DiscardHandler)
	serve := func(at string) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.serve(ctx, at, -1, log) }()
		return func() { cancel(); <-done }
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	serve(taken.Addr().String())() // ends while it waits
	socket := filepath.Join(t.TempDir(), "m.sock")
	defer serve(socket)()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		res, err := client.Get("http://sandboxd/metrics")
		if err == nil {
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			if !strings.Contains(string(body), "beamsandbox_host_vm_up 0") {
				t.Errorf("%s", body)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
