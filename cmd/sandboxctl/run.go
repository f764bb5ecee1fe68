package main

import (
	"cmp"
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
	ssh                     sshFiles
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
	f.StringVar(&o.ref, "ref", "", "branch of a git URL (default: the remote's HEAD)")
	f.StringVar(&o.ssh.key, "ssh-key", "", "private key for a git URL over ssh, without a passphrase (default: of ~/.ssh)")
	f.StringVar(&o.ssh.knownHosts, "known-hosts", "", "known hosts for a git URL over ssh (default: ~/.ssh/known_hosts)")
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

var errNotRoot = errors.New("run needs root: namespaces and containers are made (try sudo)")

// run is the whole life of a trial: project, host node, daemon, guest, end.
func run(ctx context.Context, out io.Writer, source string, o runOptions) (err error) {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	if o.runDir, err = filepath.Abs(o.runDir); err != nil {
		return err
	}
	if o.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	t, err := newTrial(ctx, out, o)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil && t.Kept {
			return
		}
		err = oneLine(err, t.end(ctx, out))
	}()
	spec, err := describe(ctx, source, o, t.path("source"))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s from %s, host node %s\n", spec.name, source, t.hostNode)
	if err := t.start(ctx, spec); err != nil {
		return err
	}
	if err := t.follow(ctx, out, o.patience); err != nil {
		return err
	}
	return t.present(ctx, out, spec, o.keep)
}

// follow prints stages until the guest is healthy.
func (t *trial) follow(ctx context.Context, out io.Writer, patience time.Duration) error {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p := &progress{out: out, printed: map[string]bool{}}
	for ctx.Err() == nil {
		h, err := t.client.Status(ctx)
		switch {
		case err == nil && len(h.Apps) == 1:
			if done, err := p.see(h.Apps[0]); done {
				return err
			}
		case err == nil && h.Error != "":
			return errors.New(line(h.Error))
		case err != nil && !errors.Is(err, control.ErrUnreachable) && ctx.Err() == nil:
			return err
		}
		if ended := t.ended(); ended != nil {
			return ended
		}
		pause(ctx, 50*time.Millisecond)
	}
	if parent.Err() != nil {
		return errInterrupted
	}
	return fmt.Errorf("the guest is not healthy after %s: %s", patience, orDash(p.reason))
}

// progress is how far the guest has come.
type progress struct {
	out     io.Writer
	printed map[string]bool // stages
	retry   time.Time       // of the newest failed start
	fails   int
	reason  string // the last thing that was said
}

// hopeless is how many starts may come to nothing.
const hopeless = 3

// see prints what is new; done once the guest is healthy, or err says why it
// cannot become so.
func (p *progress) see(a status.App) (done bool, err error) {
	for _, s := range a.Stages {
		if !p.printed[s.Name] {
			p.printed[s.Name] = true
			fmt.Fprintf(p.out, "  %-9s %8s  %s\n", s.Name, s.Took.Round(time.Millisecond), line(s.Detail))
		}
	}
	if a.Detail != "" || a.Health != "" {
		p.reason = line(cmp.Or(a.Detail, a.Health))
	}
	switch a.Phase {
	case status.Healthy:
		return true, nil
	case status.Failed, status.Broken:
		return true, errors.New(line(reason(a)))
	case status.Backoff:
		return p.failed(a)
	}
	return false, nil
}

// failed tells a failed start, and gives up when none succeeds.
func (p *progress) failed(a status.App) (done bool, err error) {
	if a.NextRetry.Equal(p.retry) {
		return false, nil
	}
	p.retry = a.NextRetry
	if p.fails++; p.fails == hopeless {
		return true, errors.New(line(reason(a)))
	}
	fmt.Fprintf(p.out, "  %s; it is tried again\n", line(a.Detail))
	return false, nil
}

// present says what is there, then follows the log until Ctrl-C.
func (t *trial) present(ctx context.Context, out io.Writer, spec project, keep bool) error {
	h, err := t.client.Status(ctx)
	if err != nil {
		return err
	}
	for _, a := range h.Apps {
		fmt.Fprintf(out, "%s is %s: node %s, pid %d\n", a.Name, a.Phase, a.Node, a.Pid)
	}
	if spec.port != 0 {
		fmt.Fprintf(out, "http://127.0.0.1:%d/ reaches it\n", spec.port)
	}
	if keep {
		fmt.Fprintf(out, "it goes on; look with 'sandboxctl --socket %s status', end it with 'sandboxctl run --stop'\n", t.path("control.sock"))
		t.Kept = true
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
