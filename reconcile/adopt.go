package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/netns"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

// found is what the rooms really hold.
type found struct {
	tasks    []runtime.Task
	networks []netns.Network
	nodes    []distribution.Node
}

// survey lists what there is. Every error is about a room that cannot be
// asked: nothing is then known to be missing.
func (r *Reconciler) survey(ctx context.Context) (f found, err error) {
	var errs [3]error
	f.tasks, errs[0] = r.rooms.Tasks.List(ctx)
	f.networks, errs[1] = r.rooms.Networks.List(ctx)
	f.nodes, errs[2] = r.rooms.Nodes.List(ctx)
	for i, room := range []string{"guests", "networks", "gateway members"} {
		if errs[i] != nil {
			return f, fmt.Errorf("list %s: %w", room, errs[i])
		}
	}
	return f, nil
}

// adopt finds out what runs before anything is decided, however long that
// takes: to deploy without knowing would start everything twice.
func (r *Reconciler) adopt(ctx context.Context) {
	r.run(func() {
		for wait := restartFirst; ; wait = min(2*wait, restartMost) {
			f, err := r.survey(ctx)
			if err == nil {
				err = r.sweep(ctx, f.networks)
			}
			if err == nil {
				r.post(func(s *state) { s.foundAll(f) })
				return
			}
			r.post(func(s *state) { s.problem = err.Error() })
			r.log.Warn("find what runs", "err", err)
			if !sleep(ctx, wait) {
				return
			}
		}
	})
}

// sweep removes the namespaces of builds that were cut short: no build runs
// yet.
func (r *Reconciler) sweep(ctx context.Context, networks []netns.Network) error {
	var err error
	for _, n := range networks {
		if !n.Guest.IsValid() {
			err = errors.Join(err, r.rooms.Networks.Remove(ctx, n.Name))
		}
	}
	return oneLine(err)
}

// foundAll takes over what survey found and begins to follow the repository.
func (s *state) foundAll(f found) {
	s.adopted, s.problem = true, ""
	for _, n := range f.networks {
		if n.Guest.IsValid() {
			e := s.entry(n.Name)
			e.have.Isolation = app.VM
			e.view.Address = n.Guest.String()
		}
	}
	for _, n := range f.nodes {
		s.entry(n.Name).have.Isolation = app.VM
		s.entry(n.Name).view.Node = n.Node
		s.learnNode(n)
	}
	for _, t := range f.tasks {
		s.foundTask(t)
	}
	if s.drained {
		s.apply(app.Set{})
		return
	}
	s.pass()
}

// sameEnd is how much two readings of when a guest ended may differ.
const sameEnd = time.Second

// foundTask takes over one guest. One that ended while we were away is dealt
// with like one that ends now.
func (s *state) foundTask(t runtime.Task) {
	e := s.entry(t.Name)
	e.have = haveOfTask(t)
	v := &e.view
	v.Version, v.Isolation, v.Digest, v.Started = e.have.Version, string(app.VM), t.Digest, t.Started
	v.Image, v.Revision, v.Notes = t.Labels[labelImage], t.Labels[labelRevision], notesOf(t)
	v.Pid, v.TLS = t.Pid, t.Labels[labelTLS] != ""
	if t.State == runtime.Running {
		return
	}
	e.have.Digest, e.have.Pid, v.Pid = "", 0, 0
	if e.quarantine != nil {
		why := &quarantineError{t.Name, e.quarantine.Error()}
		v.Phase, v.Reason, v.Detail = status.Quarantined, reasonQuarantined, why.Error()
		return
	}
	if t.Exit == nil {
		return
	}
	end := &endError{*t.Exit}
	verdict := judge(end)
	s.record(t.Name, func(r *record) {
		if r.Digest != t.Digest {
			*r = record{Digest: t.Digest, Restarts: r.Restarts}
		}
		if r.Ended.Sub(t.Exit.At).Abs() < sameEnd {
			return // the daemon before us has seen it
		}
		r.Ended = t.Exit.At
		r.Failures++
		r.Restarts++
		r.Reason, r.Detail = verdict.reason, end.Error()
		r.NextRetry = time.Now().Add(verdict.wait(r.Failures))
	})
	v.Restarts = s.history[t.Name].Restarts
	v.Phase, v.Reason, v.Detail = status.Backoff, verdict.reason, end.Error()
}

// foundEmbedded takes over the apps that the host VM runs.
func (s *state) foundEmbedded(apps []runtime.EmbeddedApp) {
	unknown := false
	for _, a := range apps {
		e := s.entry(a.Name)
		if e.have.Isolation != "" {
			continue // a worker is on it, and Ensure looks for itself
		}
		e.have = Have{Version: a.Version, Isolation: app.Embedded, Digest: a.Digest}
		e.view.Version, e.view.Isolation, e.view.Digest = a.Version, string(app.Embedded), a.Digest
		unknown = unknown || e.newest() == nil
	}
	if unknown && s.commit.Hash != "" && !s.drained {
		s.apply(s.set)
	}
}

// resync repairs what events that were missed would have told.
func (r *Reconciler) resync(ctx context.Context) {
	before := r.linkEvents.Load()
	f, err := r.survey(ctx)
	if err != nil {
		if ctx.Err() == nil {
			r.log.Warn("find what runs", "err", err)
		}
		return
	}
	r.post(func(s *state) {
		if r.linkEvents.Load() == before { // else what was listed may be old by now
			for _, n := range f.nodes {
				s.learnNode(n)
			}
		}
		s.lostTasks(f.tasks)
	})
}

// lostTasks ends what is attended and does not run any more.
func (s *state) lostTasks(tasks []runtime.Task) {
	for _, t := range tasks {
		e := s.entries[t.Name]
		if e != nil && t.State == runtime.Stopped && t.Exit != nil && e.have.Pid != 0 {
			s.taskEnded(runtime.Event{Name: t.Name, Pid: e.have.Pid, Exit: *t.Exit})
		}
	}
}
