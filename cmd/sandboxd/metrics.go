package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
	"beamsandbox/reconcile/telemetry"
)

// metrics are what Prometheus may read of a daemon (docs/metrics.md): what
// happens is counted as it does, what is comes from the newest status.
type metrics struct {
	registry   *prometheus.Registry
	reconciles *prometheus.HistogramVec // by result
	builds     *prometheus.HistogramVec
	starts     *prometheus.HistogramVec
	checks     *prometheus.HistogramVec
}

// newMetrics reads status whenever it is asked for metrics; events counts
// telemetry events as telemetry.Emitter.Counts does.
func newMetrics(status func() status.Host, events func() (executed, dropped, failed uint64)) *metrics {
	m := &metrics{
		registry:   prometheus.NewRegistry(),
		reconciles: durations("reconcile", "Looks at the repository.", prometheus.ExponentialBuckets(0.01, 3, 8)),
		builds:     durations("build", "Images made or found.", prometheus.ExponentialBuckets(0.05, 3, 9)),
		starts:     durations("guest_start", "Guests from their start until they joined.", prometheus.ExponentialBuckets(0.1, 2, 9)),
		checks:     durations("health_check", "Health checks of apps.", prometheus.ExponentialBuckets(0.001, 4, 7)),
	}
	m.registry.MustRegister(m.reconciles, m.builds, m.starts, m.checks, newSnapshot(status, events),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func durations(name, help string, buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name + "_duration_seconds", Help: help, Buckets: buckets,
	}, []string{"result"})
}

// observe counts what happened.
func (m *metrics) observe(e telemetry.Event) {
	result := "success"
	if e.Err != nil {
		result = "failure"
	}
	var h *prometheus.HistogramVec
	switch e.Scope + " " + e.What {
	case "reconcile stop", "reconcile error":
		h = m.reconciles
	case "build stop":
		h = m.builds
	case "vm spawn_stop":
		h = m.starts
	case "health check":
		h = m.checks
	default:
		return
	}
	h.WithLabelValues(result).Observe(e.Took.Seconds())
}

func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 5 * time.Second}))
	return mux
}

// metricsRetry is how long to wait for an address that somebody else has.
const metricsRetry = 15 * time.Second

// serve answers at the configured address until ctx ends, "" nowhere. An
// address that cannot be had is no reason to leave guests alone: it is tried
// again.
func (m *metrics) serve(ctx context.Context, at string, gid int, log *slog.Logger) {
	for at != "" && ctx.Err() == nil {
		l, err := listenMetrics(at, gid)
		if err == nil {
			log.Info("metrics are served", "at", at)
			m.serveOn(ctx, l, log)
			return
		}
		log.Error("metrics are not served", "at", at, "err", err, "retry_in", metricsRetry)
		select {
		case <-ctx.Done():
		case <-time.After(metricsRetry):
		}
	}
}

func listenMetrics(at string, gid int) (net.Listener, error) {
	if filepath.IsAbs(at) {
		return control.Listen(at, gid)
	}
	return net.Listen("tcp", at)
}

func (m *metrics) serveOn(ctx context.Context, l net.Listener, log *slog.Logger) {
	s := &http.Server{Handler: m.handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); err != nil && ctx.Err() == nil {
		log.Error("serve metrics", "err", err)
	}
}

const metricsForm = `a loopback address such as "127.0.0.1:9568", or the path of a socket`

// metricsAddress reads where to serve metrics. Nobody is asked who he is there,
// so it must not be reached from other machines.
func metricsAddress(dir string, p *string) func(term.Term) bool {
	return func(t term.Term) bool {
		s, ok := term.Text(t)
		if !ok || strings.ContainsAny(s, "\x00\n") {
			return false
		}
		if strings.Contains(s, "/") {
			return path(dir, p)(t)
		}
		at, err := netip.ParseAddrPort(s)
		*p = at.String()
		return err == nil && at.Addr().IsLoopback() && at.Port() != 0
	}
}

// span writes what took its time to the log, as one span of a trace.
func span(log *slog.Logger, e telemetry.Event) {
	if e.Took < 0 {
		return
	}
	level := slog.LevelDebug
	switch e.Scope {
	case "deploy", "upgrade", "remove", "build", "vm":
		level = slog.LevelInfo
	}
	name := fmt.Sprintf("bc_gitops.%s.%s", e.Scope, e.What)
	log.Log(context.Background(), level, "span", "span", name, "app", e.App, "start", time.Now().Add(-e.Took).UTC(), "took", e.Took, "err", e.Err)
}
