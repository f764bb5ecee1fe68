//go:build integration

package integration

import (
	"testing"
	"time"

	"beamsandbox/reconcile/status"
)

// TestNothingIsLeft: after removing everything and stopping, the machine is as
// it was, caches apart.
func TestNothingIsLeft(t *testing.T) {
	w.have(t, map[string]string{
		"pulse":   w.pulseConfig("pulse", "memory_limit => 128", 18085),
		"counter": w.counterConfig("embedded", ""),
	})
	if left, err := w.Leftovers(t.Context()); err != nil || len(left) == 0 {
		t.Fatalf("nothing is counted while a guest runs (%v): this test would prove nothing", err)
	}
	w.push(t, nil)
	must(t, w.daemon.Await(within(t, 60*time.Second), "no app is left", func(h status.Host) bool {
		return len(h.Apps) == 0 && h.Settled
	}))
	must(t, w.daemon.Stop(20*time.Second))
	must(t, w.AwaitNothing(within(t, time.Minute)))
}
