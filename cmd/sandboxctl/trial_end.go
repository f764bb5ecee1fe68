package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"beamsandbox/cmd/internal/control"
)

// endGrace bounds the end of a trial.
const endGrace = time.Minute

// end removes the guest, ends what was started, last first, and removes the
// run folder. When the guest cannot be removed everything is left as it is,
// for --stop.
func (t *trial) end(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endGrace)
	defer cancel()
	if t.Began {
		fmt.Fprintln(out, "stopping")
		if err := t.drain(ctx); err != nil {
			return fmt.Errorf("stop the guest: %w: 'sandboxctl run --stop' tries again", err)
		}
	}
	var errs []error
	for i := len(t.Procs) - 1; i >= 0; i-- {
		errs = append(errs, t.Procs[i].end(ctx))
	}
	if err := oneLine(errs...); err != nil {
		return err
	}
	if err := t.clear(); err != nil {
		return err
	}
	if t.Began {
		fmt.Fprintln(out, "stopped; nothing but the build cache is left")
	}
	return nil
}

// drain has sandboxd remove the guest. One that has ended is started again:
// guests outlive it.
func (t *trial) drain(ctx context.Context) error {
	for started := false; ; {
		if !t.daemonRuns() {
			if started {
				return fmt.Errorf("sandboxd ended: %s", lastLine(t.path("sandboxd.log")))
			}
			started = true
			if err := t.startDaemon(); err != nil {
				return err
			}
		}
		err := t.client.Drain(ctx)
		starts := err != nil && (errors.Is(err, control.ErrUnreachable) || err.Error() == control.Starting)
		if !starts || ctx.Err() != nil {
			return err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// clear removes the run folder, which a mount must not be in.
func (t *trial) clear() error {
	dir, err := filepath.EvalSymlinks(t.runDir)
	if err != nil {
		return fmt.Errorf("remove the run folder: %w", err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("remove the run folder: %w", err)
	}
	for l := range strings.Lines(string(mounts)) {
		if f := strings.Fields(l); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			return fmt.Errorf("remove the run folder: %s is still mounted: umount it, then 'sandboxctl run --stop'", f[1])
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the run folder: %w", err)
	}
	return nil
}

// stopKept ends what an earlier run left, with --keep or because it was cut
// short.
func stopKept(ctx context.Context, out io.Writer, o runOptions) error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	if _, err := os.Stat(filepath.Join(o.runDir, recordFile)); err != nil {
		return fmt.Errorf("no kept guest in %s", o.runDir)
	}
	t := &trial{root: o.root, runDir: o.runDir, client: control.NewClient(filepath.Join(o.runDir, "control.sock"))}
	if err := t.take(); err != nil {
		return err
	}
	if err := t.recall(); err != nil {
		return err
	}
	return t.end(ctx, out)
}

// sibling finds a program installed beside this one, or on PATH.
func sibling(name string) (string, error) {
	self, err := os.Executable()
	if err == nil {
		if p := filepath.Join(filepath.Dir(self), name); executable(p) {
			return p, nil
		}
	}
	p, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside sandboxctl nor on PATH: run 'make build' or 'make install'", name)
	}
	return p, nil
}

func executable(path string) bool {
	i, err := os.Stat(path)
	return err == nil && i.Mode().IsRegular() && i.Mode()&0o111 != 0
}

// oneLine joins errors as a person reads them; nil when there is none.
func oneLine(errs ...error) error {
	var texts []string
	for _, err := range errs {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	if len(texts) < 2 {
		return errors.Join(errs...)
	}
	return &joined{strings.Join(texts, "; "), errors.Join(errs...)}
}

type joined struct {
	text string
	err  error
}

func (j *joined) Error() string { return j.text }
func (j *joined) Unwrap() error { return j.err }
