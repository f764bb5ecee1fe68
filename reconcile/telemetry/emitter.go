package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/health"
)

const (
	// queueLength is how many events may wait; more are dropped.
	queueLength = 1024
	// callTimeout is how long the handlers of one event may take, which run
	// within the call.
	callTimeout = 2 * time.Second
	// askEvery is how often a host VM without telemetry is asked for it.
	askEvery = 5 * time.Second
)

// A Caller makes rpc:call in the host VM.
type Caller interface {
	Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
}

// Emitter hands events to the host VM, one after the other. Whoever emits
// never waits for it.
type Emitter struct {
	host  Caller
	log   *slog.Logger
	queue chan Event

	executed, dropped, failed atomic.Uint64
}

// NewEmitter returns an Emitter that keeps events until Run.
func NewEmitter(host Caller, log *slog.Logger) *Emitter {
	return &Emitter{host: host, log: log, queue: make(chan Event, queueLength)}
}

// Emit has e executed some time soon, or drops it when too many wait already.
func (t *Emitter) Emit(e Event) {
	select {
	case t.queue <- e:
	default:
		t.dropped.Add(1)
	}
}

// Counts says how many events were executed, were dropped because too many
// waited, and could not be executed though the host VM has telemetry. Events
// for a host VM without it are in none of these.
func (t *Emitter) Counts() (executed, dropped, failed uint64) {
	return t.executed.Load(), t.dropped.Load(), t.failed.Load()
}

// Run executes events until ctx ends. Those that happen while the host VM is
// not there, or has no telemetry, are let go.
func (t *Emitter) Run(ctx context.Context) {
	var told uint64
	var asked time.Time // when telemetry was last found missing
	has := false
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-t.queue:
			if time.Since(asked) < askEvery {
				continue
			}
			if has = has || t.loaded(ctx); !has {
				asked = time.Now()
				continue
			}
			has = t.execute(ctx, e)
		}
		if now := t.dropped.Load(); now != told && len(t.queue) == 0 {
			t.log.Warn("telemetry events were dropped: the host VM's handlers are too slow", "dropped", now-told)
			told = now
		}
	}
}

// loaded asks whether the host VM has telemetry(3). Handlers cannot be attached
// to a module that is not loaded.
func (t *Emitter) loaded(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := t.host.Call(ctx, "erlang", "function_exported", term.Atom("telemetry"), term.Atom("execute"), term.Int(3))
	return err == nil && answer == term.Term(term.Atom("true"))
}

// execute reports whether the host VM took the event.
func (t *Emitter) execute(ctx context.Context, e Event) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := health.Answer(t.host.Call(ctx, "telemetry", "execute", e.name(), e.measurements(), e.metadata()))
	if err != nil {
		t.failed.Add(1)
		t.log.Debug("telemetry event", "event", e.Scope+" "+e.What, "err", err)
		return false
	}
	t.executed.Add(1)
	return true
}
