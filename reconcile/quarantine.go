package reconcile

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"beamsandbox/distribution"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

// reasonQuarantined is the word of status for a guest that is kept off.
const reasonQuarantined = "quarantined"

// quarantineError says that the gateway keeps a guest off: what it sent was
// malformed or forged again and again, which no honest node does. It is ended
// and not started again until an operator lifts that, or it has other code.
type quarantineError struct {
	name app.Name
	why  string
}

func (e *quarantineError) Error() string {
	return fmt.Sprintf("%s; 'sandboxctl quarantine lift %s' lets it run again, and so does another version or source", e.why, e.name)
}

// Lift lets a quarantined app run again. The gateway's record of it comes
// first: what is lifted there stays so whenever we are interrupted.
func (r *Reconciler) Lift(ctx context.Context, name app.Name) error {
	var there, barred bool
	err := r.ask(ctx, func(s *state) {
		e := s.entries[name]
		there, barred = e != nil, e != nil && e.isBarred()
	})
	switch {
	case err != nil:
		return err
	case !there:
		return fmt.Errorf("no app %s on this host; sandboxctl status lists them", name)
	case !barred:
		return fmt.Errorf("%s is not quarantined", name)
	}
	if err := r.rooms.Nodes.Lift(ctx, name); err != nil {
		return err
	}
	return r.ask(ctx, func(s *state) {
		s.linkEvents.Add(1) // what was listed before is old
		s.log.Warn("quarantine lifted", "app", name)
		s.tell(status.Event{App: string(name), Kind: "lifted", Text: "its quarantine was lifted"})
		if e := s.entries[name]; e != nil {
			e.learnQuarantine(nil)
		}
	})
}

func (e *entry) isBarred() bool { return e.quarantine != nil || e.vitals.get().barred != "" }

// quarantined acts on what the gateway told; the rest is read from its list.
func (s *state) quarantined(e *entry, ev distribution.Event) {
	s.log.Error("guest quarantined", "app", ev.Name, "why", ev.Detail)
	e.vitals.set(func(f *facts) { f.barred = ev.Detail })
	s.spawn(func() { s.resync(s.ctx) })
}

// learnQuarantine takes over whether the gateway keeps a guest off.
func (e *entry) learnQuarantine(q *distribution.Quarantine) {
	e.quarantine, e.view.Quarantine = q, nil
	why := ""
	if q != nil {
		why = q.Error()
		e.view.Quarantine = &status.Quarantine{At: q.At, Rule: q.Rule, Closed: q.Closed}
	}
	e.vitals.set(func(f *facts) { f.barred = why })
}

func (s *state) learnQuarantines(nodes []distribution.Node) {
	for _, n := range nodes {
		if e := s.entries[n.Name]; e != nil {
			e.learnQuarantine(n.Quarantine)
		}
	}
}

// admitted says whether the gateway lets a guest in that it was just told of.
func (w *worker) admitted(n distribution.Node) error {
	w.linkEvents.Add(1) // what was listed before is old
	w.post(func(s *state) {
		if e := s.of(w); e != nil {
			e.learnQuarantine(n.Quarantine)
		}
	})
	if n.Quarantine == nil {
		return nil
	}
	return &quarantineError{w.name, n.Quarantine.Error()}
}

// trusted says why an app cannot move into the host VM: code that is kept off
// as a guest has no business there.
func (w *worker) trusted(ctx context.Context) error {
	var q *distribution.Quarantine
	err := w.ask(ctx, func(s *state) {
		if e := s.of(w); e != nil {
			q = e.quarantine
		}
	})
	if err != nil || q == nil || q.Build != w.spec.BuildDigest() {
		return err
	}
	return &quarantineError{w.name, q.Error()}
}

// barred ends a guest that runs although it is kept off: the daemon before us
// did not get round to it.
func (w *worker) barred(ctx context.Context, why error) error {
	var q *quarantineError
	if !errors.As(why, &q) || w.old.Pid == 0 {
		return why
	}
	return w.clear(ctx, runtime.Task{Pid: w.old.Pid}, why)
}

// end makes a guest end that is to be started again, or is kept off. The
// latter is not asked: it has shown what it makes of what it is told.
func (w *worker) end(ctx context.Context, pid uint32, why error) bool {
	var q *quarantineError
	if !errors.As(why, &q) {
		return w.stop(ctx, pid)
	}
	s, ok := w.rooms.Tasks.(signaler)
	if !ok || s.Signal(ctx, w.name, syscall.SIGKILL) != nil {
		return false
	}
	grace, cancel := context.WithTimeout(ctx, w.cfg.StopGrace)
	defer cancel()
	_, err := w.vitals.wait(grace, func(f facts) bool { return f.exit != nil && f.exit.Pid == pid })
	return err == nil
}

// pause waits until the app may be tried again after err. A quarantine ends
// when it is lifted; a gateway that was restarted is told of the guest again.
func (w *worker) pause(ctx context.Context, err error) bool {
	wait := w.report(err)
	var q *quarantineError
	if !errors.As(err, &q) {
		return w.rest(ctx, wait)
	}
	_, err = w.vitals.wait(ctx, func(f facts) bool { return f.barred == "" || f.gateway != w.gateway })
	return err == nil
}
