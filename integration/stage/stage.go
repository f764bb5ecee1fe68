// Package stage sets up the real parts that the tests and the demo play on: a
// port mapper, a host BEAM node, git repositories, and sandboxd itself as the
// programs that were built. Everything it starts it ends, by pid.
package stage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Stage is one set of folders with everything that runs in them.
type Stage struct {
	Bin      string   // built programs
	Dir      string   // repositories, logs, configuration
	Root     string   // sandboxd's root: caches and images
	RunDir   string   // sandboxd's run_dir: sockets and namespaces
	Hostname string   // the machine's short name
	Cookie   string   // the cluster's
	Env      []string // added to sandboxd's environment
	// Secure makes TLS of our own connection to a host VM; nil: it is plain.
	Secure func(ctx context.Context, conn net.Conn) (net.Conn, error)

	procs  []*Proc
	daemon *Daemon // the newest
}

// New makes the folders. The tools that are missing are named in the error.
func New(bin, dir, root, runDir string) (*Stage, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the stage needs root: namespaces and containers are made")
	}
	for _, tool := range []string{"erl", "erlc", "epmd", "git"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing: run 'make setup'", tool)
		}
	}
	for _, p := range []string{"containerd", "containerd-shim-runc-v2", "runc", "rebar3", "sandboxd", "sandboxctl", "sandbox-gateway"} {
		if _, err := os.Stat(filepath.Join(bin, p)); err != nil {
			return nil, fmt.Errorf("%s is missing: run 'make setup build'", filepath.Join(bin, p))
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	short, _, _ := strings.Cut(host, ".")
	s := &Stage{Bin: bin, Dir: dir, Root: root, RunDir: runDir, Hostname: short, Cookie: rand.Text()}
	for _, d := range []string{dir, root, runDir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Path is a path in the stage's folder.
func (s *Stage) Path(elem ...string) string {
	return filepath.Join(append([]string{s.Dir}, elem...)...)
}

// Node is the full name of a node on this machine.
func (s *Stage) Node(name string) string { return name + "@" + s.Hostname }

// Proc is a process that the stage started.
type Proc struct {
	Name string
	Pid  int
	Log  string // what it writes
	done chan struct{}
	err  error
}

// Start runs cmd in a session of its own, its output in a log file.
func (s *Stage) Start(name string, cmd *exec.Cmd) (*Proc, error) {
	path := s.Path(name + ".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Proc{Name: name, Pid: cmd.Process.Pid, Log: path, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	s.procs = append(s.procs, p)
	return p, nil
}

// Done is closed when the process has ended.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Running reports whether it has not ended.
func (p *Proc) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitCode is that of a process that has ended, -1 after a signal.
func (p *Proc) ExitCode() int {
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return 0
	case errors.As(p.err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// Kill sends SIGKILL and waits.
func (p *Proc) Kill() {
	if p.Running() {
		syscall.Kill(p.Pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
	}
	<-p.done
}

// Stop sends SIGTERM, waits up to grace, then kills; a kill is an error, which
// holds the end of the log, where a program in Go has told what it waits for.
func (p *Proc) Stop(grace time.Duration) error {
	if !p.Running() {
		return nil
	}
	syscall.Kill(p.Pid, syscall.SIGTERM) //nolint:errcheck // it may have ended
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		syscall.Kill(p.Pid, syscall.SIGQUIT) //nolint:errcheck // it may have ended
		select {
		case <-p.done:
		case <-time.After(time.Second):
			p.Kill()
		}
		log, _ := os.ReadFile(p.Log)
		return fmt.Errorf("%s (pid %d) did not end within %s and was killed; its log %s ends:\n%s", p.Name, p.Pid, grace, p.Log, log[max(0, len(log)-64<<10):])
	}
}

// Close removes what the daemon still runs, ends every process, last first,
// and removes RunDir unless something is still mounted in it.
func (s *Stage) Close() error {
	errs := []error{s.drain(), s.endAll()}
	mounts, err := s.mounts(context.Background())
	if err == nil && len(mounts) > 0 {
		err = fmt.Errorf("left behind: %s", strings.Join(mounts, ", "))
	}
	if err == nil {
		err = os.RemoveAll(s.RunDir)
	}
	return errors.Join(append(errs, err)...)
}

// drain empties the host while there is a daemon to do it.
func (s *Stage) drain() error {
	if s.daemon == nil || !s.daemon.Running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.daemon.Drain(ctx)
}

func (s *Stage) endAll() error {
	var errs []error
	for i := len(s.procs) - 1; i >= 0; i-- {
		errs = append(errs, s.procs[i].Stop(20*time.Second))
	}
	s.procs = nil
	return errors.Join(errs...)
}

// Until calls ok every 20 ms until it is true; past ctx it returns what is
// awaited as an error.
func Until(ctx context.Context, what string, ok func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
	return nil
}
