package runtime

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"beamsandbox/reconcile/app"
)

// rewatch is how long to wait before watching a guest again after the
// connection to containerd broke.
const rewatch = 200 * time.Millisecond

// exits tells everyone who watches how guests end.
type exits struct {
	mu       sync.Mutex
	followed map[app.Name]uint32 // pid that a goroutine waits for
	watchers map[*queue]struct{}
}

// queue holds what one watcher has not taken yet: guests are few, and an exit
// must not be lost.
type queue struct {
	events []Event
	ready  chan struct{} // holds one token while events is not empty
}

// mute forgets the guest, so that its end is nobody's news.
func (e *exits) mute(name app.Name) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.followed, name)
}

// begin reports whether the caller should wait for pid: nobody does yet.
func (e *exits) begin(name app.Name, pid uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.followed[name] == pid {
		return false
	}
	if e.followed == nil {
		e.followed = map[app.Name]uint32{}
	}
	e.followed[name] = pid
	return true
}

// publish hands ev to all watchers, unless the guest was muted or replaced.
func (e *exits) publish(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.followed[ev.Name] != ev.Pid {
		return
	}
	delete(e.followed, ev.Name)
	for q := range e.watchers {
		q.events = append(q.events, ev)
		select {
		case q.ready <- struct{}{}:
		default:
		}
	}
}

func (e *exits) subscribe() *queue {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := &queue{ready: make(chan struct{}, 1)}
	if e.watchers == nil {
		e.watchers = map[*queue]struct{}{}
	}
	e.watchers[q] = struct{}{}
	return q
}

func (e *exits) unsubscribe(q *queue) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.watchers, q)
}

func (e *exits) take(q *queue) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	events := q.events
	q.events = nil
	return events
}

// Watch yields the end of every guest that runs now or is started later, also
// of those that an earlier daemon started, until ctx ends. Ends before the
// call are found by List. An error is yielded when the guests that run cannot
// be listed; the sequence ends then.
func (t *Tasks) Watch(ctx context.Context) iter.Seq2[Event, error] {
	q := t.exits.subscribe() // from now on, not from the first iteration
	return func(yield func(Event, error) bool) {
		defer t.exits.unsubscribe(q)
		running, err := t.List(ctx)
		if err != nil {
			yield(Event{}, fmt.Errorf("watch guests: %w", err))
			return
		}
		for _, task := range running {
			if task.State == Running {
				t.follow(task.Name, task.Pid)
			}
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-q.ready:
			}
			for _, ev := range t.exits.take(q) {
				if !yield(ev, nil) {
					return
				}
			}
		}
	}
}

// follow waits for the end of a guest in the background.
func (t *Tasks) follow(name app.Name, pid uint32) {
	if t.ctx.Err() != nil || !t.exits.begin(name, pid) {
		return
	}
	t.running.Go(func() {
		for {
			exit, err := t.await(name, pid)
			if err == nil {
				t.exits.publish(Event{Name: name, Pid: pid, Exit: exit})
				return
			}
			select {
			case <-t.ctx.Done():
				return
			case <-time.After(rewatch):
			}
		}
	})
}

// await blocks until the guest's process pid ended. One that is not there any
// more, as after its shim was killed, ended in a way nobody saw; when it was
// Remove that took it, publish knows.
func (t *Tasks) await(name app.Name, pid uint32) (Exit, error) {
	service := t.stack.Client().TaskService()
	now, err := service.Get(t.ctx, &tasks.GetRequest{ContainerID: string(name)})
	var end *tasks.WaitResponse
	if err == nil && now.GetProcess().GetPid() == pid {
		end, err = service.Wait(t.ctx, &tasks.WaitRequest{ContainerID: string(name)})
	}
	if err != nil && !notThere(err) {
		return Exit{}, err
	}
	if end == nil {
		return Exit{Status: unknownStatus, At: time.Now()}, nil
	}
	return t.exit(name, end.GetExitStatus(), end.GetExitedAt().AsTime()), nil
}

// grpcError turns a service's raw answer into containerd's kinds of errors.
func grpcError(err error) error {
	if err == nil {
		return nil
	}
	return errgrpc.ToNative(err)
}
