package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// publish makes what the loop knows visible: the facts to the workers, the
// snapshot to whoever asks, the history to the next start.
func (s *state) publish() {
	s.relate()
	s.announce()
	if s.adopted {
		have := s.held()
		s.have.Store(&have)
	}
	s.snapshot.Store(s.whole())
	if s.unsaved {
		s.unsaved = false
		if err := writeHistory(s.cfg.Root, s.history); err != nil {
			s.log.Warn("history is not kept", "err", err)
		}
	}
	if s.drained && s.adopted && len(s.entries) == 0 {
		for _, gone := range s.draining {
			close(gone)
		}
		s.draining = nil
	}
}

// whole is the snapshot.
func (s *state) whole() *status.Host {
	h := &status.Host{
		HostNode: s.cfg.HostNode, HostUp: s.hostUp, HostOTP: s.hostOTP, Macula: s.cluster.status(),
		Repo: s.cfg.RepoURL, Branch: s.cfg.Branch, Commit: s.commit.Hash, Fetched: s.fetched,
		Error: s.problem, Containerd: s.cfg.Containerd, Gateway: s.gatewayErr == nil,
		Settled: s.adopted && s.commit.Hash != "" && s.problem == "" && !s.passing,
		Apps:    make([]status.App, 0, len(s.entries)),
		At:      time.Now(),
	}
	if explains, ok := s.host.(interface{ Err() error }); ok && !s.hostUp {
		if err := explains.Err(); err != nil {
			h.HostError = err.Error()
		}
	}
	if h.Error == "" && s.gatewayErr != nil {
		h.Error = s.gatewayErr.Error()
	}
	for _, n := range slices.Sorted(maps.Keys(s.entries)) {
		a := s.entries[n].shown(s.set)
		a.Components = s.components(s.entries[n])
		h.Settled = h.Settled && settled(a.Phase) && s.entries[n].next == nil
		h.Apps = append(h.Apps, a)
	}
	return h
}

// settled reports whether nothing is about to change by itself.
func settled(p status.Phase) bool {
	switch p {
	case status.Healthy, status.Unhealthy, status.Failed, status.Broken, status.Quarantined:
		return true
	}
	return false
}

// shown is an app as status has it: what its worker said, overlaid with what
// is wrong with its configuration and what the events say about its link.
func (e *entry) shown(set app.Set) status.App {
	a := e.view
	f := e.vitals.get()
	a.Linked = f.linked
	if spec, ok := set.Specs[e.name]; ok {
		a.Version = cmp.Or(a.Version, spec.Version)
		a.Isolation = cmp.Or(a.Isolation, string(spec.Isolation))
	}
	a.DependsOn = nil
	for _, d := range e.dependencies() {
		a.DependsOn = append(a.DependsOn, string(d))
	}
	if a.Phase == status.Joining && a.Detail == "" {
		a.Detail = missing(f)
	}
	if a.Reason == "" && e.nodeError != "" {
		a.Reason, a.Detail = "gateway", e.nodeError
	}
	if e.err != nil {
		a.Reason, a.Detail, a.Problems = reasonOf(e.err), firstLine(e.err), lines(e.err)
		switch {
		case a.Reason == "config":
			a.Phase = status.Broken
		case e.have.Digest == "":
			a.Phase = status.Failed
		}
	}
	return a
}

// lines are all the things that are wrong with a configuration.
func lines(err error) []string {
	var load *app.LoadError
	if errors.As(err, &load) {
		return load.Lines()
	}
	return []string{err.Error()}
}

func firstLine(err error) string {
	all := lines(err)
	if len(all) > 1 {
		return fmt.Sprintf("%s (and %d more)", all[0], len(all)-1)
	}
	return all[0]
}

// missing says what a guest that runs still needs to join.
func missing(f facts) string {
	switch {
	case !f.registered:
		return "waits for the guest's BEAM to register its name"
	case !f.hostUp:
		return "waits for the host VM"
	}
	return "waits for the host VM to connect"
}
