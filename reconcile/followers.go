package reconcile

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"beamsandbox/reconcile/status"
)

// followerDepth is how far a follower may fall behind before it loses events.
const followerDepth = 256

// followers hands events to whoever listens and never waits for them.
type followers struct {
	mu   sync.Mutex
	next int
	all  map[int]*follower
}

type follower struct {
	events chan status.Event
	lost   int
}

func (f *followers) add() (int, *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[int]*follower{}
	}
	f.next++
	one := &follower{events: make(chan status.Event, followerDepth)}
	f.all[f.next] = one
	return f.next, one
}

func (f *followers) drop(id int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, id)
}

// tell hands e to every follower that keeps up; a slow one is told how many
// it missed as soon as it has room.
func (f *followers) tell(e status.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.all {
		if one.lost > 0 && len(one.events) < followerDepth-1 {
			one.events <- status.Event{At: e.At, Kind: "lost", Text: fmt.Sprintf("%d events were not delivered", one.lost)}
			one.lost = 0
		}
		select {
		case one.events <- e:
		default:
			one.lost++
		}
	}
}

// Subscribe yields what happens from this call until ctx ends. It is
// bounded: who reads slowly misses events and is told how many.
func (r *Reconciler) Subscribe(ctx context.Context) iter.Seq[status.Event] {
	id, one := r.followers.add()
	stop := context.AfterFunc(ctx, func() { r.followers.drop(id) })
	return func(yield func(status.Event) bool) {
		defer stop()
		defer r.followers.drop(id)
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-one.events:
				if !yield(e) {
					return
				}
			}
		}
	}
}

// tell emits one event about app, or about the host when app is "".
func (r *Reconciler) tell(e status.Event) {
	e.At = time.Now()
	r.recent.add(e)
	r.followers.tell(e)
}
