package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxLog is the size at which containerd's log is set aside before a start.
const maxLog = 8 << 20

// endGrace is how long our containerd may take to end before it is killed.
const endGrace = 10 * time.Second

// daemon is our containerd process. Only the goroutine that opens, keeps or
// stops the stack uses it.
type daemon struct {
	bin, dir, config, log, socket string

	pid    int
	pidfd  *os.File
	reaped chan struct{} // closed when a child of ours was waited for; nil when adopted
}

// ensure makes containerd run with the configuration config: it adopts one of
// the same version and configuration, ends one that differs, and starts one
// where none runs. answers asks whether it serves, and its version.
func (d *daemon) ensure(ctx context.Context, config string, answers func(context.Context) (string, error)) error {
	unlock, err := lock(filepath.Join(d.dir, "containerd.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	want, err := binaryVersion(ctx, filepath.Join(d.bin, "containerd"))
	if err != nil {
		return err
	}
	if d.find() {
		if d.adoptable(ctx, config, want, answers) {
			return nil
		}
		if err := d.end(ctx); err != nil {
			return err
		}
	}
	return d.start(ctx, config, answers)
}

func (d *daemon) adoptable(ctx context.Context, config, want string, answers func(context.Context) (string, error)) bool {
	old, err := os.ReadFile(d.config)
	if err != nil || string(old) != config {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	version, err := answers(ctx)
	return err == nil && version == want
}

// find looks for a containerd of ours that runs: the pid file's process,
// whose command line names our configuration.
func (d *daemon) find() bool {
	raw, err := os.ReadFile(d.pidfile())
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return false
	}
	if d.hold(pid) != nil {
		return false
	}
	if !d.ours() {
		d.release()
		return false
	}
	return true
}

// hold pins pid, so that the number cannot come to mean another process.
func (d *daemon) hold(pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	d.release()
	d.pid, d.pidfd = pid, os.NewFile(uintptr(fd), "pidfd")
	return nil
}

// ours reports whether the process held runs with our configuration.
func (d *daemon) ours() bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", d.pid))
	return err == nil && slices.Contains(strings.Split(string(cmdline), "\x00"), d.config)
}

func (d *daemon) release() {
	if d.pidfd != nil {
		d.pidfd.Close()
	}
	d.pid, d.pidfd, d.reaped = 0, nil, nil
}

func (d *daemon) pidfile() string { return filepath.Join(d.dir, "containerd.pid") }

// start runs containerd in a session of its own, so that neither our end nor a
// signal to our group reaches it, and waits until it serves.
func (d *daemon) start(ctx context.Context, config string, answers func(context.Context) (string, error)) error {
	if err := os.WriteFile(d.config, []byte(config), 0o600); err != nil {
		return fmt.Errorf("write containerd's configuration: %w", err)
	}
	if info, err := os.Stat(d.log); err == nil && info.Size() > maxLog {
		_ = os.Rename(d.log, d.log+".1") // the old log is a convenience
	}
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open containerd's log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(filepath.Join(d.bin, "containerd"), "--config", d.config)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, "/"
	cmd.Env = environ(d.bin)
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	ended, reaped := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- cmd.Wait()
		close(reaped)
	}()
	if err := d.started(ctx, cmd.Process.Pid, ended, answers); err != nil {
		_ = cmd.Process.Kill() // it may have ended already
		<-reaped
		d.release()
		return err
	}
	d.reaped = reaped
	return nil
}

// started writes down which process is ours and waits until it serves. Its
// command line is not looked at: execve(2) lets us go on before it is set.
func (d *daemon) started(ctx context.Context, pid int, ended <-chan error, answers func(context.Context) (string, error)) error {
	if err := d.hold(pid); err != nil {
		return fmt.Errorf("start containerd: %w: see %s", err, d.log)
	}
	if err := os.WriteFile(d.pidfile(), fmt.Appendln(nil, pid), 0o600); err != nil {
		return fmt.Errorf("write containerd's pid file: %w", err)
	}
	return d.serving(ctx, ended, answers)
}

// serving waits until a started containerd answers; a client that has just lost
// the one before may need a second try.
func (d *daemon) serving(ctx context.Context, ended <-chan error, answers func(context.Context) (string, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for last := error(nil); ; {
		select {
		case err := <-ended:
			return fmt.Errorf("start containerd: it ended: %w: %s: see %s", err, lastLine(d.log), d.log)
		case <-ctx.Done():
			return fmt.Errorf("start containerd: no answer on %s: see %s: %w", d.socket, d.log, errors.Join(ctx.Err(), last))
		case <-tick.C:
		}
		if !connects(d.socket) {
			continue
		}
		if _, last = answers(ctx); last == nil {
			return nil
		}
	}
}

// wait returns nil once the process ended, or ctx's error.
func (d *daemon) wait(ctx context.Context) error {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = d.pidfd.SetReadDeadline(time.Unix(1, 0)) // wakes the Read below
		close(woken)
	})
	defer func() {
		if !stop() {
			<-woken
			_ = d.pidfd.SetReadDeadline(time.Time{})
		}
	}()
	raw, err := d.pidfd.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch containerd: %w", err)
	}
	err = raw.Read(func(fd uintptr) bool { return readable(int(fd)) })
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// readable reports whether the process behind a pidfd has ended (pidfd_open(2)).
func readable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1
}

// end asks the process to end, then kills it; it returns when it is gone.
func (d *daemon) end(ctx context.Context) error {
	if d.pidfd == nil {
		return nil
	}
	defer d.release()
	if err := d.signal(unix.SIGTERM); err != nil {
		return err
	}
	grace, cancel := context.WithTimeout(ctx, endGrace)
	defer cancel()
	if err := d.wait(grace); err != nil {
		if err := d.signal(unix.SIGKILL); err != nil {
			return err
		}
		if err := d.wait(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("wait for containerd to end: %w", err)
		}
	}
	if d.reaped != nil {
		<-d.reaped
	}
	return errors.Join(remove(d.pidfile()), remove(d.socket), remove(d.socket+".ttrpc"))
}

func (d *daemon) signal(sig unix.Signal) error {
	err := unix.PidfdSendSignal(int(d.pidfd.Fd()), sig, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal containerd (pid %d): %w", d.pid, err)
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("clean up after containerd: %w", err)
	}
	return nil
}

// environ is the environment of our containerd: our shim and runc come first,
// and nothing of ours that concerns systemd or secrets is passed on.
func environ(bin string) []string {
	return []string{
		"PATH=" + bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8",
	}
}

// binaryVersion asks a containerd binary what it is: "containerd
// github.com/containerd/containerd/v2 2.4.2+unknown REVISION".
func binaryVersion(ctx context.Context, path string) (string, error) {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("run %s --version: %w: run make build", path, err)
	}
	fields := strings.Fields(string(out))
	if len(fields) < 3 {
		return "", fmt.Errorf("read the version of %s: found %q", path, bytes.TrimSpace(out))
	}
	return fields[2], nil
}
