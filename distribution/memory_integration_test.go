//go:build integration

package distribution

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestGatewaysMemoryIsBounded: by its garbage collector's aim and by a control
// group of the version that this machine has, which goes with it.
func TestGatewaysMemoryIsBounded(t *testing.T) {
	r := newRoom(t)
	g := r.start()
	pid := r.pid(g)
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !strings.Contains(string(env), "GOMEMLIMIT="+memoryLimit) {
		t.Errorf("the gateway's environment is %q, %v", env, err)
	}
	held, err := newGroup(cgroupRoot, r.cfg.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	limit, err := os.ReadFile(filepath.Join(held.dir, held.limit))
	if err != nil || strings.TrimSpace(string(limit)) != strconv.Itoa(memoryMax) {
		t.Errorf("the limit is %s, %v", limit, err)
	}
	procs, err := os.ReadFile(filepath.Join(held.dir, "cgroup.procs"))
	if err != nil || strings.TrimSpace(string(procs)) != strconv.Itoa(pid) {
		t.Errorf("in the group is %q, %v, want %d", procs, err, pid)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := g.Quit(ctx); err != nil || there(held.dir) {
		t.Errorf("after the gateway's end: %v, its group is there: %v", err, there(held.dir))
	}
}
