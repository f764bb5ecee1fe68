package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/distribution/term"
)

// trial is one run of sandboxctl run: a private sandboxd, a host node, and an
// epmd when the machine has none. All of it lives under runDir, but the cache.
type trial struct {
	root, runDir string
	hostNode     string
	client       *control.Client
	printed      map[string]bool
	procs        []*process // in the order they were started
}

// process is a child of ours, or of the run that --keep left.
type process struct {
	Name string        `json:"name"`
	Pid  int           `json:"pid"`
	done chan struct{} // closed once reaped; nil when it is not our child
}

// newTrial takes the run folder; a second trial there is refused.
func newTrial(o runOptions) (*trial, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("ask for the machine's name: %w", err)
	}
	short, _, _ := strings.Cut(host, ".")
	t := &trial{root: o.root, runDir: o.runDir, printed: map[string]bool{},
		hostNode: "sandbox_trial@" + short,
		client:   control.NewClient(filepath.Join(o.runDir, "control.sock"))}
	if _, err := os.Stat(t.path("trial.json")); err == nil {
		return nil, fmt.Errorf("a guest kept by an earlier run is there: end it with 'sandboxctl run --stop', or use another --run-dir and --root")
	}
	if err := os.MkdirAll(t.path("host"), 0o700); err != nil {
		return nil, fmt.Errorf("make the run folder: %w", err)
	}
	return t, nil
}

func (t *trial) path(elem ...string) string {
	return filepath.Join(append([]string{t.runDir}, elem...)...)
}

// start writes the files and starts epmd, the host node and sandboxd.
func (t *trial) start(ctx context.Context, p project) error {
	cookie := rand.Text()
	if err := t.writeFiles(p, cookie); err != nil {
		return err
	}
	if err := t.startEPMD(ctx); err != nil {
		return err
	}
	name, _, _ := strings.Cut(t.hostNode, "@")
	host := exec.Command("erl", "-noinput", "-sname", name)
	host.Env = append(os.Environ(), "HOME="+t.path("host"))
	if err := t.spawn("erl", host); err != nil {
		return fmt.Errorf("start the throw-away host node: %w (run 'make setup', or install erlang-base)", err)
	}
	daemon, err := sibling("sandboxd")
	if err != nil {
		return err
	}
	return t.spawn("sandboxd", exec.Command(daemon, "--config", t.path("sandboxd.config"), "--apps", t.path("repo")))
}

func (t *trial) writeFiles(p project, cookie string) error {
	atom := func(s string) term.Term { return term.Atom(s) }
	text := func(s string) term.Term { return term.Binary(s) }
	pair := func(k string, v term.Term) term.Term { return term.Tuple{atom(k), v} }
	list := func(e ...term.Term) term.Term { return term.List{Elems: e} }
	config := list(
		pair("bc_gitops", list(pair("cookie", text(cookie)))),
		pair("sandboxd", list(
			pair("host_node", atom(t.hostNode)), pair("root", text(t.root)),
			pair("run_dir", text(t.runDir)), pair("control_socket", text(t.path("control.sock"))),
			pair("pool", text("10.232.0.0/16")))))
	dir := t.path("repo", "apps", p.name)
	return errors.Join(
		os.MkdirAll(dir, 0o700), os.MkdirAll(t.root, 0o700),
		writeFile(filepath.Join(dir, "app.config"), term.WriteConsult(p.config()), 0o600),
		writeFile(t.path("sandboxd.config"), term.WriteConsult(config), 0o600),
		writeFile(t.path("host", ".erlang.cookie"), []byte(cookie), 0o400))
}

// writeFile replaces path, whatever its mode was.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, data, mode)
}

// startEPMD starts a port mapper when nobody answers on its port, as a child,
// so that it can be ended with the rest.
func (t *trial) startEPMD(ctx context.Context) error {
	const addr = "127.0.0.1:4369"
	answers := func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	if answers() {
		return nil
	}
	if err := t.spawn("epmd", exec.Command("epmd")); err != nil {
		return fmt.Errorf("start epmd: %w (run 'make setup', or install erlang-base)", err)
	}
	for range 100 {
		if answers() {
			return nil
		}
		pause(ctx, 20*time.Millisecond)
	}
	return errors.New("start epmd: nothing answers on " + addr)
}

// spawn starts cmd in a session of its own, so that Ctrl-C reaches us alone,
// with its output in a log of the run folder.
func (t *trial) spawn(name string, cmd *exec.Cmd) error {
	log, err := os.OpenFile(t.path(name+".log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{Name: name, Pid: cmd.Process.Pid, done: make(chan struct{})}
	t.procs = append(t.procs, p)
	go func() {
		cmd.Wait() //nolint:errcheck // its log says how it ended
		close(p.done)
	}()
	return nil
}

func (t *trial) daemonRuns() bool {
	for _, p := range t.procs {
		if p.Name == "sandboxd" {
			return p.runs()
		}
	}
	return false
}

func (p *process) runs() bool {
	if p.done == nil {
		return syscall.Kill(p.Pid, 0) == nil
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// lastLog is the last line that sandboxd wrote.
func (t *trial) lastLog() string {
	b, err := os.ReadFile(t.path("sandboxd.log"))
	if err != nil || len(b) == 0 {
		return "it wrote no log"
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return line(lines[len(lines)-1])
}

// end drains the daemon, ends what was started, last first, and removes the
// run folder.
func (t *trial) end(ctx context.Context, out io.Writer) error {
	var errs []error
	if t.daemonRuns() {
		fmt.Fprintln(out, "stopping")
		if err := t.client.Drain(ctx); err != nil && !errors.Is(err, control.ErrUnreachable) {
			errs = append(errs, fmt.Errorf("stop the guest: %w", err))
		}
	}
	for i := len(t.procs) - 1; i >= 0; i-- {
		if err := t.procs[i].end(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if err := os.RemoveAll(t.runDir); err != nil {
		errs = append(errs, fmt.Errorf("remove the run folder: %w", err))
	}
	return errors.Join(errs...)
}

// end asks with SIGTERM and waits; past ctx it kills. The port mapper is left
// alone when somebody else's node has come to depend on it.
func (p *process) end(ctx context.Context) error {
	if p.Name == "epmd" && epmdInUse(ctx) {
		return nil
	}
	syscall.Kill(p.Pid, syscall.SIGTERM) //nolint:errcheck // it may be gone
	for p.runs() {
		if ctx.Err() != nil {
			return syscall.Kill(p.Pid, syscall.SIGKILL)
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

// remember keeps what --stop needs.
func (t *trial) remember() error {
	b, err := json.Marshal(t.procs)
	if err != nil {
		return err
	}
	return os.WriteFile(t.path("trial.json"), b, 0o600)
}

// stopKept ends what an earlier run with --keep left.
func stopKept(ctx context.Context, out io.Writer, o runOptions) error {
	t := &trial{root: o.root, runDir: o.runDir, client: control.NewClient(filepath.Join(o.runDir, "control.sock"))}
	b, err := os.ReadFile(t.path("trial.json"))
	if err != nil {
		return fmt.Errorf("no kept guest in %s", t.runDir)
	}
	if err := json.Unmarshal(b, &t.procs); err != nil {
		return fmt.Errorf("read %s: %w", t.path("trial.json"), err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return t.end(ctx, out)
}

func lookPath(name string) (string, error) {
	p, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside sandboxctl nor on PATH: run 'make build' or 'make install'", name)
	}
	return p, nil
}
