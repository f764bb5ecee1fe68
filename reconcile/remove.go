package reconcile

import (
	"cmp"
	"context"
	"errors"
	"syscall"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

// remove is the way back of one app: dependants first, then gracefully out of
// where it runs, then everything that was made for it.
func (w *worker) remove(ctx context.Context) error {
	if !w.claimed {
		if err := w.claimApp(ctx); err != nil {
			return err
		}
		w.phase(status.Stopping, "removing "+w.old.Version)
	}
	if _, err := w.vitals.wait(ctx, func(f facts) bool { return f.free }); err != nil {
		return err
	}
	if err := w.undo(ctx, w.old); err != nil {
		return &stageError{"remove", err}
	}
	if err := w.rooms.Images.Remove(ctx, w.name); err != nil {
		return &stageError{"remove", err}
	}
	if err := w.cookies.Forget(w.name); err != nil {
		return &stageError{"remove", err}
	}
	w.changed(nil)
	if c := w.cfg.TLS.Certificates; c != nil {
		if err := c.ForgetGuest(w.name); err != nil {
			return &stageError{"remove", err}
		}
	}
	w.post(func(s *state) {
		if s.of(w) != nil {
			s.forget(w.name)
		}
	})
	return nil
}

// undo takes old out of where it runs. What is not known to be embedded is
// looked for as a guest: removing what is not there succeeds.
func (w *worker) undo(ctx context.Context, old Have) error {
	if old.Isolation == app.Embedded {
		return w.unload(ctx)
	}
	w.stop(ctx, old.Pid)
	err := w.rooms.Tasks.Remove(ctx, w.name)
	// Each room is tried whatever the others say, so that as little as possible stays.
	err = errors.Join(err, w.rooms.Nodes.Remove(ctx, w.name))
	err = errors.Join(err, w.rooms.Networks.Remove(ctx, w.name))
	if err != nil {
		return oneLine(err)
	}
	w.gone()
	return nil
}

// unload takes an embedded app out of the host VM. A host VM that is not
// there runs nothing; what one that was only out of reach still runs is
// found when it comes back.
func (w *worker) unload(ctx context.Context) error {
	if w.vitals.get().hostUp {
		if err := w.rooms.Embedded.Remove(ctx, w.name); err != nil {
			return err
		}
		w.coded("purge", nil)
	}
	w.gone()
	return nil
}

// gone notes that nothing of the app runs.
func (w *worker) gone() {
	w.post(func(s *state) {
		if e := s.of(w); e != nil {
			e.have = Have{DependsOn: e.have.DependsOn}
			e.learnQuarantine(nil) // of the guest that is gone
			e.view.Pid, e.view.Address, e.view.Node, e.view.Linked = 0, "", "", false
			e.vitals.set(func(f *facts) { f.registered, f.linked = false, false })
		}
	})
}

// stop lets a guest end by itself: asked by init:stop, or by SIGTERM when it
// cannot be asked, and waited for as long as StopGrace. It reports whether the
// guest has ended; whoever goes on kills it. The task itself stays, with its
// log, until it is replaced or removed.
func (w *worker) stop(ctx context.Context, pid uint32) bool {
	ended := func(f facts) bool { return f.exit != nil && f.exit.Pid == pid }
	if pid == 0 || ended(w.vitals.get()) {
		return true
	}
	grace, cancel := context.WithTimeout(ctx, w.cfg.StopGrace)
	defer cancel()
	err := w.stopping(func() error {
		err := w.askToStop(grace)
		if err == nil {
			_, err = w.vitals.wait(grace, ended)
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		w.log.Warn("guest does not stop by itself and is killed", "app", w.name, "pid", pid, "err", err)
	}
	return err == nil
}

// signaler is a room of guests that can send them signals.
type signaler interface {
	Signal(ctx context.Context, name app.Name, sig syscall.Signal) error
}

func (w *worker) askToStop(ctx context.Context) error {
	var err error
	if w.vitals.get().registered {
		if _, err = w.rooms.Nodes.Call(ctx, w.name, "init", "stop"); err == nil {
			return nil
		}
	}
	if s, ok := w.rooms.Tasks.(signaler); ok {
		return s.Signal(ctx, w.name, syscall.SIGTERM)
	}
	return cmp.Or(err, errors.New("its BEAM is not registered"))
}

// stopped notes that the guest does not run any more.
func (w *worker) stopped(s *state) {
	if e := s.of(w); e != nil {
		e.have.Digest, e.have.Pid, e.view.Pid = "", 0, 0
	}
}

// clear makes sure that a guest which is about to be started again has ended,
// and returns why it has to be.
func (w *worker) clear(ctx context.Context, task runtime.Task, why error) error {
	w.old = Have{}
	if !w.end(ctx, task.Pid, why) {
		// The same digest would be adopted again: take it away, log and all.
		if err := w.rooms.Tasks.Remove(ctx, w.name); err != nil {
			return oneLine(errors.Join(why, err))
		}
	}
	w.post(w.stopped)
	return why
}

// oneLine is a joined error on one line.
func oneLine(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	text := ""
	for i, e := range joined.Unwrap() {
		if i > 0 {
			text += "; "
		}
		text += e.Error()
	}
	return &lineError{text, err}
}

type lineError struct {
	text string
	err  error
}

func (e *lineError) Error() string { return e.text }
func (e *lineError) Unwrap() error { return e.err }
