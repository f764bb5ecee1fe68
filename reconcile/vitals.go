package reconcile

import (
	"context"
	"sync"

	"beamsandbox/runtime"
)

// facts is what is known of one app at a moment.
type facts struct {
	hostUp     bool           // our connection to the host VM
	gateway    int            // counts the gateway's restarts
	registered bool           // the guest's BEAM holds its name
	linked     bool           // guest and host VM are connected
	exit       *runtime.Event // the last end of a task of this name
	depsReady  bool           // all that it depends on runs
	free       bool           // nothing depends on it any more
	retry      int            // counts the operator's wishes to try again now
	barred     string         // why the gateway keeps the guest off for good, "" when it does not
}

// vitals lets a worker wait for a fact instead of asking for it. The loop
// writes them; anyone reads.
type vitals struct {
	mu      sync.Mutex
	now     facts
	changed chan struct{}
}

func newVitals(first facts) *vitals {
	return &vitals{now: first, changed: make(chan struct{})}
}

func (v *vitals) get() facts {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

func (v *vitals) set(change func(*facts)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.now
	change(&v.now)
	if v.now != before {
		close(v.changed)
		v.changed = make(chan struct{})
	}
}

// wait returns the facts as soon as they satisfy ok, or the reason why ctx
// ended.
func (v *vitals) wait(ctx context.Context, ok func(facts) bool) (facts, error) {
	for {
		v.mu.Lock()
		now, changed := v.now, v.changed
		v.mu.Unlock()
		if ok(now) {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return now, context.Cause(ctx)
		case <-changed:
		}
	}
}
