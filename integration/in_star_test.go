//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/control"
	"beamsandbox/distribution/term"
)

// starStands is how long guests in a star must stand: OTP's global, with its
// defaults, disconnects nodes that it thinks cannot reach each other, some
// seconds after the last of them joined.
const starStands = time.Minute

// star is three guests around one host VM, with global's defaults, that are
// left alone while other tests run: their window costs no time of its own.
type star struct {
	began  time.Time
	apps   map[string]string // name to app.config
	guests map[string]*control.Node
	seen   map[string]int // changes by node, when it began
}

// TestStar begins the star. The next test that wants the host for itself ends
// it, once it has stood long enough, and tells what it saw; so does the end of
// all tests.
func TestStar(t *testing.T) {
	w.haveLegit(t)
	s := &star{began: time.Now(), apps: w.legitApps(t), guests: map[string]*control.Node{}, seen: map[string]int{}}
	for name := range s.apps {
		n, err := w.DialGuest(t.Context(), name)
		must(t, err)
		s.guests[name] = n
		p := w.pair(t, name)
		p.try(t, []line{{"guest: application:get_env(kernel, prevent_overlapping_partitions, true)", "true"}})
	}
	for node, changes := range s.changes(t.Context()) {
		s.seen[node] = len(changes)
	}
	if len(s.seen) != 4 {
		t.Fatalf("the nodes that tell of changes are %v, want the host VM and three guests", s.seen)
	}
	w.star = s
}

// changes is what each node saw of the others; an error is a change, too.
func (s *star) changes(ctx context.Context) map[string][]string {
	all := map[string][]string{}
	ask := func(node string, call func(context.Context, string, string, ...term.Term) (term.Term, error)) {
		v, err := call(ctx, "legit_desk", "changes")
		list, ok := v.(term.List)
		if err != nil || !ok {
			all[node] = []string{fmt.Sprintf("no answer: %v, %v", v, err)}
			return
		}
		all[node] = []string{}
		for _, e := range list.Elems {
			all[node] = append(all[node], term.Format(e))
		}
	}
	ask("host VM", w.host.Call)
	for name, n := range s.guests {
		ask(name, n.Call)
	}
	return all
}

// end waits for the rest of the star's time and says which node lost another.
func (s *star) end(ctx context.Context) error {
	select {
	case <-time.After(time.Until(s.began.Add(starStands))):
	case <-ctx.Done():
		return ctx.Err()
	}
	var lost []error
	for node, changes := range s.changes(ctx) {
		for _, c := range changes[min(s.seen[node], len(changes)):] {
			if node != "host VM" || s.concerns(c) {
				lost = append(lost, fmt.Errorf("in a star of %d guests, %s saw %s", len(s.guests), node, c))
			}
		}
	}
	for _, n := range s.guests {
		n.Close()
	}
	return errors.Join(lost...)
}

// concerns says whether a change that the host VM saw is one of the star:
// other tests' guests come and go beside it.
func (s *star) concerns(change string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(s.guests)), func(name string) bool {
		return strings.Contains(change, w.Node(name)) || strings.HasPrefix(change, "no answer")
	})
}

// endStar ends a star that still stands.
func (w *world) endStar(ctx context.Context) error {
	if w == nil || w.star == nil {
		return nil
	}
	s := w.star
	w.star = nil
	return s.end(ctx)
}

// haveBeside is have, but a star that stands goes on standing.
func (w *world) haveBeside(t *testing.T, apps map[string]string) {
	t.Helper()
	if w.star != nil {
		apps = maps.Clone(apps)
		maps.Copy(apps, w.star.apps)
	}
	w.only(t, apps)
}
