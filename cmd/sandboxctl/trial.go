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
	"time"

	"golang.org/x/sys/unix"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/distribution/term"
)

// trial is one run of sandboxctl run: a private sandboxd, a host node, and an
// epmd when the machine has none. All of it lives under runDir, but the cache.
type trial struct {
	root, runDir string
	hostNode     string
	client       *control.Client
	record
}

// record is what ending a trial needs. It is written as the trial goes, so
// that one that was cut short can be ended too.
type record struct {
	Kept  bool       `json:"kept"`  // by --keep
	Began bool       `json:"began"` // there may be a guest
	Procs []*process `json:"processes"`
}

const recordFile = "trial.json"

// newTrial takes the run folder for as long as we live. A kept guest there is
// an error; what a run that was cut short left there is ended first.
func newTrial(ctx context.Context, out io.Writer, o runOptions) (*trial, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("ask for the machine's name: %w", err)
	}
	short, _, _ := strings.Cut(host, ".")
	t := &trial{root: o.root, runDir: o.runDir,
		hostNode: "sandbox_trial@" + short,
		client:   control.NewClient(filepath.Join(o.runDir, "control.sock"))}
	if err := t.take(); err != nil {
		return nil, err
	}
	switch err := t.recall(); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	case t.Kept:
		return nil, errors.New("a guest kept by an earlier run is there: end it with 'sandboxctl run --stop', or use another --run-dir and --root")
	default:
		fmt.Fprintln(out, "an earlier run was cut short")
		if err := t.end(ctx, out); err != nil {
			return nil, err
		}
		if err := t.take(); err != nil {
			return nil, err
		}
	}
	if err := t.foreign(); err != nil {
		return nil, err
	}
	t.record = record{}
	return t, errors.Join(t.remember(), os.MkdirAll(t.path("host"), 0o700))
}

// take makes the run folder and locks it; the lock ends with our process. The
// guests' own user has to pass through the folder.
func (t *trial) take() error {
	if err := errors.Join(os.MkdirAll(t.root, 0o711), os.MkdirAll(t.runDir, 0o711)); err != nil {
		return fmt.Errorf("make the run folder: %w", err)
	}
	dir, err := unix.Open(t.runDir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Flock(dir, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		return fmt.Errorf("another sandboxctl run uses %s: end it, or use another --run-dir and --root", t.runDir)
	}
	return nil
}

// foreign refuses a run folder with somebody else's files: it is removed at
// the end.
func (t *trial) foreign() error {
	entries, err := os.ReadDir(t.runDir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("use %s as run folder: it is not empty: choose another --run-dir", t.runDir)
	}
	return err
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
	if err := t.startDaemon(); err != nil {
		return err
	}
	return t.assembled(ctx)
}

func (t *trial) startDaemon() error {
	daemon, err := sibling("sandboxd")
	if err != nil {
		return err
	}
	return t.spawn("sandboxd", exec.Command(daemon, "--config", t.path("sandboxd.config"), "--apps", t.path("repo")))
}

// assembled waits until sandboxd has all that it needs. What is missing now
// is missing: an error.
func (t *trial) assembled(ctx context.Context) error {
	for ctx.Err() == nil {
		h, err := t.client.Status(ctx)
		switch {
		case err == nil && h.Error == "":
			t.Began = true
			return t.remember()
		case err == nil && h.Error != control.Starting:
			return errors.New(line(h.Error))
		case err != nil && !errors.Is(err, control.ErrUnreachable) && ctx.Err() == nil:
			return err
		}
		if ended := t.ended(); ended != nil {
			return ended
		}
		pause(ctx, 20*time.Millisecond)
	}
	return errInterrupted
}

var errInterrupted = errors.New("interrupted")

func (t *trial) writeFiles(p project, cookie string) error {
	atom := func(s string) term.Term { return term.Atom(s) }
	text := func(s string) term.Term { return term.Binary(s) }
	pair := func(k string, v term.Term) term.Term { return term.Tuple{atom(k), v} }
	list := func(e ...term.Term) term.Term { return term.List{Elems: e} }
	own := []term.Term{pair("host_node", atom(t.hostNode)), pair("root", text(t.root)),
		pair("run_dir", text(t.runDir)), pair("control_socket", text(t.path("control.sock"))),
		pair("pool", text("10.232.0.0/16"))}
	if p.ssh.key != "" {
		own = append(own, pair("ssh_key", text(p.ssh.key)), pair("known_hosts", text(p.ssh.knownHosts)))
	}
	config := list(pair("bc_gitops", list(pair("cookie", text(cookie)))), pair("sandboxd", list(own...)))
	dir := t.path("repo", "apps", p.name)
	return errors.Join(
		os.MkdirAll(dir, 0o700),
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

// spawn starts a process of the trial and takes a note of it.
func (t *trial) spawn(name string, cmd *exec.Cmd) error {
	p, err := spawn(name, cmd, t.path(name+".log"))
	if p != nil {
		t.Procs = append(t.Procs, p)
	}
	return errors.Join(err, t.remember())
}

// ended says which of the processes that a guest needs has ended.
func (t *trial) ended() error {
	for _, p := range t.Procs {
		if !p.runs() {
			return fmt.Errorf("%s ended: %s", p.Name, lastLine(t.path(p.Name+".log")))
		}
	}
	return nil
}

// daemonRuns looks at the newest sandboxd.
func (t *trial) daemonRuns() bool {
	for i := len(t.Procs) - 1; i >= 0; i-- {
		if t.Procs[i].Name == "sandboxd" {
			return t.Procs[i].runs()
		}
	}
	return false
}

// lastLine is the last thing that a process said.
func lastLine(log string) string {
	b, err := os.ReadFile(log)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if err != nil || lines[0] == "" {
		return "it wrote no log"
	}
	return line(lines[len(lines)-1])
}

// remember writes what ending the trial needs.
func (t *trial) remember() error {
	b, err := json.Marshal(t.record)
	if err != nil {
		return err
	}
	return writeFile(t.path(recordFile), b, 0o600)
}

// recall reads it.
func (t *trial) recall() error {
	b, err := os.ReadFile(t.path(recordFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &t.record); err != nil {
		return fmt.Errorf("read %s: %w", t.path(recordFile), err)
	}
	return nil
}
