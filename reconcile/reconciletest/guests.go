package reconciletest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime"
)

// guests are the BEAMs of a world.
type guests struct {
	mu      sync.Mutex
	nextPid uint32
	boot    time.Duration
	mute    map[app.Name]bool // never registers
	stuck   map[app.Name]bool // ignores init:stop
	idle    map[app.Name]bool // its release did not start the application
	status  map[app.Name]int  // answer of its HTTP port, 200 when not set
	events  stream[runtime.Event]
	links   stream[distribution.Event]
}

// stream hands every event to all who watch.
type stream[E any] struct {
	mu   sync.Mutex
	subs map[chan E]struct{}
}

func (s *stream[E]) send(e E) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.subs {
		c <- e
	}
}

func (s *stream[E]) watch(ctx context.Context) iter.Seq2[E, error] {
	c := make(chan E, 1024)
	s.mu.Lock()
	if s.subs == nil {
		s.subs = map[chan E]struct{}{}
	}
	s.subs[c] = struct{}{}
	s.mu.Unlock()
	return func(yield func(E, error) bool) {
		defer func() {
			s.mu.Lock()
			delete(s.subs, c)
			s.mu.Unlock()
		}()
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-c:
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// Tasks is the room of guests in memory.
type Tasks struct {
	*Room[runtime.Config, runtime.Task]
	world *World
}

func newTasks(w *World) *Tasks {
	t := &Tasks{world: w}
	t.Room = &Room[runtime.Config, runtime.Task]{Kind: "tasks", Diary: w.Diary,
		Name: func(c runtime.Config) app.Name { return c.Name }, Make: t.make}
	return t
}

func (t *Tasks) make(c runtime.Config) runtime.Task {
	g := &t.world.guests
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nextPid++
	return runtime.Task{Name: c.Name, Digest: c.Digest, State: runtime.Running, Pid: g.nextPid, Started: time.Now(), Labels: c.Labels}
}

// Ensure starts a guest unless one with the digest runs.
func (t *Tasks) Ensure(ctx context.Context, c runtime.Config) (runtime.Task, error) {
	if old, there := t.Get(c.Name); there {
		if old.State == runtime.Running && old.Digest == c.Digest {
			return old, nil
		}
		t.drop(c.Name)
	}
	task, fresh, err := t.ensure(ctx, c)
	if err == nil && fresh {
		t.world.known.set(c.Node, c.Cookie.Reveal())
		t.world.boot(task)
	}
	return task, err
}

// drop forgets one guest without a line in the diary.
func (t *Tasks) drop(name app.Name) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.items, name)
}

// Watch yields the ends of guests.
func (t *Tasks) Watch(ctx context.Context) iter.Seq2[runtime.Event, error] {
	return t.world.guests.events.watch(ctx)
}

// Relabel changes a guest's digest and labels.
func (t *Tasks) Relabel(_ context.Context, name app.Name, digest string, labels map[string]string) error {
	ok := t.Update(name, func(c *runtime.Config, s *runtime.Task) {
		c.Digest, s.Digest, c.Labels, s.Labels = digest, digest, labels, labels
	})
	if !ok {
		return fmt.Errorf("relabel %s: it does not run", name)
	}
	t.Diary.Write("tasks: relabel %s", name)
	return nil
}

// Memory is the same for every guest.
func (t *Tasks) Memory(context.Context, app.Name) (uint64, error) { return 42 << 20, nil }

// Remove kills a guest.
func (t *Tasks) Remove(ctx context.Context, name app.Name) error {
	if err := t.Room.Remove(ctx, name); err != nil {
		return err
	}
	t.world.silence(name)
	return nil
}

// boot registers the guest's name after a while, when its port mapper is
// there; a BEAM without one ends.
func (w *World) boot(task runtime.Task) {
	w.guests.mu.Lock()
	after, mute := w.guests.boot, w.guests.mute[task.Name]
	w.guests.mu.Unlock()
	if _, member := w.Nodes.Get(task.Name); !member {
		time.AfterFunc(after, func() { w.Exit(task.Name, runtime.Exit{Status: 1}) })
		return
	}
	if mute {
		return
	}
	time.AfterFunc(after, func() {
		if now, ok := w.Tasks.Get(task.Name); ok && now.Pid == task.Pid && now.State == runtime.Running {
			w.Nodes.set(task.Name, distribution.Registered, true)
		}
	})
}

