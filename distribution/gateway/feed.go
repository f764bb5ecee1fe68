package gateway

import (
	"sync"

	"beamsandbox/distribution/gateway/protocol"
)

// feedLength is how many events a follower may be behind.
const feedLength = 1024

// feed hands events to followers. One that falls too far behind is cut off,
// so that it knows it has missed something. The zero value is ready.
type feed struct {
	mu        sync.Mutex
	followers map[chan protocol.Event]struct{}
}

// send tells every follower; it never waits.
func (f *feed) send(ev protocol.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch := range f.followers {
		select {
		case ch <- ev:
		default:
			close(ch)
			delete(f.followers, ch)
		}
	}
}

// follow returns the events from now on; the channel is closed when the
// follower was too slow. Stop must be called.
func (f *feed) follow() (events <-chan protocol.Event, stop func()) {
	ch := make(chan protocol.Event, feedLength)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers == nil {
		f.followers = make(map[chan protocol.Event]struct{})
	}
	f.followers[ch] = struct{}{}
	return ch, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.followers, ch)
	}
}
