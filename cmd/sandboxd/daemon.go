package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

// daemon answers the control socket from the first moment, also while its
// parts cannot be had: then it says why, and tries again.
type daemon struct {
	cfg   Config
	log   *slog.Logger
	parts atomic.Pointer[parts]
	fault atomic.Pointer[string] // why there are no parts yet

	ready chan struct{} // closed once there are parts

	metrics *metrics
}

// retries of what is missing: a containerd, a gateway, a free pool.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// serve runs until ctx ends. Guests, their links and the gateway live on.
func serve(ctx context.Context, c Config, log *slog.Logger) error {
	unlock, err := lock(c)
	if err != nil {
		return err
	}
	defer unlock()
	gid, err := groupID(c.Group)
	if err != nil {
		return err
	}
	l, err := control.Listen(c.Socket, gid)
	if err != nil {
		return err
	}
	d := &daemon{cfg: c, log: log, ready: make(chan struct{})}
	d.metrics = newMetrics(d.Status, d.telemetryCounts)
	measured := make(chan struct{})
	go func() { defer close(measured); d.metrics.serve(ctx, c.Metrics, gid, log) }()
	defer func() { <-measured }()
	served := make(chan error, 1)
	go func() { served <- control.Serve(ctx, l, d, log) }()
	log.Info("sandboxd runs", "host_node", c.HostNode, "socket", c.Socket)
	err = d.work(ctx)
	return errors.Join(err, <-served)
}

// work assembles the parts, again and again while one is missing, and runs
// the reconciler.
func (d *daemon) work(ctx context.Context) error {
	wait := firstRetry
	for ctx.Err() == nil {
		p, err := assemble(ctx, d.cfg, d.metrics, d.log)
		if err == nil {
			d.parts.Store(p)
			d.fault.Store(nil)
			close(d.ready)
			return p.run(ctx)
		}
		if text := err.Error(); ctx.Err() == nil && (d.fault.Load() == nil || *d.fault.Load() != text) {
			d.fault.Store(&text)
			d.log.Error("cannot start yet", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
	return nil
}

// lockPatience is how long one that was killed may take to let go of its root.
const lockPatience = 2 * time.Second

// lock refuses a second sandboxd on the same root.
func lock(c Config) (func(), error) {
	for _, dir := range []string{c.Root, c.RunDir} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("make %s: %w", dir, err)
		}
	}
	path := filepath.Join(c.Root, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", c.Root, err)
	}
	for start := time.Now(); unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Since(start) < lockPatience {
			continue
		}
		f.Close()
		return nil, fmt.Errorf("another sandboxd uses root %s: stop it or configure another root", c.Root)
	}
	return func() { f.Close() }, nil
}

func groupID(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("sandboxd.control_group: %w", err)
	}
	return strconv.Atoi(g.Gid)
}

// Status implements control.Daemon.
func (d *daemon) Status() status.Host {
	if p := d.parts.Load(); p != nil {
		return p.reconciler.Status()
	}
	h := status.Host{HostNode: d.cfg.HostNode, Repo: d.cfg.RepoURL, Branch: d.cfg.Branch, At: time.Now()}
	h.Error = control.Starting
	if fault := d.fault.Load(); fault != nil {
		h.Error = *fault
	}
	return h
}

// telemetryCounts are those of the emitter, zero before there is one.
func (d *daemon) telemetryCounts() (executed, dropped, failed uint64) {
	if p := d.parts.Load(); p != nil {
		return p.emitter.Counts()
	}
	return 0, 0, 0
}

// Trigger implements control.Daemon.
func (d *daemon) Trigger() {
	if p := d.parts.Load(); p != nil {
		p.reconciler.Trigger()
	}
}

// Plan implements control.Daemon.
func (d *daemon) Plan(ctx context.Context) ([]status.Step, error) {
	p, err := d.started()
	if err != nil {
		return nil, err
	}
	return p.reconciler.Plan(ctx)
}

// Subscribe implements control.Daemon; before there are parts it waits.
func (d *daemon) Subscribe(ctx context.Context) iter.Seq[status.Event] {
	if p := d.parts.Load(); p != nil {
		return p.reconciler.Subscribe(ctx)
	}
	return func(yield func(status.Event) bool) {
		select {
		case <-d.ready:
			d.parts.Load().reconciler.Subscribe(ctx)(yield)
		case <-ctx.Done():
		}
	}
}

// Logs implements control.Daemon.
func (d *daemon) Logs(ctx context.Context, name string, follow bool, w io.Writer) error {
	p, err := d.started()
	if err != nil {
		return err
	}
	return p.logs(ctx, name, follow, w)
}

// Drain implements control.Daemon.
func (d *daemon) Drain(ctx context.Context) error {
	p, err := d.started()
	if err != nil {
		return err
	}
	return p.reconciler.Drain(ctx)
}

func (d *daemon) started() (*parts, error) {
	if p := d.parts.Load(); p != nil {
		return p, nil
	}
	return nil, errors.New(d.Status().Error)
}
