package reconcile

import (
	"context"
	"maps"
	"slices"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/components"
	"beamsandbox/reconcile/git"
	"beamsandbox/reconcile/status"
)

// state is everything that the loop knows. Only the loop touches it.
type state struct {
	*Reconciler
	ctx     context.Context
	entries map[app.Name]*entry
	set     app.Set // of commit
	commit  git.Commit
	fetched time.Time
	problem string // why the last pass stopped short

	heading  bool // branches are being asked for
	adopted  bool // what runs is known
	passing  bool // a pass is on its way
	again    bool // and another was asked for
	drained  bool // everything is being removed, for good
	draining []chan struct{}

	hostUp     bool
	hostLinks  int     // counts our connections to the host VM
	cluster    cluster // of the host VM
	asking     bool    // Macula is being looked at
	hostOTP    string
	hostListed int                                // counts how often the host VM was asked what it runs
	board      board                              // what the publisher of components was told
	published  map[components.ID]components.State // what it said
	gateway    int                                // counts its restarts
	gatewayErr error                              // why it does not answer
	history    map[app.Name]record
	unsaved    bool
}

// entry is one app of the commit, or one that still runs without it.
type entry struct {
	name   app.Name
	have   Have
	vitals *vitals
	// current attends what runs; next builds what will take its place.
	current, next *worker
	ending        []*worker // cancelled and perhaps still busy
	view          status.App
	nodeError     string // what the gateway cannot do for it
	err           error  // why it cannot be deployed as it is written
	quarantine    *distribution.Quarantine
}

func (r *Reconciler) newState(ctx context.Context) *state {
	s := &state{Reconciler: r, ctx: ctx, entries: map[app.Name]*entry{}}
	var err error
	if s.history, err = readHistory(r.cfg.Root); err != nil {
		r.log.Warn("history is lost", "err", err)
	}
	return s
}

// entry returns the entry of name, making it when it is missing.
func (s *state) entry(name app.Name) *entry {
	e, ok := s.entries[name]
	if !ok {
		e = &entry{
			name:   name,
			vitals: newVitals(facts{hostUp: s.hostUp, gateway: s.gateway}),
			view:   status.App{Name: string(name), Phase: status.Pending, Restarts: s.history[name].Restarts},
		}
		s.entries[name] = e
	}
	return e
}

// held is what runs or is being made, for Plan.
func (s *state) held() map[app.Name]Have {
	out := make(map[app.Name]Have, len(s.entries))
	for n, e := range s.entries {
		if e.have.Isolation != "" || e.current != nil || e.next != nil {
			out[n] = e.have
			if e.quarantine != nil {
				h := e.have
				h.Quarantine = e.quarantine
				out[n] = h
			}
		}
	}
	return out
}

// begin starts w as the next worker of its app. What runs is attended by the
// current one until w takes over; a worker that made nothing yet is ended at
// once.
func (s *state) begin(w *worker) {
	e := s.entry(w.name)
	e.endUseless()
	e.next, e.err = w, nil
	w.vitals, w.done = e.vitals, make(chan struct{})
	ctx, cancel := context.WithCancel(s.ctx)
	w.cancel = cancel
	s.spawn(func() {
		defer close(w.done)
		w.live(ctx)
	})
}

// spawn starts a goroutine from within the loop, unless the loop is ending.
func (s *state) spawn(f func()) {
	if s.ctx.Err() == nil {
		s.run(f)
	}
}

// claim makes w the current worker, ends the one before it and returns what
// there is, and all workers that must have ended before w touches it.
func (s *state) claim(w *worker) (h Have, before []*worker) {
	e := s.entries[w.name]
	if e == nil || e.next != w { // w was superseded: its context has ended
		return Have{}, nil
	}
	if e.current != nil {
		e.end(e.current)
	}
	e.current, e.next = w, nil
	before, e.ending = e.ending, nil
	return e.have, before
}

