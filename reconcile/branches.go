package reconcile

import (
	"context"
	"sync"
	"time"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// A source that names a branch moves without a commit in the repository that
// we follow. Whenever that is looked at, so are the branches, one round at a
// time: each is asked for once a round.
const (
	headsAtOnce = 4
	headCall    = 30 * time.Second
)

// header is a room of images that can say where a source is now: a revision,
// "" for one that cannot move.
type header interface {
	Head(ctx context.Context, src app.Source) (string, error)
}

// askHeads starts a round, unless one is under way.
func (s *state) askHeads() {
	h, ok := s.rooms.Images.(header)
	if !ok || s.heading || !s.adopted || s.drained {
		return
	}
	asked := map[app.Source]bool{}
	for _, e := range s.entries {
		if spec, ok := s.follows(e); ok {
			asked[spec.Source] = true
		}
	}
	s.heading = len(asked) > 0
	if !s.heading {
		return
	}
	s.spawn(func() {
		heads := s.heads(s.ctx, h, asked)
		s.post(func(s *state) {
			s.heading = false
			s.moved(heads)
		})
	})
}

// heads asks for each source once. One that cannot be asked is left out.
func (r *Reconciler) heads(ctx context.Context, h header, asked map[app.Source]bool) map[app.Source]string {
	heads := map[app.Source]string{}
	var mu sync.Mutex
	var round sync.WaitGroup
	slots := make(chan struct{}, headsAtOnce)
	for src := range asked {
		slots <- struct{}{}
		round.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, headCall)
			defer cancel()
			head, err := h.Head(ctx, src)
			if err != nil {
				r.log.Warn("ask for a branch", "err", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			heads[src] = head
		})
	}
	round.Wait()
	return heads
}

// follows is the spec of an app that was started as its spec wants, whether it
// runs or has ended, at a revision that is known, and that nothing but its
// source can change now.
func (s *state) follows(e *entry) (app.Spec, bool) {
	spec, wanted := s.set.Specs[e.name]
	w := e.newest()
	ok := wanted && spec.Source.Type == app.SourceGit && e.view.Revision != "" && e.view.Digest == spec.Digest() &&
		w != nil && !w.removal && (e.next == nil || e.next.moved != "")
	return spec, ok
}

// moved begins a worker for every app whose branch is elsewhere by now.
func (s *state) moved(heads map[app.Source]string) {
	for _, e := range s.entries {
		spec, ok := s.follows(e)
		head := heads[spec.Source]
		switch {
		case !ok || head == "" || s.drained:
		case head == e.view.Revision && e.next != nil: // it moved back before the other was built
			s.begin(&worker{Reconciler: s.Reconciler, name: e.name, spec: spec})
		case head != e.view.Revision && (e.next == nil || e.next.moved != head):
			s.log.Info("branch moved", "app", e.name, "ref", spec.Source.Ref, "from", short(e.view.Revision), "to", short(head))
			s.tell(status.Event{App: string(e.name), Kind: string(Upgrade), Text: "branch " + spec.Source.Ref + " moved to " + short(head)})
			s.begin(&worker{Reconciler: s.Reconciler, name: e.name, spec: spec, moved: head})
		}
	}
}

// replaceMoved makes room for what was built of a branch that moved: the task
// that runs has the digest of the new one, and would be taken for it.
func (w *worker) replaceMoved(ctx context.Context) error {
	running := w.image.Revision
	err := w.ask(ctx, func(s *state) {
		if e := s.of(w); e != nil {
			running = e.view.Revision
		}
	})
	if err != nil || running == w.image.Revision || w.old.Digest == "" {
		return err
	}
	w.phase(status.Stopping, "stopping "+short(running))
	if !w.stop(ctx, w.old.Pid) {
		if err := w.rooms.Tasks.Remove(ctx, w.name); err != nil {
			return &stageError{"remove", err}
		}
	}
	w.post(w.stopped)
	w.old.Digest = ""
	return ctx.Err()
}
