package main

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"beamsandbox/reconcile/status"
)

const namespace = "beamsandbox"

// What is labelled by app or rule is bounded: apps beyond maxApps have no
// labelled metrics, rules beyond maxRules count together as other.
const (
	maxApps  = 500
	maxRules = 64
	other    = "other"
)

// snapshot makes metrics of the newest status.
type snapshot struct {
	status func() status.Host
	events func() (executed, dropped, failed uint64)

	hostUp, gatewayUp, settled, fetched, apps, healthy *prometheus.Desc
	linked, memory, restarts, refused, drops, emitted  *prometheus.Desc
}

func newSnapshot(status func() status.Host, events func() (executed, dropped, failed uint64)) *snapshot {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
	}
	return &snapshot{
		status: status, events: events,
		hostUp:    desc("host_vm_up", "1 while the host VM is connected."),
		gatewayUp: desc("gateway_up", "1 while sandbox-gateway answers."),
		settled:   desc("settled", "1 when the last pass left nothing to do."),
		fetched:   desc("fetched_timestamp_seconds", "When the repository was last read."),
		apps:      desc("apps", "Apps by phase of their life.", "phase"),
		healthy:   desc("app_healthy", "1 while the app passes its checks.", "app"),
		linked:    desc("guest_linked", "1 while guest and host VM are connected.", "app"),
		memory:    desc("guest_memory_bytes", "Memory of the guest's control group.", "app"),
		restarts:  desc("app_restarts_total", "How often the app was started again.", "app"),
		refused:   desc("gateway_refused_total", "Messages between guest and host VM that the rules refused.", "app", "rule"),
		drops:     desc("firewall_dropped_packets_total", "Packets that the guest's firewall dropped.", "app", "rule"),
		emitted:   desc("telemetry_events_total", "Telemetry events for the host VM.", "result"),
	}
}

// Describe implements prometheus.Collector.
func (s *snapshot) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.hostUp, s.gatewayUp, s.settled, s.fetched, s.apps, s.healthy,
		s.linked, s.memory, s.restarts, s.refused, s.drops, s.emitted} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *snapshot) Collect(ch chan<- prometheus.Metric) {
	h := s.status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(s.hostUp, number(h.HostUp))
	gauge(s.gatewayUp, number(h.Gateway))
	gauge(s.settled, number(h.Settled))
	if !h.Fetched.IsZero() {
		gauge(s.fetched, float64(h.Fetched.Unix()))
	}
	phases := map[status.Phase]int{}
	for _, a := range h.Apps {
		phases[a.Phase]++
	}
	for _, p := range status.Phases() {
		gauge(s.apps, float64(phases[p]), string(p))
	}
	for _, a := range bounded(h.Apps) {
		gauge(s.healthy, number(a.Phase == status.Healthy), a.Name)
		count(s.restarts, uint64(max(a.Restarts, 0)), a.Name)
		if a.Isolation == "vm" {
			gauge(s.linked, number(a.Linked), a.Name)
			gauge(s.memory, float64(a.Memory), a.Name)
		}
		byRule(a.Refused, func(rule string, n uint64) { count(s.refused, n, a.Name, rule) })
		byRule(a.Drops, func(rule string, n uint64) { count(s.drops, n, a.Name, rule) })
	}
	executed, dropped, failed := s.events()
	count(s.emitted, executed, "executed")
	count(s.emitted, dropped, "dropped")
	count(s.emitted, failed, "failed")
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// bounded is the first maxApps apps.
func bounded(all []status.App) []status.App {
	return all[:min(len(all), maxApps)]
}

// byRule yields the counters by rule, beyond maxRules together.
func byRule(counters map[string]uint64, yield func(rule string, n uint64)) {
	var rest uint64
	for i, rule := range slices.Sorted(maps.Keys(counters)) {
		if i < maxRules && rule != other {
			yield(rule, counters[rule])
		} else {
			rest += counters[rule]
		}
	}
	if rest > 0 {
		yield(other, rest)
	}
}