// silence takes away what the gateway sees of a guest that ended.
func (w *World) silence(name app.Name) {
	w.Nodes.set(name, distribution.Down, false)
	w.Nodes.set(name, distribution.Unregistered, false)
}

// Exit ends a guest as if it had ended by itself.
func (w *World) Exit(name app.Name, exit runtime.Exit) {
	exit.At = time.Now()
	var pid uint32
	running := false
	w.Tasks.Update(name, func(_ *runtime.Config, s *runtime.Task) {
		running, pid = s.State == runtime.Running, s.Pid
		s.State, s.Exit = runtime.Stopped, &exit
	})
	if running {
		w.silence(name)
		w.guests.events.send(runtime.Event{Name: name, Pid: pid, Exit: exit})
	}
}

// Mute makes guests of this name never register; Stuck ones ignore init:stop;
// Idle ones boot without starting their application.
func (w *World) Mute(name app.Name, on bool)  { w.mark(&w.guests.mute, name, on) }
func (w *World) Stuck(name app.Name, on bool) { w.mark(&w.guests.stuck, name, on) }
func (w *World) Idle(name app.Name, on bool)  { w.mark(&w.guests.idle, name, on) }

func (w *World) mark(set *map[app.Name]bool, name app.Name, on bool) {
	w.guests.mu.Lock()
	defer w.guests.mu.Unlock()
	if *set == nil {
		*set = map[app.Name]bool{}
	}
	(*set)[name] = on
}

// HTTPStatus is what the guest's HTTP port answers from now on.
func (w *World) HTTPStatus(name app.Name, code int) {
	w.guests.mu.Lock()
	defer w.guests.mu.Unlock()
	if w.guests.status == nil {
		w.guests.status = map[app.Name]int{}
	}
	w.guests.status[name] = code
}

func (w *World) is(set *map[app.Name]bool, name app.Name) bool {
	w.guests.mu.Lock()
	defer w.guests.mu.Unlock()
	return (*set)[name]
}

// callGuest answers what a guest's BEAM would.
func (w *World) callGuest(ctx context.Context, name app.Name, module, function string, args []term.Term) (term.Term, error) {
	task, ok := w.Tasks.Get(name)
	if !ok || task.State != runtime.Running {
		return nil, errors.New("nodedown")
	}
	node, _ := w.Nodes.Get(name)
	if !node.Registered {
		return nil, errors.New("the guest has not registered")
	}
	if t, err, ok := w.known.answer(node.Node, module, function, args); ok {
		return t, err
	}
	switch module + ":" + function {
	case "erlang:node":
		return term.Atom(node.Node), nil
	case "init:get_status":
		return term.Tuple{term.Atom("started"), term.Atom("started")}, nil
	case "application:which_applications":
		return w.applications(name), nil
	case "application:ensure_all_started":
		w.Diary.Write("guest %s: ensure_all_started", name)
		w.Idle(name, false)
		return term.Tuple{term.Atom("ok"), term.List{}}, nil
	case "init:stop":
		w.Diary.Write("guest %s: init:stop", name)
		if !w.is(&w.guests.stuck, name) {
			time.AfterFunc(time.Second, func() { w.Exit(name, runtime.Exit{}) })
		}
		return term.Atom("ok"), nil
	}
	return w.application(name, module, function, args), ctx.Err()
}

func (w *World) applications(name app.Name) term.Term {
	l := term.List{Elems: []term.Term{application("kernel"), application("stdlib")}}
	if !w.is(&w.guests.idle, name) {
		l.Elems = append(l.Elems, application(name))
	}
	return l
}

func application(name app.Name) term.Tuple {
	return term.Tuple{term.Atom(name), term.String("an app"), term.String("1.0.0")}
}

// application answers calls that change env.
func (w *World) application(name app.Name, module, function string, args []term.Term) term.Term {
	w.Diary.Write("guest %s: %s:%s/%d", name, module, function, len(args))
	switch module + ":" + function {
	case "application:set_env", "application:unset_env":
		return term.Atom("ok")
	case "application:get_key":
		return term.Tuple{term.Atom("ok"), term.Tuple{term.Atom(name + "_app"), term.List{}}}
	case "erlang:function_exported":
		return term.Atom("true")
	}
	return term.Atom("ok")
}
