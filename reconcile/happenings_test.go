package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/telemetry"
	"beamsandbox/runtime"
)

// watcher writes down what a reconciler tells.
type watcher struct {
	mu   sync.Mutex
	seen []telemetry.Event
}

func (w *watcher) observe(e telemetry.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, e)
}

// take returns "scope what app" for each event since the last call, without
// passes and checks, which come again and again, and without links, which
// somebody else makes. An end that went wrong has an exclamation mark.
func (w *watcher) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, e := range w.seen {
		text := strings.TrimSpace(e.Scope + " " + e.What + " " + e.App)
		if e.Err != nil {
			text += "!"
		}
		if !slices.Contains([]string{"reconcile", "git", "parse", "health", "cluster"}, e.Scope) {
			out = append(out, text)
		}
	}
	w.seen = nil
	return out
}

func (w *watcher) count(scope, what string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.seen {
		if e.Scope == scope && e.What == what {
			n++
		}
	}
	return n
}

func TestHappenings(t *testing.T) {
	inWorld(t, func(b *bench) {
		w := &watcher{}
		b.observe = w.observe
		want := func(what string, lines ...string) {
			t.Helper()
			if got := w.take(); !slices.Equal(got, lines) {
				t.Errorf("%s:\ngot  %q\nwant %q", what, got, lines)
			}
		}
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(5 * time.Second)
		for _, once := range []string{"reconcile start", "reconcile stop", "git pull", "parse start", "parse stop"} {
			if scope, what, _ := strings.Cut(once, " "); w.count(scope, what) != 1 {
				t.Errorf("%d of %s", w.count(scope, what), once)
			}
		}
		if w.count("health", "check") == 0 {
			t.Error("no health check is told")
		}
		want("deploy", "deploy start pulse", "build start pulse", "build stop pulse", "vm spawn_start pulse",
			"vm spawn_stop pulse", "deploy stop pulse")

		b.world.Exit("pulse", runtime.Exit{Status: 1})
		b.after(5 * time.Second)
		if up, down := w.count("cluster", "node_up"), w.count("cluster", "node_down"); up != 1 || down != 1 {
			t.Errorf("a guest that ended came %d times and went %d times", up, down)
		}
		want("a guest that ended", "vm spawn_start pulse", "vm spawn_stop pulse")

		b.commit(map[string]string{"pulse": guest("pulse", "1.1.0", "")})
		b.after(5 * time.Second)
		want("upgrade", "upgrade start pulse", "build start pulse", "build stop pulse", "vm stop_start pulse", "vm stop_stop pulse",
			"vm spawn_start pulse", "vm spawn_stop pulse", "upgrade stop pulse")

		b.halt()
		w.take()
		b.start()
		b.after(5 * time.Second)
		want("adoption")

		b.commit(map[string]string{})
		b.after(5 * time.Second)
		want("remove", "remove start pulse", "vm stop_start pulse", "vm stop_stop pulse", "remove stop pulse")

		b.commit(map[string]string{"counter": embedded("counter", "1.0.0", "")})
		b.after(5 * time.Second)
		want("embedded", "deploy start counter", "build start counter", "build stop counter", "code load counter", "deploy stop counter")
		b.commit(map[string]string{})
		b.after(5 * time.Second)
		want("embedded is removed", "remove start counter", "code purge counter", "remove stop counter")
	})
}

func TestHappeningsThatFail(t *testing.T) {
	inWorld(t, func(b *bench) {
		w := &watcher{}
		b.observe = w.observe
		broken := true
		b.world.Images.Hook = func(_ context.Context, verb string, _ app.Name) error {
			if verb == "ensure" && broken {
				return errors.New("does not compile")
			}
			return nil
		}
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(500 * time.Millisecond)
		if got := fmt.Sprint(w.take()); got != "[deploy start pulse build start pulse build stop pulse! deploy stop pulse!]" {
			t.Errorf("a build that fails: %s", got)
		}
		b.commit(map[string]string{"pulse": guest("pulse", "1.1.0", "")})
		b.commit(map[string]string{"pulse": guest("pulse", "1.2.0", "")})
		broken = false
		b.after(5 * time.Second)
		starts, ends := 0, 0
		for _, line := range w.take() {
			if strings.HasPrefix(line, "deploy start") {
				starts++
			} else if strings.HasPrefix(line, "deploy stop") {
				ends++
			}
		}
		if starts != 2 || ends != 2 {
			t.Errorf("%d deployments began and %d ended", starts, ends)
		}
		b.world.Repo.Fail(errors.New("no route"))
		b.r.Trigger()
		b.after(time.Second)
		if w.count("reconcile", "error") != 1 || w.count("git", "pull") != 0 {
			t.Error("a pass that fails is told as one that did not")
		}
	})
}
