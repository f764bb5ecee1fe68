//go:build integration

package integration

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

// TestMemoryLimit: a guest that takes more than it may is ended by its cgroup
// and comes back; the host VM and the other guest never lose their link.
func TestMemoryLimit(t *testing.T) {
	w.haveBeside(t, map[string]string{
		"pulse":   w.pulseConfig("pulse", "memory_limit => 64", 18085),
		"counter": w.counterConfig("vm", "http_port => 18086"),
	})
	before := w.daemon.App(t.Context(), "pulse")
	downs := len(changes(t))
	call(t, w.guest(t, "pulse"), "pulse_load", "allocate", term.Int(200))
	sawOOM := false
	must(t, w.daemon.Await(within(t, 60*time.Second), "pulse was killed and is back", func(h status.Host) bool {
		a := appOf(h, "pulse")
		sawOOM = sawOOM || a.Reason == "oom_killed"
		return sawOOM && a.Phase == status.Healthy && a.Pid != before.Pid && a.Restarts == before.Restarts+1
	}))
	for _, c := range changes(t)[downs:] {
		if strings.Contains(c, "counter@") {
			t.Errorf("the host VM saw %s while another guest was killed", c)
		}
	}
	if !w.host.Running() {
		t.Error("the host VM ended")
	}
}

// changes are the node ups and downs that the host VM saw.
func changes(t *testing.T) []string {
	t.Helper()
	list, _ := mustHost(t, "demo_web", "changes").(term.List)
	var out []string
	for _, e := range list.Elems {
		out = append(out, term.Format(e))
	}
	return out
}

// TestSchedulerLimit: four busy processes get one CPU, and on a busy machine
// less.
func TestSchedulerLimit(t *testing.T) {
	w.haveBeside(t, map[string]string{"pulse": w.pulseConfig("pulse", "scheduler_limit => 1", 18085)})
	g := w.guest(t, "pulse")
	if n := call(t, g, "erlang", "system_info", term.Atom("schedulers")); n != term.Term(term.Int(1)) {
		t.Errorf("schedulers = %v, want 1", n)
	}
	call(t, g, "pulse_load", "spin", term.Int(4))
	defer call(t, g, "pulse_load", "rest")
	pid := w.daemon.App(t.Context(), "pulse").Pid
	if got := cpuLimit(t, pid); got != "100000 100000" {
		t.Errorf("the kernel gives it %s us of CPU time, want 100000 100000", got)
	}
	began, used := time.Now(), cpuTime(t, pid)
	must(t, stage.Until(within(t, 2*time.Minute), "they have used CPU time for long enough", func() bool {
		return cpuTime(t, pid)-used > 4*time.Second
	}))
	share := (cpuTime(t, pid) - used).Seconds() / time.Since(began).Seconds()
	t.Logf("4 busy processes used %.2f CPU seconds a second", share)
	if share > 1.1 {
		t.Errorf("%.2f CPUs used, want at most 1.1", share)
	}
}

// cpuTime is the CPU time of a process's cgroup: cpuacct.usage is in ns (v1),
// cpu.stat in us (v2).
func cpuTime(t *testing.T, pid uint32) time.Duration {
	t.Helper()
	text, unit := cgroupFile(t, pid, "cpuacct", "cpuacct.usage", "cpu.stat"), time.Nanosecond
	if _, rest, ok := strings.Cut(text, "usage_usec "); ok {
		text, unit = strings.Fields(rest)[0], time.Microsecond
	}
	n, err := strconv.ParseInt(text, 10, 64)
	must(t, err)
	return time.Duration(n) * unit
}