// end stops w; whoever claims the app next waits until it has ended.
func (e *entry) end(w *worker) {
	w.cancel()
	e.ending = append(e.ending, w)
}

// endUseless ends the worker that was to take over, and the current one when
// it has nothing to attend.
func (e *entry) endUseless() {
	if e.next != nil {
		e.end(e.next)
		e.next = nil
	}
	if e.current != nil && e.have.Digest == "" {
		e.end(e.current)
		e.current = nil
	}
}

// of returns the entry that w works for, unless another took its place.
func (s *state) of(w *worker) *entry {
	e := s.entries[w.name]
	if e == nil || e.current != w && e.next != w {
		return nil
	}
	return e
}

// forget drops an app that left nothing behind.
func (s *state) forget(name app.Name) {
	if e := s.entries[name]; e != nil && e.next != nil { // wanted again meanwhile
		e.end(e.current)
		e.current, e.have = nil, Have{}
		return
	}
	delete(s.entries, name)
	delete(s.history, name)
	s.unsaved = true
	s.tell(status.Event{App: string(name), Kind: "removed", Text: "removed"})
	s.log.Info("removed", "app", name)
}

// record changes what history knows of an app.
func (s *state) record(name app.Name, change func(*record)) {
	rec := s.history[name]
	before := rec
	change(&rec)
	if rec != before {
		s.history[name] = rec
		s.unsaved = true
	}
}

// relate tells every app whether its dependencies run and whether anything
// depends on it still.
func (s *state) relate() {
	for _, e := range s.entries {
		ready, free := true, true
		for _, dep := range e.dependencies() {
			ready = ready && s.runs(dep)
		}
		for _, other := range s.entries {
			if other != e && other.removes() && slices.Contains(other.have.DependsOn, e.name) {
				free = false
			}
		}
		e.vitals.set(func(f *facts) { f.depsReady, f.free = ready, free })
	}
}

// runs reports whether dependants of name may start.
func (s *state) runs(name app.Name) bool {
	e := s.entries[name]
	if e == nil || e.have.Digest == "" {
		return false
	}
	switch e.view.Phase {
	case status.Healthy, status.Unhealthy, status.Broken:
		return true
	}
	return false
}

func (e *entry) dependencies() []app.Name {
	if w := e.newest(); w != nil {
		return w.spec.DependsOn
	}
	return e.have.DependsOn
}

// newest is the worker that works for the newest wish.
func (e *entry) newest() *worker {
	if e.next != nil {
		return e.next
	}
	return e.current
}

func (e *entry) removes() bool {
	w := e.newest()
	return w != nil && w.removal
}

// learnNode takes over how the gateway sees one guest.
func (s *state) learnNode(n distribution.Node) {
	e := s.entries[n.Name]
	if e == nil {
		return
	}
	e.vitals.set(func(f *facts) { f.registered, f.linked = n.Registered, n.Up })
	e.learnMessages(n)
	e.learnQuarantine(n.Quarantine)
	e.nodeError = n.Error
}

// learnMessages takes over what the gateway refused, and whether it does.
func (e *entry) learnMessages(n distribution.Node) {
	v := &e.view
	v.Refused, v.Messages, v.Refusals = maps.Clone(n.Refused), "", nil
	if n.Mode == policy.Audit || n.Mode == policy.Trusted {
		v.Messages = string(n.Mode)
	}
	for _, r := range n.Recent {
		v.Refusals = append(v.Refusals, status.Refusal(r))
	}
}

// retryAll lets every app that waits for another try have it.
func (s *state) retryAll() {
	for _, e := range s.entries {
		e.vitals.set(func(f *facts) { f.retry++ })
	}
}

// drain asks for the removal of everything; gone is closed when it is done.
func (s *state) drain(gone chan struct{}) {
	s.drained = true
	s.draining = append(s.draining, gone)
	if s.adopted {
		s.apply(app.Set{})
	}
}
