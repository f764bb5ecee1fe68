package reconcile

import (
	"slices"
	"sync"

	"beamsandbox/reconcile/status"
)

// How many of an app's last events, and ends of its guest, are remembered.
const (
	keepEvents = 32
	keepExits  = 5
)

// recent remembers the last events of each app, for who asks later. It is as
// large as there are apps: one that is removed takes its events along.
type recent struct {
	mu            sync.Mutex
	events, exits map[string][]status.Event
}

func (r *recent) add(e status.Event) {
	if e.App == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.events == nil {
		r.events, r.exits = map[string][]status.Event{}, map[string][]status.Event{}
	}
	switch e.Kind {
	case "removed":
		delete(r.events, e.App)
		delete(r.exits, e.App)
		return
	case "exit":
		r.exits[e.App] = last(r.exits[e.App], e, keepExits)
	}
	r.events[e.App] = last(r.events[e.App], e, keepEvents)
}

// of is what is remembered of one app, oldest first.
func (r *recent) of(app string) (events, exits []status.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events[app]), slices.Clone(r.exits[app])
}

// last is all with one more, the oldest dropped when there are more than n.
func last(all []status.Event, e status.Event, n int) []status.Event {
	if len(all) == n {
		all = slices.Delete(all, 0, 1)
	}
	return append(all, e)
}
