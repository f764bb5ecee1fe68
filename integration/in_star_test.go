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

	"beamsandbox/distribution/term"
)

// starStands is how long guests in a star must stand: OTP's global, with its
// defaults, disconnects nodes that it thinks cannot reach each other, some
// seconds after the last of them joined.
const starStands = time.Minute

// star is three guests around one host VM, with global's defaults, that are
// left alone while other tests run: their window costs no time of its own.
type star struct {
	began time.Time
	apps  map[string]string // name to app.config
	seen  int               // changes that the host VM saw before the guests came
}

// TestStar begins the star. The next test that wants the host for itself ends
// it, once it has stood long enough, and tells what it saw; so does the end of
// all tests.
func TestStar(t *testing.T) {
	w.have(t, nil) // whoever ran before is gone
	w.startLegit(t)
	s := &star{seen: len(changes(t))}
	w.haveLegit(t)
	s.began, s.apps = time.Now(), w.legitApps(t)
	for name := range s.apps {
		p := w.pair(t, name)
		p.try(t, []line{{"guest: nodes()", "[HOST]"}})
		for _, on := range []string{"", "guest: "} {
			p.try(t, []line{
				{on + "application:get_env(kernel, prevent_overlapping_partitions, true)", "true"},
				{on + "application:get_env(kernel, connect_all, true)", "true"},
				{on + "init:get_argument(connect_all)", "error"},
			})
		}
	}
	must(t, s.stands(t.Context()))
	w.star = s
}

// stands wants the host VM to have seen every guest come, once, and nobody go, and
// a guest nobody but the host VM, which may have come before it looked.
func (s *star) stands(ctx context.Context) error {
	var lost []error
	for node, changes := range s.changes(ctx) {
		want := []string{"{nodeup," + w.host.Name + "}"}
		if node == hostVM {
			want = want[:0]
			for name := range s.apps {
				want = append(want, "{nodeup,"+w.Node(name)+"}")
			}
		}
		slices.Sort(changes)
		slices.Sort(want)
		if !slices.Equal(changes, want) && (node == hostVM || len(changes) > 0) {
			lost = append(lost, fmt.Errorf("in a star of %d guests, %s saw %v, want %v", len(s.apps), node, changes, want))
		}
	}
	return errors.Join(lost...)
}

const hostVM = "host VM"

// changes is what each node saw of the others since the star's guests came; no
// answer is a change, too. Other tests' guests come to the host VM and go beside
// the star: they are none of it.
func (s *star) changes(ctx context.Context) map[string][]string {
	host := read(w.host.Call(ctx, "demo_web", "changes"))
	if len(host) >= s.seen {
		host = host[s.seen:]
	}
	all := map[string][]string{hostVM: slices.DeleteFunc(host, func(change string) bool { return !s.concerns(change) })}
	for name := range s.apps {
		n, err := w.DialGuest(ctx, name)
		if err != nil {
			all[name] = read(nil, err)
			continue
		}
		all[name] = read(n.Call(ctx, "legit_desk", "changes"))
		n.Close()
	}
	return all
}

// read takes apart what a node answered.
func read(v term.Term, err error) []string {
	list, ok := v.(term.List)
	if err != nil || !ok {
		return []string{fmt.Sprintf("no answer: %v, %v", v, err)}
	}
	all := []string{}
	for _, e := range list.Elems {
		all = append(all, term.Format(e))
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
	return s.stands(ctx)
}

// concerns says whether a change that the host VM saw is one of the star.
func (s *star) concerns(change string) bool {
	return strings.HasPrefix(change, "no answer") || slices.ContainsFunc(slices.Collect(maps.Keys(s.apps)), func(name string) bool {
		return strings.Contains(change, w.Node(name))
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
