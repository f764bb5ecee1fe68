//go:build integration

package runtime_test

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/runtime"
)

// TestAdoption plays a daemon that dies and starts again.
func TestAdoption(t *testing.T) {
	r := newRoom(t)
	kept, ended := r.ensure(guest("kept")), r.ensure(guest("ended"))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(int(ended.Pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.Tasks = runtime.NewTasks(shared.stack, r.cfg)
	events := r.events()
	if again := r.ensure(guest("kept")); again.Pid != kept.Pid || again.LogPath != kept.LogPath {
		t.Errorf("adopted %+v, want %+v", again, kept)
	}
	if err := syscall.Kill(int(kept.Pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for {
		if ev := r.next(events); ev.Name == "kept" {
			break
		}
	}
	all, err := r.List(t.Context())
	for deadline := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(deadline); all, err = r.List(t.Context()) {
		if !slices.ContainsFunc(all, func(t runtime.Task) bool { return t.State == runtime.Running }) {
			break
		}
	}
	if err != nil || len(all) != 2 {
		t.Fatalf("List: %+v, %v", all, err)
	}
	for _, task := range all {
		if task.State != runtime.Stopped || task.Exit == nil || task.Exit.Status != 137 {
			t.Errorf("%+v, want stopped by SIGKILL", task)
		}
	}
}

// TestContainerdDies: guests do not notice, and what happened meanwhile is told.
func TestContainerdDies(t *testing.T) {
	r := newRoom(t)
	events := r.events()
	kept, ends := r.ensure(guest("kept")), r.ensure(guest("ends"))
	raw, err := os.ReadFile(shared.dir + "/r/containerd.pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Kill(pid, syscall.SIGKILL), syscall.Kill(int(ends.Pid), syscall.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	if ev := r.next(events); ev.Name != "ends" || ev.Pid != ends.Pid || ev.Exit.Status != 137 && ev.Exit.Status != 255 {
		t.Errorf("event %+v, want SIGKILL's status, or 255 when containerd cleaned up first", ev)
	}
	if again := r.ensure(guest("kept")); again.Pid != kept.Pid {
		t.Errorf("the guest was replaced: %+v", again)
	}
}

// TestShimDies: the guest goes with its shim, and that is told.
func TestShimDies(t *testing.T) {
	r := newRoom(t)
	events := r.events()
	task := r.ensure(guest("orphan"))
	var shim int
	for line := range strings.Lines(procFile(t, task.Pid, "status")) {
		if ppid, ok := strings.CutPrefix(line, "PPid:"); ok {
			shim, _ = strconv.Atoi(strings.TrimSpace(ppid))
		}
	}
	if name := procFile(t, uint32(shim), "comm"); !strings.HasPrefix(name, "containerd-shim") {
		t.Fatalf("the parent of the guest is %q", name)
	}
	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if ev := r.next(events); ev.Name != "orphan" || ev.Pid != task.Pid {
		t.Errorf("event %+v", ev)
	}
	if again := r.ensure(guest("orphan")); again.Pid == task.Pid || again.State != runtime.Running {
		t.Errorf("after its shim died: %+v", again)
	}
}
