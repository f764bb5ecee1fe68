package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

// fakeDaemon answers as it is told.
type fakeDaemon struct {
	mu      sync.Mutex
	host    status.Host
	steps   []status.Step
	planErr error
	log     string
	onSync  func(*status.Host) // what a pass makes of the host
	synced  chan struct{}
}

func (d *fakeDaemon) Status() status.Host {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.host
}

func (d *fakeDaemon) Trigger() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.onSync != nil {
		d.onSync(&d.host)
	}
	if d.synced != nil {
		close(d.synced)
		d.synced = nil
	}
}

func (d *fakeDaemon) Plan(context.Context) ([]status.Step, error) { return d.steps, d.planErr }

func (d *fakeDaemon) Subscribe(ctx context.Context) iter.Seq[status.Event] {
	d.mu.Lock()
	synced := d.synced
	d.mu.Unlock()
	return func(yield func(status.Event) bool) {
		select {
		case <-synced:
			if !yield(status.Event{Kind: "commit", Text: "commit"}) {
				return
			}
		case <-ctx.Done():
		}
		<-ctx.Done()
	}
}

func (d *fakeDaemon) Logs(_ context.Context, app string, follow bool, w io.Writer) error {
	if app != "pulse" {
		return fmt.Errorf("no app %s on this host", app)
	}
	_, err := fmt.Fprintf(w, "%sfollow %v\n", d.log, follow)
	return err
}

func (d *fakeDaemon) Drain(context.Context) error { return errors.New("not asked for here") }

// serveFake serves d and returns its socket.
func serveFake(t *testing.T, d control.Daemon) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.sock")
	l, err := control.Listen(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, d, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

// ctl runs one command line and returns its exit code and what it printed.
func ctl(t *testing.T, args ...string) (code int, out, diagnostics string) {
	t.Helper()
	var stdout bytes.Buffer
	c := rootCommand()
	c.SetArgs(args)
	c.SetOut(&stdout)
	c.SetErr(io.Discard)
	err := c.ExecuteContext(t.Context())
	if err == nil {
		return 0, stdout.String(), ""
	}
	return exitCode(err), stdout.String(), err.Error()
}

// at is when the fake host was looked at.
var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// busyHost has one app of every kind of trouble.
func busyHost() status.Host {
	return status.Host{
		HostNode: "demo_web@myhost", HostUp: true, HostOTP: "25", Gateway: true, Settled: true, At: at,
		Repo: "https://git.example/gitops.git", Branch: "main", Commit: "0123456789abcdef0123", Fetched: at,
		Apps: []status.App{
			{Name: "bad", Phase: status.Broken, Reason: "config",
				Detail: "apps/bad/app.config:3:16: isolation: expected vm or embedded, found cloud"},
			{Name: "counter", Version: "1.0.0", Isolation: "embedded", Phase: status.Healthy, Started: at.Add(-50 * time.Hour)},
			{Name: "pulse", Version: "1.1.0", Isolation: "vm", Phase: status.Healthy, Node: "pulse@myhost", Linked: true,
				Pid: 4711, Address: "10.231.0.1", Memory: 33 << 20, Started: at.Add(-90 * time.Second), Restarts: 2,
				Health: "200", Image: "beamsandbox.local/pulse:1", Revision: "abc", Notes: []string{"recon 2.5.2 is retired: security: \"\x1btake 2.5.6\""},
				Stages: []status.Stage{{Name: "image", Took: 3200 * time.Millisecond, Detail: "built"}, {Name: "task", Took: 300 * time.Millisecond}},
				Components: []status.Component{{ID: "beat", Module: "Elixir.Beat", Title: "Beat", PubSub: "Elixir.P", Topic: "beats", UpdateAssign: "beat", Published: true, Loadable: true},
					{ID: "rest", Module: "Elixir.Rest", Published: true, Problem: "the host VM cannot load it"}},
				Drops: map[string]uint64{"guest_out": 7}, Refused: map[string]uint64{"spawn": 1, "exit": 2}},
			{Name: "sick", Version: "0.1.0", Isolation: "vm", Phase: status.Backoff, Reason: "exit_status_1", Restarts: 9,
				Detail: "the guest ended with status 1\n\x1b[2Jand \u202ewiped the screen"},
		},
	}
}
