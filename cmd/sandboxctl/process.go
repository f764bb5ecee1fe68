package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a child of ours, or of an earlier run that left it. Pids are
// used again, so one is known by when it began, too.
type process struct {
	Name  string        `json:"name"`
	Pid   int           `json:"pid"`
	Began uint64        `json:"began"` // clock ticks since boot, proc(5)
	done  chan struct{} // closed once reaped; nil when it is not our child
}

// spawn starts cmd in a session of its own, so that Ctrl-C reaches us alone,
// with its output in the file log.
func spawn(name string, cmd *exec.Cmd, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{Name: name, Pid: cmd.Process.Pid, done: make(chan struct{})}
	p.Began, _ = began(p.Pid) //nolint:errcheck // it has ended already: no process has a Began of 0
	go func() {
		cmd.Wait() //nolint:errcheck // its log says how it ended
		close(p.done)
	}()
	return p, nil
}

// began reads when a process that lives began: field 22 of its stat, after the
// command's name in parentheses, which may hold anything (proc(5)). One that
// has ended and is not reaped, state Z, is an error.
func began(pid int) (uint64, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return 0, fmt.Errorf("read the start of process %d: it has ended", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// runs reports whether the process lives; another one of the same pid is not it.
func (p *process) runs() bool {
	if p.done != nil {
		select {
		case <-p.done:
			return false
		default:
			return true
		}
	}
	at, err := began(p.Pid)
	return err == nil && at == p.Began
}

// signal sends sig to this very process: it is pinned before it is recognized.
func (p *process) signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(p.Pid, 0)
	if err != nil {
		return nil // it has ended
	}
	defer unix.Close(fd)
	if !p.runs() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end %s (pid %d): %w", p.Name, p.Pid, err)
	}
	return nil
}

// end asks with SIGTERM and waits; past ctx it kills. The host node has nothing
// to lose and is killed: while it boots it forgets a SIGTERM. The port mapper is
// left alone when somebody else's node has come to depend on it.
func (p *process) end(ctx context.Context) error {
	if !p.runs() || p.Name == "epmd" && epmdInUse(ctx) {
		return nil
	}
	sig := unix.SIGTERM
	if p.Name == "erl" {
		sig = unix.SIGKILL
	}
	if err := p.signal(sig); err != nil {
		return err
	}
	for p.runs() {
		if ctx.Err() != nil {
			return p.signal(unix.SIGKILL)
		}
		pause(ctx, 20*time.Millisecond)
	}
	return nil
}

// epmdInUse asks epmd itself, whose -names lists a line a node.
func epmdInUse(ctx context.Context) bool {
	out, err := exec.CommandContext(ctx, "epmd", "-names").Output()
	return err == nil && strings.Contains(string(out), "\nname ")
}
