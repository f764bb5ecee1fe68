package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"beamsandbox/distribution/term"
)

// host is a host VM whose telemetry writes down what it is told.
type host struct {
	mu      sync.Mutex
	has     bool
	err     error
	block   time.Duration // how long a handler takes
	asked   int
	written []string
}

func (h *host) set(has bool, err error, block time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.has, h.err, h.block = has, err, block
}

func (h *host) Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error) {
	h.mu.Lock()
	has, err, block := h.has, h.err, h.block
	h.mu.Unlock()
	if function == "function_exported" {
		h.mu.Lock()
		h.asked++
		h.mu.Unlock()
		if has {
			return term.Atom("true"), nil
		}
		return term.Atom("false"), nil
	}
	if err != nil {
		return nil, err
	}
	if block > 0 {
		select {
		case <-time.After(block):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.written = append(h.written, fmt.Sprintf("%s:%s(%s)", module, function, strings.Join(texts(args), ", ")))
	return term.Atom("ok"), nil
}

func texts(args []term.Term) []string {
	var out []string
	for _, a := range args {
		out = append(out, term.Format(a))
	}
	return out
}

func (h *host) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.written
	h.written = nil
	return all
}

// emitting runs test with an Emitter that works.
func emitting(t *testing.T, test func(h *host, e *Emitter)) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{has: true}
		e := NewEmitter(h, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		time.Sleep(time.Minute) // the bubble's clock starts at an odd time
		go func() { defer close(done); e.Run(ctx) }()
		test(h, e)
		cancel()
		<-done
	})
}

func TestEmit(t *testing.T) {
	emitting(t, func(h *host, e *Emitter) {
		e.Emit(Event{Scope: "reconcile", What: "start", Took: NoTime})
		e.Emit(Event{Scope: "deploy", What: "stop", App: "pulse", Took: 3 * time.Millisecond, Metadata: Meta("result", term.Tuple{term.Atom("error"), Reason(errors.New("no disk"))})})
		synctest.Wait()
		want := []string{
			`telemetry:execute([bc_gitops,reconcile,start], #{}, #{})`,
			`telemetry:execute([bc_gitops,deploy,stop], #{duration => 3000000}, #{app => pulse,result => {error,<<"no disk">>}})`,
		}
		if got := h.take(); strings.ReplaceAll(strings.Join(got, "\n"), " ", "") != strings.ReplaceAll(strings.Join(want, "\n"), " ", "") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if executed, dropped, failed := e.Counts(); executed != 2 || dropped != 0 || failed != 0 {
			t.Errorf("executed %d, dropped %d, failed %d", executed, dropped, failed)
		}
	})
}

// TestEmitNeverWaits: handlers that hang cost whoever emits nothing; what does
// not fit is dropped and counted.
func TestEmitNeverWaits(t *testing.T) {
	emitting(t, func(h *host, e *Emitter) {
		h.set(true, nil, time.Hour)
		start := time.Now()
		for range queueLength + 100 {
			e.Emit(Event{Scope: "health", What: "check", Took: NoTime})
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("emitting took %s", took)
		}
		if _, dropped, _ := e.Counts(); dropped < 99 || dropped > 100 {
			t.Errorf("%d were dropped", dropped)
		}
		time.Sleep(3 * callTimeout)
		if _, _, failed := e.Counts(); failed < 2 {
			t.Errorf("%d failed: a handler that hangs holds up the others", failed)
		}
		h.set(true, nil, 0)
		time.Sleep(callTimeout)
		synctest.Wait()
		if executed, _, failed := e.Counts(); executed+failed < queueLength {
			t.Errorf("executed %d, failed %d: the rest is stuck", executed, failed)
		}
	})
}

// TestEmitWithoutTelemetry: a host VM without it is not asked for each event,
// and is found to have it later.
func TestEmitWithoutTelemetry(t *testing.T) {
	emitting(t, func(h *host, e *Emitter) {
		h.set(false, nil, 0)
		for range 50 {
			e.Emit(Event{Scope: "health", What: "check", Took: NoTime})
		}
		synctest.Wait()
		if h.asked != 1 || len(h.take()) != 0 {
			t.Errorf("asked %d times", h.asked)
		}
		h.set(true, nil, 0)
		time.Sleep(askEvery)
		e.Emit(Event{Scope: "git", What: "pull", Took: NoTime})
		synctest.Wait()
		if got := h.take(); len(got) != 1 {
			t.Errorf("got %q", got)
		}
		h.set(true, errors.New("handlers crashed"), 0)
		e.Emit(Event{Scope: "git", What: "pull", Took: NoTime})
		synctest.Wait()
		if executed, dropped, failed := e.Counts(); executed != 1 || dropped != 0 || failed != 1 {
			t.Errorf("executed %d, dropped %d, failed %d", executed, dropped, failed)
		}
	})
}
