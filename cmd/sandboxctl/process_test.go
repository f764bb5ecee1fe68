package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper is a process that somebody else started.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // it may have ended
	return cmd
}

func TestForeignProcessIsLeftAlone(t *testing.T) {
	cmd := sleeper(t)
	at, err := began(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	old := &process{Name: "sandboxd", Pid: cmd.Process.Pid, Began: at - 1}
	if old.runs() {
		t.Error("a process that began at another time passes for the one that was recorded")
	}
	if err := old.end(context.Background()); err != nil {
		t.Errorf("end: %v", err)
	}
	if now, err := began(cmd.Process.Pid); err != nil || now != at {
		t.Errorf("the foreign process was touched: %v", err)
	}
}

func TestRecordedProcessEnds(t *testing.T) {
	cmd := sleeper(t)
	at, err := began(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Name: "sandboxd", Pid: cmd.Process.Pid, Began: at}
	if !p.runs() {
		t.Fatal("a process that runs is not recognized")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.end(ctx); err != nil { // ours to reap, so it stays as a zombie
		t.Fatal(err)
	}
	if p.runs() || ctx.Err() != nil {
		t.Error("a process that has ended counts as running until it is reaped")
	}
}

func TestChild(t *testing.T) {
	p, err := spawn("sh", exec.Command("sh", "-c", "echo one; echo two >&2; exec sleep 60"), filepath.Join(t.TempDir(), "sh.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !p.runs() {
		t.Error("a child that was started does not run")
	}
	if err := p.signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.done
	if err := p.signal(unix.SIGKILL); err != nil || p.runs() {
		t.Errorf("after its end: signal %v, runs %v", err, p.runs())
	}
	if _, err := spawn("none", exec.Command("/nonexistent"), filepath.Join(t.TempDir(), "none.log")); err == nil {
		t.Error("a program that is not there was started")
	}
}

func TestLastLine(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if got := lastLine(log); got != "it wrote no log" {
		t.Errorf("lastLine of no file = %q", got)
	}
	if err := os.WriteFile(log, []byte("first\nlast \x1b[31mred\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lastLine(log); got != `last \x1b[31mred` {
		t.Errorf("lastLine = %q", got)
	}
}
