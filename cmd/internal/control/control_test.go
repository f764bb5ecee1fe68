package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/reconcile/status"
)

type daemon struct {
	triggered, drained int
}

func (d *daemon) Status() status.Host {
	return status.Host{HostNode: "demo_web@myhost", Apps: []status.App{{Name: "pulse", Phase: status.Healthy}}}
}
func (d *daemon) Trigger() { d.triggered++ }
func (d *daemon) Plan(context.Context) ([]status.Step, error) {
	return nil, errors.New("the repository cannot be read")
}
func (d *daemon) Subscribe(context.Context) iter.Seq[status.Event] {
	return func(yield func(status.Event) bool) {
		for i := range 3 {
			if !yield(status.Event{Kind: "phase", Text: fmt.Sprint(i)}) {
				return
			}
		}
	}
}
func (d *daemon) Logs(_ context.Context, app string, _ bool, w io.Writer) error {
	if app != "pulse" {
		return fmt.Errorf("no app %s here", app)
	}
	_, err := io.WriteString(w, "one\ntwo\n")
	return err
}
func (d *daemon) Drain(context.Context) error { d.drained++; return nil }

func serve(t *testing.T, d Daemon) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.sock")
	l, err := Listen(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, d, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return NewClient(path)
}

func TestQuestions(t *testing.T) {
	d := &daemon{}
	c := serve(t, d)
	ctx := t.Context()
	got, err := c.Status(ctx)
	if err != nil || !cmp.Equal(got, d.Status()) {
		t.Errorf("Status() = %v, %v", got, err)
	}
	if _, err := c.Plan(ctx); err == nil || err.Error() != "the repository cannot be read" {
		t.Errorf("Plan() error = %v, want the daemon's own words", err)
	}
	if err := errors.Join(c.Sync(ctx), c.Drain(ctx)); err != nil || d.triggered != 1 || d.drained != 1 {
		t.Errorf("sync, drain: %v, %+v", err, d)
	}
}

func TestLogs(t *testing.T) {
	c := serve(t, &daemon{})
	var out bytes.Buffer
	if err := c.Logs(t.Context(), "pulse", false, &out); err != nil || out.String() != "one\ntwo\n" {
		t.Errorf("Logs(pulse) = %q, %v", out.String(), err)
	}
	if err := c.Logs(t.Context(), "nobody", true, &out); err == nil || !strings.Contains(err.Error(), "no app nobody") {
		t.Errorf("Logs(nobody) error = %v", err)
	}
}

func TestEvents(t *testing.T) {
	c := serve(t, &daemon{})
	var got []string
	ready := false
	err := c.Events(t.Context(), func() { ready = true }, func(e status.Event) bool {
		got = append(got, e.Text)
		return len(got) < 2
	})
	if err != nil || !ready || !cmp.Equal(got, []string{"0", "1"}) {
		t.Errorf("Events: %v, ready %v, %v", got, ready, err)
	}
}

func TestNobodyThere(t *testing.T) {
	c := NewClient(filepath.Join(t.TempDir(), "none.sock"))
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Status() error = %v, want ErrUnreachable", err)
	}
}

func TestListenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	l, err := Listen(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(path, -1); err == nil || !strings.Contains(err.Error(), "another sandboxd") {
		t.Errorf("second Listen error = %v", err)
	}
}
