//go:build integration

package stack_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"beamsandbox/runtime/stack"
)

// config is a private stack of one test; its run directory is short enough for
// sockets.
func config(t *testing.T) stack.Config {
	t.Helper()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp("/tmp", "rts")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	if err := os.Chmod(run, 0o711); err != nil {
		t.Fatal(err)
	}
	return stack.Config{Bin: bin, Root: t.TempDir(), RunDir: run}
}

func open(t *testing.T, cfg stack.Config) *stack.Stack {
	t.Helper()
	s, err := stack.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stop(t *testing.T, s *stack.Stack) {
	t.Helper()
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func pid(t *testing.T, cfg stack.Config) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(cfg.RunDir, "containerd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStartAdoptStop(t *testing.T) {
	cfg := config(t)
	began := time.Now()
	first := open(t, cfg)
	t.Logf("first start: %v", time.Since(began))
	if !first.UserNS() || first.Snapshotter() != "overlayfs" {
		t.Errorf("snapshotter %s, user namespaces %v; want overlayfs, true", first.Snapshotter(), first.UserNS())
	}
	was := pid(t, cfg)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	second := open(t, cfg)
	t.Logf("adoption: %v", time.Since(began))
	if now := pid(t, cfg); now != was {
		t.Errorf("pid after adoption %d, want %d", now, was)
	}
	if second.Version() != first.Version() {
		t.Errorf("version %q, want %q", second.Version(), first.Version())
	}
	stop(t, second)
	// A process that the first stack's goroutine has not reaped yet has none.
	if cmdline, _ := os.ReadFile("/proc/" + strconv.Itoa(was) + "/cmdline"); len(cmdline) > 0 {
		t.Errorf("process %d runs after Stop: %q", was, cmdline)
	}
	began = time.Now()
	third := open(t, cfg)
	t.Logf("second start: %v", time.Since(began))
	stop(t, third)
}

// buffer is a log that a test reads while the stack writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
	ch chan struct{}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Write(p)
	if bytes.Contains(p, []byte("answers again")) {
		close(b.ch)
	}
	return len(p), nil
}

func TestRestartWhenItDies(t *testing.T) {
	cfg := config(t)
	log := &buffer{ch: make(chan struct{})}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	s := open(t, cfg)
	defer stop(t, s)
	was := pid(t, cfg)
	if err := syscall.Kill(was, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-log.ch:
	case <-time.After(20 * time.Second):
		t.Fatal("not started again")
	}
	if now := pid(t, cfg); now == was {
		t.Error("the pid file still names the dead process")
	}
	if _, err := s.Client().Version(t.Context()); err != nil {
		t.Errorf("call after the restart: %v", err)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := strings.Count(log.b.String(), "starting it again"); n != 1 {
		t.Errorf("said so %d times, want once:\n%s", n, log.b.String())
	}
}

func TestConfigurationChangeRestarts(t *testing.T) {
	cfg := config(t)
	s := open(t, cfg)
	was := pid(t, cfg)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Root = t.TempDir()
	s = open(t, cfg)
	defer stop(t, s)
	if now := pid(t, cfg); now == was {
		t.Error("adopted a containerd with another root")
	}
}

func TestStaleFilesDoNotHinder(t *testing.T) {
	cfg := config(t)
	own := []byte(strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(filepath.Join(cfg.RunDir, "containerd.pid"), own, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.RunDir, "containerd.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stop(t, open(t, cfg))
}

func TestExternalByAddress(t *testing.T) {
	cfg := config(t)
	own := open(t, cfg)
	defer stop(t, own)
	other := open(t, stack.Config{Address: filepath.Join(cfg.RunDir, "containerd.sock"), RunDir: t.TempDir(), Namespace: "other"})
	if err := other.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := own.Client().Version(t.Context()); err != nil {
		t.Errorf("a borrowed containerd was stopped: %v", err)
	}
}
