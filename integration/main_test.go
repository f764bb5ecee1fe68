//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"beamsandbox/distribution/control"
	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

// world is the one stage that the tests of this package share: a host VM, the
// example repositories and a running sandboxd. Tests run one after the other
// and leave pulse and counter as they found them.
type world struct {
	*stage.Stage
	host                   *stage.Host
	daemon                 *stage.Daemon
	gitops, pulse, counter *stage.Repo
	star                   *star // while it stands
}

var w *world

// TestMain fails when a part is missing; nothing here is ever skipped.
func TestMain(m *testing.M) {
	os.Exit(stage.Tests(m, "../bin", setUp, func(ctx context.Context) error { return w.endStar(ctx) }))
}

func setUp(ctx context.Context, s *stage.Stage) (err error) {
	w = &world{Stage: s}
	if err := s.StartEPMD(ctx); err != nil {
		return err
	}
	if w.host, err = s.StartHost(ctx, "demo_web"); err != nil {
		return err
	}
	return w.makeRepos()
}

// makeRepos makes the three repositories; the gitops one asks for nothing yet.
func (w *world) makeRepos() error {
	var err1, err2, err3 error
	w.pulse, err1 = w.NewRepo("pulse", "../examples/apps/pulse")
	w.counter, err2 = w.NewRepo("counter", "../examples/apps/counter")
	w.gitops, err3 = w.NewRepo("gitops", "../examples/gitops")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	return errors.Join(w.pulse.Tag("v1.0.0"), w.gitops.Write("apps/.keep", []byte{}),
		w.gitops.Write("apps/pulse", nil), w.gitops.Write("apps/counter", nil), w.gitops.Commit("Ask for nothing"))
}

// start starts sandboxd once; tests call it through have.
func (w *world) start(t *testing.T) {
	t.Helper()
	if w.daemon != nil && w.daemon.Running() {
		return
	}
	d, err := w.StartDaemon(t.Context(), stage.Options{Repo: w.gitops, HostNode: w.host.Name, Messages: worldMessages,
		Extra: []term.Term{term.Tuple{term.Atom("metrics"), term.Binary(w.metricsSocket())}}})
	if err != nil {
		t.Fatal(err)
	}
	w.daemon = d
}

// within bounds what a test waits for.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// have makes the repository ask for exactly these apps, app name to the text
// of its app.config, and waits until they are healthy.
func (w *world) have(t *testing.T, apps map[string]string) {
	t.Helper()
	if err := w.endStar(t.Context()); err != nil {
		t.Error(err)
	}
	w.only(t, apps)
}

func (w *world) only(t *testing.T, apps map[string]string) {
	t.Helper()
	w.start(t)
	w.push(t, apps)
	names := make([]string, 0, len(apps))
	for n := range apps {
		names = append(names, n)
	}
	ctx := within(t, 3*time.Minute)
	must(t, w.daemon.AwaitHealthy(ctx, names...))
	must(t, w.daemon.Await(ctx, "the host has settled", func(h status.Host) bool { return h.Settled }))
}

// push commits exactly these apps and waits until sandboxd has seen them.
func (w *world) push(t *testing.T, apps map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.gitops.Dir, "apps"))
	must(t, err)
	for _, e := range entries {
		if e.IsDir() {
			must(t, w.gitops.Write("apps/"+e.Name(), nil))
		}
	}
	for n, text := range apps {
		must(t, w.gitops.Write("apps/"+n+"/app.config", []byte(text)))
	}
	must(t, w.gitops.Commit("Ask for other apps"))
	head, err := w.gitops.Head()
	must(t, err)
	must(t, w.daemon.Sync(t.Context()))
	must(t, w.daemon.Await(within(t, time.Minute), "the commit is seen", func(h status.Host) bool {
		return h.Commit == head
	}))
}

// pulseConfig is an app.config of pulse with the given vm_config and port.
func (w *world) pulseConfig(name, vm string, port int) string {
	return fmt.Sprintf(`#{name => %s, version => <<"1.0.0">>, isolation => vm,
  source => #{type => git, url => <<"%s">>, ref => <<"v1.0.0">>},
  vm_config => #{%s}, env => #{http_port => %d, interval => 200},
  health => #{type => http, port => %d, path => <<"/health">>, interval => 1000}}.`,
		name, w.pulse.URL(), vm, port, port)
}

// counterConfig is an app.config of counter.
func (w *world) counterConfig(isolation, env string) string {
	return fmt.Sprintf(`#{name => counter, version => <<"1.0.0">>, isolation => %s,
  source => #{type => git, url => <<"%s">>, ref => <<"main">>}, env => #{%s}}.`,
		isolation, w.counter.URL(), env)
}

// guest is a connection of the test's own into a guest, past the gateway.
func (w *world) guest(t *testing.T, name string) *control.Node {
	t.Helper()
	n, err := w.DialGuest(within(t, 10*time.Second), name)
	must(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

func call(t *testing.T, n *control.Node, module, function string, args ...term.Term) term.Term {
	t.Helper()
	v, err := n.Call(within(t, 30*time.Second), module, function, args...)
	if err != nil {
		t.Fatalf("%s:%s: %v", module, function, err)
	}
	return v
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
