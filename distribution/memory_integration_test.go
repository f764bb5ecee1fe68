//go:build integration

package distribution

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
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

// TestOlderGatewayIsReplacedWhenItServesNobody: a program that was installed
// anew takes over, but cuts no link.
func TestOlderGatewayIsReplacedWhenItServesNobody(t *testing.T) {
	r := newRoom(t)
	var log bytes.Buffer
	r.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	g := r.start()
	pid := r.pid(g)
	m := r.member("gwolder")
	if _, err := g.Ensure(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	install := func(tail string) {
		t.Helper()
		program, err := os.ReadFile(r.cfg.Binary)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.cfg.Binary+".new", append(program, tail...), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(r.cfg.Binary+".new", r.cfg.Binary); err != nil {
			t.Fatal(err)
		}
	}
	again := func() int {
		t.Helper()
		g.Close()
		g = r.start()
		return r.pid(g)
	}
	install("")
	if now := again(); now != pid || strings.Contains(log.String(), "older program") {
		t.Errorf("the same program in another file: pid %d was %d, log:\n%s", now, pid, &log)
	}
	install("newer")
	if now := again(); now != pid || !strings.Contains(log.String(), "to replace it, kill it") {
		t.Errorf("a newer program, one member: pid %d was %d, log:\n%s", now, pid, &log)
	}
	if err := g.Remove(t.Context(), m.Name); err != nil {
		t.Fatal(err)
	}
	if now := again(); now == pid {
		t.Error("a newer program, no member: the older one serves on")
	}
}
