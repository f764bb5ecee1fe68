package reconcile

import (
	"context"
	"errors"
	"time"

	"beamsandbox/images"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// A worker does everything for one wish about one app, in a goroutine of its
// own: it walks the corridor, attends what came out of it, and starts over
// when that ends. It is cancelled when the wish changes; what runs then goes
// on and the next worker takes it over.
type worker struct {
	*Reconciler
	name    app.Name
	spec    app.Spec
	removal bool
	vitals  *vitals
	cancel  context.CancelFunc
	done    chan struct{}
	last    record // what history knows of the app
	moved   string // where the branch of its source is, for a worker that is there because it moved

	claimed  bool         // what runs is ours to change
	old      Have         // what ran when we claimed it
	grant    policy.Grant // what the app may do
	image    *images.Image
	gateway  int // the gateway's restart that the member was made after
	node     string
	tls      bool // the guest speaks TLS
	stages   []status.Stage
	well     time.Time // since when the app is healthy, zero when it is not
	failures int
	change   change    // what is told of its wish
	spawn    time.Time // when the guest that has not joined yet was started
}

// live works until ctx ends or, for a removal, until all is gone.
func (w *worker) live(ctx context.Context) {
	defer func() { w.changed(errSuperseded) }()
	if w.removal {
		w.retry(ctx, w.remove)
		return
	}
	w.failures = w.last.Failures
	if w.last.Digest != w.spec.Digest() {
		w.failures = 0
	} else if !w.patient(ctx) {
		return
	}
	w.retry(ctx, w.once)
}

// patient waits for the time of the next try that history remembers.
func (w *worker) patient(ctx context.Context) bool {
	rest := time.Until(w.last.NextRetry)
	if rest <= 0 || w.last.Reason == "" {
		return true
	}
	w.show(func(v *status.App) {
		v.Phase, v.Reason, v.Detail, v.NextRetry = status.Backoff, w.last.Reason, w.last.Detail, w.last.NextRetry
	})
	return w.rest(ctx, rest)
}

// once walks the corridor and attends the app until it ends.
func (w *worker) once(ctx context.Context) error {
	grant, err := w.rules.Grant(w.spec)
	if err != nil {
		return err
	}
	w.grant = grant
	if w.spec.Isolation == app.Embedded {
		if err := w.trusted(ctx); err != nil {
			return err
		}
		return w.embedded(ctx)
	}
	return w.guest(ctx)
}

// retry calls try until it succeeds or ctx ends, waiting longer every time.
func (w *worker) retry(ctx context.Context, try func(context.Context) error) {
	for {
		err := try(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if !w.well.IsZero() && time.Since(w.well) >= restartReset {
			w.failures = 0
		}
		w.well = time.Time{}
		w.failures++
		if !w.pause(ctx, err) {
			return
		}
	}
}

// rest waits for d, for the operator's wish to try now, or for ctx to end. A
// negative d is for ever.
func (w *worker) rest(ctx context.Context, d time.Duration) bool {
	before := w.vitals.get().retry
	if d >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, errRested)
		defer cancel()
	}
	_, err := w.vitals.wait(ctx, func(f facts) bool { return f.retry != before })
	return err == nil || errors.Is(err, errRested)
}

var errRested = errors.New("rested")

// report shows a failure and returns how long to wait, negative for ever.
func (w *worker) report(err error) time.Duration {
	w.changed(err)
	v := judge(err)
	wait := v.wait(w.failures)
	next := time.Now().Add(wait)
	if v.permanent {
		wait, next = -1, time.Time{}
	}
	rec := record{Digest: w.spec.Digest(), Failures: w.failures, Reason: v.reason, Detail: err.Error(), NextRetry: next}
	var end *endError
	if errors.As(err, &end) {
		rec.Ended = end.exit.At
	}
	keep := w.moved == "" // else it is not why the app itself would not run
	w.log.Warn("app needs another try", "app", w.name, "reason", v.reason, "wait", wait, "err", err)
	w.post(func(s *state) {
		e := s.of(w)
		if e == nil {
			return
		}
		if e.current == w && endsApp(v) {
			e.have.Digest, e.have.Pid = "", 0
			e.view.Restarts++
		}
		rec.Restarts = e.view.Restarts
		if keep {
			s.history[w.name], s.unsaved = rec, true
		}
		s.setPhase(e, w, v.phase, v.reason, err.Error())
		e.view.NextRetry = next
		s.tell(status.Event{App: string(w.name), Kind: "error", Text: err.Error(), Phase: v.phase})
	})
	return wait
}

// endsApp reports whether what failed was running before.
func endsApp(v verdict) bool {
	switch v.reason {
	case "policy_refused", "build_failed", "network_failed", "gateway_failed", "start_failed", "load_failed", "remove_failed", reasonQuarantined:
		return false
	}
	return true
}

// show changes what status shows of the app, while we are its worker.
func (w *worker) show(change func(*status.App)) {
	w.post(func(s *state) {
		if e := s.of(w); e != nil {
			before := e.view.Phase
			change(&e.view)
			s.phaseEvent(e, before)
		}
	})
}

// phase moves the app to another phase of its life.
func (w *worker) phase(p status.Phase, detail string) {
	w.post(func(s *state) {
		if e := s.of(w); e != nil {
			s.setPhase(e, w, p, "", detail)
		}
	})
}

// setPhase shows a phase. A worker that has not taken over yet must not hide
// the phase of what runs: only its words are shown.
func (s *state) setPhase(e *entry, w *worker, p status.Phase, reason, detail string) {
	before := e.view.Phase
	if e.current == nil || e.current == w {
		e.view.Phase, e.view.NextRetry = p, time.Time{}
	}
	e.view.Reason, e.view.Detail = reason, detail
	s.phaseEvent(e, before)
}

func (s *state) phaseEvent(e *entry, before status.Phase) {
	if e.view.Phase == before {
		return
	}
	text := string(e.view.Phase)
	if e.view.Reason != "" {
		text += ": " + e.view.Reason
	}
	s.tell(status.Event{App: string(e.name), Kind: "phase", Phase: e.view.Phase, Text: text})
}

// stage does one stage of the corridor and records how long it took.
func (w *worker) stage(name string, do func() error) error {
	start := time.Now()
	if err := do(); err != nil {
		return &stageError{name, err}
	}
	w.passed(status.Stage{Name: name, Took: time.Since(start)})
	return nil
}

func (w *worker) passed(st status.Stage) {
	w.stages = append(w.stages, st)
	all := append([]status.Stage(nil), w.stages...)
	w.post(func(s *state) {
		if e := s.of(w); e != nil {
			e.view.Stages = all
			s.tell(status.Event{App: string(w.name), Kind: "stage", Stage: &st, Text: st.Name + " " + st.Took.Round(time.Millisecond).String()})
		}
	})
}
