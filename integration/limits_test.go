//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
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

// TestSchedulerLimit: four busy processes get one CPU.
func TestSchedulerLimit(t *testing.T) {
	w.haveBeside(t, map[string]string{"pulse": w.pulseConfig("pulse", "scheduler_limit => 1", 18085)})
	g := w.guest(t, "pulse")
	if n := call(t, g, "erlang", "system_info", term.Atom("schedulers")); n != term.Term(term.Int(1)) {
		t.Errorf("schedulers = %v, want 1", n)
	}
	call(t, g, "pulse_load", "spin", term.Int(4))
	defer call(t, g, "pulse_load", "rest")
	pid := w.daemon.App(t.Context(), "pulse").Pid
	const window = 5 * time.Second
	began, used := time.Now(), cpuTime(t, pid)
	<-time.After(window)
	share := (cpuTime(t, pid) - used).Seconds() / time.Since(began).Seconds()
	t.Logf("4 busy processes used %.2f CPU seconds a second", share)
	if share > 1.1 || share < 0.5 {
		t.Errorf("%.2f CPUs used, want about 1 and at most 1.1", share)
	}
}

// cpuTime reads the cgroup of a process: cpuacct.usage (v1) or cpu.stat (v2).
func cpuTime(t *testing.T, pid uint32) time.Duration {
	t.Helper()
	groups, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/cgroup")
	must(t, err)
	for l := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(l), ":", 3)
		switch {
		case strings.Contains(f[1], "cpuacct"):
			b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/cpuacct", f[2], "cpuacct.usage"))
			must(t, err)
			ns, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
			must(t, err)
			return time.Duration(ns)
		case f[0] == "0" && f[2] != "/":
			b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", f[2], "cpu.stat"))
			if err != nil {
				continue // a hybrid machine has no cpu controller there
			}
			_, rest, ok := strings.Cut(string(b), "usage_usec ")
			if !ok {
				continue
			}
			us, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			must(t, err)
			return time.Duration(us) * time.Microsecond
		}
	}
	t.Fatalf("process %d is in no cgroup that counts CPU: %s", pid, groups)
	return 0
}
