package epmd

import (
	"context"
	"time"
)

const (
	// viewBurst is how many connections a View takes at once, and then one every
	// viewEvery: each costs a descriptor and a goroutine of a process that all
	// guests share. A BEAM makes one when it boots and one for each lookup.
	viewBurst = 50
	viewEvery = 20 * time.Millisecond
)

// arrivals paces connections; its time is that of the calls.
type arrivals struct {
	due time.Time // when all that came would have been due, one each viewEvery
}

// next takes one turn and returns how long it must wait.
func (a *arrivals) next(now time.Time) time.Duration {
	if a.due.Before(now) {
		a.due = now
	}
	wait := max(0, a.due.Sub(now)-(viewBurst-1)*viewEvery)
	a.due = a.due.Add(viewEvery)
	return wait
}

// wait returns when the next connection may be taken, or ctx ends. What comes
// meanwhile waits in the kernel.
func (a *arrivals) wait(ctx context.Context) {
	d := a.next(time.Now())
	if d == 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
