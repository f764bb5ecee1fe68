//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

// guests measures deployments of small applications, each a copy of
// examples/apps/pulse under a name of its own.
type guests struct {
	ctx   context.Context
	say   func(string)
	repos []*stage.Repo
}

// passage is when one guest passed the milestones of its deployment.
type passage struct{ network, joined, verified, healthy time.Time }

func guestName(i int) string { return fmt.Sprintf("bench%02d", i) }

// makeRepos makes n applications, each in a git repository.
func (g *guests) makeRepos(n int) error {
	for i := range n {
		dir := w.Path("apps", guestName(i))
		if err := renamed("../examples/apps/pulse", dir, "pulse", guestName(i)); err != nil {
			return err
		}
		r, err := w.NewRepo(guestName(i), dir)
		if err != nil {
			return err
		}
		g.repos = append(g.repos, r)
	}
	return nil
}

// renamed copies a folder and replaces old in file names and in files.
func renamed(from, to, old, name string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := to + strings.ReplaceAll(strings.TrimPrefix(path, from), old, name)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, bytes.ReplaceAll(data, []byte(old), []byte(name)), 0o644)
	})
}

// config is the guest's app.config: the limits of the example, no port.
func (g *guests) config(i int) string {
	return fmt.Sprintf(`#{name => %s, version => <<"1.0.0">>, isolation => vm,
  source => #{type => git, url => <<"%s">>, ref => <<"main">>},
  vm_config => #{memory_limit => 128, scheduler_limit => 1}}.`, guestName(i), g.repos[i].URL())
}

// ask commits the first n guests.
func (g *guests) ask(n int) error {
	for i := range g.repos {
		text := []byte(g.config(i))
		if i >= n {
			text = nil
		}
		if err := w.gitops.Write("apps/"+guestName(i)+"/app.config", text); err != nil {
			return err
		}
		if text == nil {
			if err := w.gitops.Write("apps/"+guestName(i), nil); err != nil {
				return err
			}
		}
	}
	return errors.Join(w.gitops.Commit(fmt.Sprintf("Ask for %d guests", n)), w.daemon.Sync(g.ctx))
}

// deploy asks for the first n guests and follows those that are new, from
// first on, until they are healthy.
func (g *guests) deploy(first, n int) ([]passage, error) {
	ctx, cancel := context.WithTimeout(g.ctx, 5*time.Minute)
	defer cancel()
	events, err := w.daemon.Follow(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.ask(n); err != nil {
		return nil, err
	}
	seen := map[string]*passage{}
	for i := first; i < n; i++ {
		seen[guestName(i)] = &passage{}
	}
	left := n - first
	for e := range events {
		if p := seen[e.App]; p != nil && e.Stage != nil && p.note(e) {
			left--
		}
		if left == 0 {
			break
		}
	}
	if left > 0 {
		return nil, fmt.Errorf("%d of %d guests are not healthy: see %s", left, n-first, w.daemon.Log)
	}
	var all []passage
	for i := first; i < n; i++ {
		all = append(all, *seen[guestName(i)])
	}
	return all, nil
}

// note keeps the first time of each stage, by the wall clock: a try that
// failed counts. It reports whether the guest has just become healthy.
func (p *passage) note(e status.Event) bool {
	at := map[string]*time.Time{"network": &p.network, "joined": &p.joined, "verified": &p.verified, "healthy": &p.healthy}[e.Stage.Name]
	if at == nil || !at.IsZero() {
		return false
	}
	*at = e.At
	if e.Stage.Name == "network" {
		*at = e.At.Add(-e.Stage.Took)
	}
	return e.Stage.Name == "healthy"
}

// empty removes every guest.
func (g *guests) empty() error {
	if err := g.ask(0); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(g.ctx, 2*time.Minute)
	defer cancel()
	return w.daemon.Await(ctx, "no guest is left", func(h status.Host) bool { return len(h.Apps) == 0 && h.Settled })
}

// took are the times from the network stage to a milestone.
func took(all []passage, milestone func(passage) time.Time) []time.Duration {
	var out []time.Duration
	for _, p := range all {
		out = append(out, milestone(p).Sub(p.network))
	}
	return out
}

func joined(p passage) time.Time   { return p.joined }
func verified(p passage) time.Time { return p.verified }

// measure adds every figure of guests; peer is what a container and a bare
// BEAM take without us, in milliseconds.
func (g *guests) measure(f *figures, peer float64) error {
	if err := g.oneByOne(f, peer); err != nil {
		return err
	}
	if err := g.images(f); err != nil {
		return err
	}
	if err := g.empty(); err != nil {
		return err
	}
	if err := g.unchanged(f); err != nil {
		return err
	}
	if err := g.atOnce(f); err != nil {
		return err
	}
	if err := g.idle(f); err != nil {
		return err
	}
	return g.empty()
}

// oneByOne adds a guest at a time; those before it go on running.
func (g *guests) oneByOne(f *figures, peer float64) error {
	g.say(fmt.Sprintf("%d guests one after the other, each built first", serial))
	var all []passage
	for i := range serial {
		one, err := g.deploy(i, i+1)
		if err != nil {
			return err
		}
		all = append(all, one...)
	}
	if err := g.stages(all); err != nil {
		return err
	}
	const peerName = "container.true_ms + beam.register_ms"
	times := took(all, joined)
	f.add("guest.joined_p50_ms", percentile(times, 50), "ms").beside(peerName, peer).below(500, 2)
	f.add("guest.joined_p95_ms", percentile(times, 95), "ms").beside(peerName, peer)
	f.add("guest.verified_p50_ms", percentile(took(all, verified), 50), "ms")
	return nil
}

// stageNames are the stages between an image and a healthy guest.
var stageNames = []string{"network", "gateway", "task", "joined", "verified", "healthy"}

// stages says where the time of the first n guests went, and the most of it
// that no stage accounts for.
func (g *guests) stages(all []passage) error {
	h, err := w.daemon.Status(g.ctx)
	if err != nil {
		return err
	}
	byName, gap := map[string][]time.Duration{}, time.Duration(0)
	for i, p := range all {
		sum := time.Duration(0)
		for _, s := range appOf(h, guestName(i)).Stages {
			byName[s.Name] = append(byName[s.Name], s.Took)
			if s.Name != "image" {
				sum += s.Took
			}
		}
		gap = max(gap, p.healthy.Sub(p.network)-sum)
	}
	var parts []string
	for _, name := range stageNames {
		parts = append(parts, fmt.Sprintf("%s %.0f", name, percentile(byName[name], 50)))
	}
	g.say(fmt.Sprintf("stages, p50 in ms: %s; between stages at most %d", strings.Join(parts, ", "), gap.Milliseconds()))
	return nil
}

// atOnce adds guests together; their images are there.
func (g *guests) atOnce(f *figures) error {
	g.say(fmt.Sprintf("%d guests at once, built before", parallel))
	all, err := g.deploy(0, parallel)
	if err != nil {
		return err
	}
	if err := g.stages(all); err != nil {
		return err
	}
	start, end := all[0].network, all[0].joined
	for _, p := range all {
		if p.network.Before(start) {
			start = p.network
		}
		if p.joined.After(end) {
			end = p.joined
		}
	}
	f.add("guest.parallel_joined_p95_ms", percentile(took(all, joined), 95), "ms")
	f.add("guest.create_rate_per_s", float64(parallel)/end.Sub(start).Seconds(), "1/s")
	return nil
}
