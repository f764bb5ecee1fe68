//go:build integration

package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/runtime"
)

func job(name string, args ...string) (runtime.JobConfig, *bytes.Buffer) {
	var out bytes.Buffer
	return runtime.JobConfig{
		Name: name, Image: probeImage, Args: append([]string{"/probe"}, args...),
		Memory: 128 << 20, Pids: 64, Timeout: 30 * time.Second, Log: &out,
	}, &out
}

func TestJobExits(t *testing.T) {
	r := newRoom(t)
	c, _ := job("exits", "exit", "3")
	began := time.Now()
	exit, err := r.RunJob(t.Context(), c)
	t.Logf("a job of nothing: %v", time.Since(began))
	if err != nil || exit != 3 {
		t.Errorf("exit %d, %v; want 3", exit, err)
	}
	r.residue()
}

func TestJobWritesIntoItsMounts(t *testing.T) {
	r := newRoom(t)
	work, source := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "in"), []byte("from outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	mounts := []runtime.JobMount{{Source: work, Target: "/made"}, {Source: source, Target: "/source", ReadOnly: true}}
	for want, args := range map[string][]string{
		"<nil>":                 {"write", "/made/file"},
		"from outside <nil>":    {"read", "/source/in"},
		"read-only file system": {"write", "/source/made"},
	} {
		c, out := job("writes", args...)
		c.Mounts, c.Dir = mounts, "/made"
		if exit, err := r.RunJob(t.Context(), c); err != nil || exit != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%v: exit %d, %v, output %q; want %q", args, exit, err, out, want)
		}
	}
	info, err := os.Stat(filepath.Join(work, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != uint32(os.Getuid()) {
		t.Errorf("what the job made belongs to %d, want the owner of the folder", owner)
	}
}

func TestJobIsBehindWalls(t *testing.T) {
	r := newRoom(t)
	c, out := job("looks", "look")
	c.Timeout = 5 * time.Second
	c.TmpBytes = 4 << 20
	if _, err := r.RunJob(t.Context(), c); !errors.Is(err, runtime.ErrJobTimeout) {
		t.Errorf("error %v, want a timeout", err)
	}
	for _, want := range []string{"CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "interfaces 1", "read-only file system", "unshare operation not permitted"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestJobEndsThatAreNotItsOwn(t *testing.T) {
	r := newRoom(t)
	hog, _ := job("hog", "alloc", "300")
	if _, err := r.RunJob(t.Context(), hog); !errors.Is(err, runtime.ErrJobMemory) {
		t.Errorf("300 MB of 128: %v", err)
	}
	slow, _ := job("slow", "wait")
	slow.Timeout = 300 * time.Millisecond
	if _, err := r.RunJob(t.Context(), slow); !errors.Is(err, runtime.ErrJobTimeout) || !strings.Contains(err.Error(), "slow") {
		t.Errorf("a job without end: %v", err)
	}
	bomb, _ := job("bomb", "threads", "500")
	if _, err := r.RunJob(t.Context(), bomb); !errors.Is(err, runtime.ErrJobPids) {
		t.Errorf("500 threads of 64: %v", err)
	}
	stopped, _ := job("stopped", "wait")
	ctx, cancel := context.WithCancel(t.Context())
	stopped.Log = cancelWriter(cancel) // it prints once it runs
	if _, err := r.RunJob(ctx, stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled job: %v", err)
	}
	missing, _ := job("missing")
	missing.Args = []string{"/nowhere"}
	if _, err := r.RunJob(t.Context(), missing); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("a missing command: %v", err)
	}
	r.residue()
}

type cancelWriter context.CancelFunc

func (c cancelWriter) Write(p []byte) (int, error) {
	c()
	return len(p), nil
}

func TestJobsAreNoGuests(t *testing.T) {
	r := newRoom(t)
	c, _ := job("unseen", "wait")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan int, 1)
	c.Log = writerFunc(func(p []byte) (int, error) {
		all, err := r.List(context.Background())
		if err != nil {
			t.Error(err)
		}
		seen <- len(all)
		cancel()
		return len(p), nil
	})
	if _, err := r.RunJob(ctx, c); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(seen)
	if n, told := <-seen; n != 0 || !told {
		t.Errorf("List shows %d guests while a job runs", n)
	}
	if err := r.SweepJobs(t.Context()); err != nil {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
