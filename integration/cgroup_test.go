//go:build integration

package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// cgroupFile reads a file of a process's cgroup: v1 below the controller's
// hierarchy, or v2 below the one of all of them. On a hybrid machine a
// controller is in one of the two.
func cgroupFile(t *testing.T, pid uint32, controller, v1, v2 string) string {
	t.Helper()
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	must(t, err)
	for l := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(l), ":", 3) // cgroups(7): ID, controllers, path
		file := filepath.Join("/sys/fs/cgroup", f[2], v2)
		if f[0] != "0" {
			if !slices.Contains(strings.Split(f[1], ","), controller) {
				continue
			}
			file = filepath.Join("/sys/fs/cgroup", controller, f[2], v1)
		}
		b, err := os.ReadFile(file)
		if err == nil {
			return strings.TrimSpace(string(b))
		}
		if f[0] != "0" || !errors.Is(err, fs.ErrNotExist) { // v2 without this controller
			t.Fatal(err)
		}
	}
	t.Fatalf("process %d is in no cgroup with controller %s: %s", pid, controller, groups)
	return ""
}

// cpuLimit is how much CPU time a guest gets in how much time, both in us.
func cpuLimit(t *testing.T, pid uint32) string {
	t.Helper()
	quota := cgroupFile(t, pid, "cpu", "cpu.cfs_quota_us", "cpu.max")
	if strings.Contains(quota, " ") { // v2 has both in one file
		return quota
	}
	return quota + " " + cgroupFile(t, pid, "cpu", "cpu.cfs_period_us", "cpu.max")
}

// memoryLimit is what the kernel holds a guest to, in bytes.
func memoryLimit(t *testing.T, pid uint32) int64 {
	t.Helper()
	text := cgroupFile(t, pid, "memory", "memory.limit_in_bytes", "memory.max")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("the cgroup of process %d has limit %q: %v", pid, text, err)
	}
	return n
}
