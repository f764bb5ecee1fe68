package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/netns"
	"beamsandbox/reconcile/health"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

// Between two tries to connect a guest that is registered, when the host VM
// answers that it could not and nothing else changes.
const (
	connectFirst = time.Second
	connectMost  = 30 * time.Second
)

// attend sees a running guest through joined, verified and healthy, again
// whenever its link is lost, until it ends.
func (w *worker) attend(ctx context.Context, task runtime.Task) error {
	ctx, stop := w.whileAlive(ctx, task.Pid)
	defer stop()
	start := time.Now()
	for {
		if err := w.join(ctx); err != nil {
			return err
		}
		w.spawned(task.Pid, nil)
		w.milestone("joined", start)
		start = time.Now()
		if err := w.verify(ctx); err != nil {
			return err
		}
		w.milestone("verified", start)
		err := w.watch(ctx, guestTarget{w.inGuest()}, w.unlinked)
		if !errors.Is(err, errUnlinked) {
			return err
		}
		start = time.Now()
	}
}

// milestone records a stage the first time it is passed.
func (w *worker) milestone(name string, since time.Time) {
	for _, st := range w.stages {
		if st.Name == name {
			return
		}
	}
	w.passed(status.Stage{Name: name, Took: time.Since(since)})
}

// whileAlive returns a context that ends with an endError when the guest does,
// and with a quarantineError when it is to be ended.
func (w *worker) whileAlive(ctx context.Context, pid uint32) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w.run(func() {
		f, err := w.vitals.wait(ctx, func(f facts) bool { return f.barred != "" || f.exit != nil && f.exit.Pid == pid })
		switch {
		case err != nil:
		case f.barred != "":
			cancel(&quarantineError{w.name, f.barred})
		default:
			cancel(&endError{f.exit.Exit})
		}
	})
	return ctx, func() { cancel(context.Canceled) }
}

