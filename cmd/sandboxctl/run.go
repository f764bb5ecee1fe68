package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

// runOptions are the flags of sandboxctl run.
type runOptions struct {
	name, ref, root, runDir string
	memory, schedulers      int
	env                     []string
	port                    uint16
	keep, stop              bool
	patience                time.Duration
}

func runCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run DIR|GIT-URL",
		Short: "Try one application as a guest, with no daemon, no repository and no host VM",
		Long: `Builds the rebar3 project in DIR or at GIT-URL behind a guest's walls, starts a
throw-away host node, runs the release as an isolated guest beside it and prints
each stage with its time. Then the guest's log follows until Ctrl-C, which stops
the guest gracefully and leaves nothing but the build cache. Needs root.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case o.stop && len(args) == 0:
				return stopKept(c.Context(), c.OutOrStdout(), o)
			case len(args) != 1 || o.stop:
				return usage(errors.New("run takes one folder or git URL, or --stop alone"))
			}
			return run(c.Context(), c.OutOrStdout(), args[0], o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.name, "name", "", "application to run (default: the one that the project defines)")
	f.StringVar(&o.ref, "ref", "", "branch, tag or commit of a git URL (default: the remote's HEAD)")
	f.IntVar(&o.memory, "memory", 0, "memory limit in MB (default: unlimited)")
	f.IntVar(&o.schedulers, "schedulers", 0, "CPUs and schedulers (default: the machine's)")
	f.StringArrayVar(&o.env, "env", nil, "application environment, key=value; an Erlang term, else taken as a binary")
	f.Uint16Var(&o.port, "port", 0, "port the application serves: becomes env http_port, is probed, and appears on loopback")
	f.BoolVar(&o.keep, "keep", false, "leave the guest running; 'sandboxctl run --stop' ends it")
	f.BoolVar(&o.stop, "stop", false, "end the guest that --keep left running")
	f.DurationVar(&o.patience, "timeout", 10*time.Minute, "how long the guest may take to be healthy")
	f.StringVar(&o.root, "root", "/var/lib/sandboxctl", "folder of the build cache")
	f.StringVar(&o.runDir, "run-dir", "/run/sandboxctl", "folder of sockets and namespaces while it runs")
	return c
}

// run is the whole life of a trial: project, host node, daemon, guest, end.
func run(ctx context.Context, out io.Writer, source string, o runOptions) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("run needs root: namespaces and containers are made (try sudo)")
	}
	t, err := newTrial(o)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil && o.keep {
			return
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, t.end(end, out))
	}()
	spec, err := describe(ctx, source, o, t.path("source"))
	if err != nil {
		return err
	}
	if err := t.start(ctx, spec); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s from %s, host node %s\n", spec.name, source, t.hostNode)
	if err := t.follow(ctx, out, o.patience); err != nil {
		return err
	}
	return t.present(ctx, out, spec, o.keep)
}

// follow prints stages until the guest is healthy.
func (t *trial) follow(ctx context.Context, out io.Writer, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	last := ""
	for ctx.Err() == nil {
		done, reason, err := t.watch(ctx, out)
		if done || (err != nil && !errors.Is(err, control.ErrUnreachable)) {
			return err
		}
		if reason != "" {
			last = reason
		}
		if !t.daemonRuns() {
			return fmt.Errorf("sandboxd ended: %s", t.lastLog())
		}
		pause(ctx, 50*time.Millisecond)
	}
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Errorf("the guest is not healthy after %s: %s", patience, orDash(last))
	}
	return errors.New("interrupted")
}

// watch prints what comes over one connection; done once the app is healthy
// or cannot become so.
func (t *trial) watch(ctx context.Context, out io.Writer) (done bool, reason string, err error) {
	judge := func(phase status.Phase, text string) {
		switch phase {
		case status.Healthy:
			done = true
		case status.Failed, status.Broken:
			done, err = true, errors.New(line(text))
		}
		if text != "" {
			reason = line(text)
		}
	}
	ready := func() {
		if h, herr := t.client.Status(ctx); herr == nil && len(h.Apps) == 1 {
			judge(h.Apps[0].Phase, h.Apps[0].Detail)
		}
	}
	ferr := t.client.Events(ctx, ready, func(e status.Event) bool {
		if e.Stage != nil && !t.printed[e.Stage.Name] {
			t.printed[e.Stage.Name] = true
			fmt.Fprintf(out, "  %-9s %8s  %s\n", e.Stage.Name, e.Stage.Took.Round(time.Millisecond), line(e.Stage.Detail))
		}
		judge(e.Phase, e.Text)
		return !done
	})
	return done, reason, errors.Join(err, ferr)
}

// present says what is there, then follows the log until Ctrl-C.
func (t *trial) present(ctx context.Context, out io.Writer, spec project, keep bool) error {
	h, err := t.client.Status(ctx)
	if err != nil {
		return err
	}
	for _, a := range h.Apps {
		fmt.Fprintf(out, "%s is %s: node %s, pid %d, %s\n", a.Name, a.Phase, a.Node, a.Pid, bytesText(a.Memory))
	}
	if spec.port != 0 {
		fmt.Fprintf(out, "http://127.0.0.1:%d/ reaches it\n", spec.port)
	}
	if keep {
		fmt.Fprintf(out, "it goes on; look with 'sandboxctl --socket %s status', end it with 'sandboxctl run --stop'\n", t.path("control.sock"))
		return t.remember()
	}
	fmt.Fprintln(out, "Ctrl-C stops it; its log follows")
	e := &escaper{w: out}
	defer e.flush()
	return t.client.Logs(ctx, spec.name, true, e)
}

// pause waits for d or ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// sibling finds a program installed beside this one, or on PATH.
func sibling(name string) (string, error) {
	self, err := os.Executable()
	if err == nil {
		if p := filepath.Join(filepath.Dir(self), name); executable(p) {
			return p, nil
		}
	}
	return lookPath(name)
}

func executable(path string) bool {
	i, err := os.Stat(path)
	return err == nil && i.Mode().IsRegular() && i.Mode()&0o111 != 0
}