// join waits until guest and host VM are connected. The guest's registration
// is the event that it can be; then the host VM is asked to connect.
func (w *worker) join(ctx context.Context) error {
	w.phase(status.Joining, "")
	for wait := connectFirst; ; wait = min(2*wait, connectMost) {
		f, err := w.vitals.wait(ctx, func(f facts) bool {
			return f.linked || f.gateway != w.gateway || f.registered && f.hostUp
		})
		switch {
		case err != nil:
			return err
		case f.gateway != w.gateway:
			if err = w.rejoin(ctx); err != nil && !sleep(ctx, wait) {
				return context.Cause(ctx)
			}
		case f.linked:
			return nil
		default:
			_, err = health.Answer(w.host.Call(ctx, "net_kernel", "connect_node", term.Atom(w.node)))
		}
		if err != nil {
			w.log.Warn("join", "app", w.name, "node", w.node, "err", err)
		}
		// The link's event follows; anything that makes another try useful ends the wait.
		pause, cancel := context.WithTimeout(ctx, wait)
		_, err = w.vitals.wait(pause, func(f facts) bool {
			return f.linked || f.gateway != w.gateway || !f.registered || !f.hostUp
		})
		cancel()
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// rejoin tells a gateway that was restarted about the guest again.
func (w *worker) rejoin(ctx context.Context) error {
	net, err := w.rooms.Networks.Ensure(ctx, netns.Config{Name: w.name, Flows: w.grant.Flows})
	if err != nil {
		return err
	}
	return w.member(ctx, net)
}

// How long one question to a guest that boots may take, and how long to wait
// before the next when it cannot be asked yet: its rpc server starts a moment
// after its name is registered, and nothing tells when.
const (
	verifyCall  = 10 * time.Second
	verifyFirst = 25 * time.Millisecond
	verifyMost  = 200 * time.Millisecond
	verifyPhase = 60 * time.Second // after this it is shown as unhealthy
)

// verify waits until the release has booted and the application runs, and
// starts it when the release did not.
func (w *worker) verify(ctx context.Context) error {
	w.phase(status.Verifying, "")
	start := time.Now()
	for wait := verifyFirst; ; wait = min(2*wait, verifyMost) {
		err := w.verifyOnce(ctx)
		if err == nil {
			return nil
		}
		if time.Since(start) > verifyPhase {
			w.sick("not_verified", err)
		}
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

func (w *worker) verifyOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, verifyCall)
	defer cancel()
	guest := w.inGuest()
	if err := booted(ctx, guest); err != nil {
		return err
	}
	err := health.Running(ctx, w.name, guest)
	if !errors.Is(err, health.ErrNotRunning) {
		return err
	}
	answer, err := health.Answer(guest.Call(ctx, "application", "ensure_all_started", term.Atom(w.name)))
	if err != nil {
		return fmt.Errorf("start application %s: %w", w.name, err)
	}
	if t, ok := answer.(term.Tuple); !ok || len(t) != 2 || t[0] != term.Term(term.Atom("ok")) {
		return fmt.Errorf("start application %s: %.200s", w.name, term.Format(answer))
	}
	return nil
}

// booted reports whether the boot script is through (init:get_status/0 is
// {started, _}): asking earlier would start the application beside the
// release's own start.
func booted(ctx context.Context, guest guestCaller) error {
	answer, err := health.Answer(guest.Call(ctx, "init", "get_status"))
	if err != nil {
		return fmt.Errorf("ask whether the release has booted: %w", err)
	}
	if t, ok := answer.(term.Tuple); !ok || len(t) != 2 || t[0] != term.Term(term.Atom("started")) {
		return fmt.Errorf("the release is still booting: %s", term.Brief(answer, 100))
	}
	return nil
}

var errUnlinked = errors.New("the link to the host VM is lost")

// unlinked reports that the guest must join again.
func (w *worker) unlinked(f facts) bool { return !f.linked || f.gateway != w.gateway }

// An app is unhealthy after unhealthyAfter failed checks in a row, and is
// started again after restartAfter failures of the check that it declares
// itself.
const (
	unhealthyAfter = 3
	restartAfter   = 6
	healthFirst    = 50 * time.Millisecond // before the second question, until it was well once
)

// watch asks a running app for its health until lost says that it must be
// joined again (errUnlinked), it is too sick (sickError), or ctx ends.
func (w *worker) watch(ctx context.Context, t health.Target, lost func(facts) bool) error {
	start := time.Now()
	bad, once := 0, false
	for wait := healthFirst; ; {
		asked := time.Now()
		answer, err := health.Check(ctx, w.name, w.spec.Health, t)
		if ctx.Err() == nil {
			w.checked(asked, err)
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			if !once {
				w.milestone("healthy", start)
				w.good(ctx)
			}
			once, bad = true, 0
			w.healthy(answer)
		default:
			bad++
			if err := w.ill(bad, once, err, time.Since(start)); err != nil {
				return err
			}
		}
		if once || bad >= unhealthyAfter && time.Since(start) > verifyPhase {
			wait = health.Interval(w.spec.Health)
		} else {
			wait = min(2*wait, health.Interval(w.spec.Health))
		}
		pause, cancel := context.WithTimeoutCause(ctx, wait, errRested)
		_, err = w.vitals.wait(pause, lost)
		cancel()
		switch {
		case err == nil:
			return errUnlinked
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}

// ill counts a failed check and decides what it means. An app that was never
// well is given a minute to start.
func (w *worker) ill(bad int, once bool, err error, since time.Duration) error {
	if !once && since < verifyPhase {
		w.show(func(v *status.App) { v.Health = err.Error() })
		return nil
	}
	var failure *health.Failure
	if bad >= unhealthyAfter && errors.Is(err, health.ErrNotRunning) {
		return errStopped
	}
	if bad >= restartAfter && errors.As(err, &failure) && failure.Own {
		return &sickError{err}
	}
	if bad >= unhealthyAfter {
		w.sick("health_check_failed", err)
	} else {
		w.show(func(v *status.App) { v.Health = err.Error() })
	}
	return nil
}

// healthy shows that the app is well.
func (w *worker) healthy(answer string) {
	if w.well.IsZero() {
		w.well = time.Now()
	}
	w.changed(nil)
	since := w.well
	w.post(func(s *state) {
		e := s.of(w)
		if e == nil {
			return
		}
		e.view.Health = answer
		if e.current == w && e.view.Phase != status.Healthy {
			s.setPhase(e, w, status.Healthy, "", "")
			s.log.Info("healthy", "app", w.name, "node", w.node)
		}
		if time.Since(since) >= restartReset {
			s.record(w.name, func(r *record) { r.Failures, r.Reason, r.Detail, r.NextRetry = 0, "", "", time.Time{} })
		}
	})
}

// sick shows that the app fails its checks.
func (w *worker) sick(reason string, err error) {
	w.well = time.Time{}
	w.post(func(s *state) {
		if e := s.of(w); e != nil {
			e.view.Health = err.Error()
			s.setPhase(e, w, status.Unhealthy, reason, err.Error())
		}
	})
}

// guestTarget is a guest as health asks it: through the gateway.
type guestTarget struct{ guestCaller }

func (g guestTarget) HTTP(ctx context.Context, port uint16, path string) (int, error) {
	return g.nodes.ProbeHTTP(ctx, g.name, port, path)
}

func (g guestTarget) TCP(ctx context.Context, port uint16) error {
	return g.nodes.ProbeTCP(ctx, g.name, port)
}
