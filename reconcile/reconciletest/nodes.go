package reconciletest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// Nodes is the distribution room in memory.
type Nodes struct {
	*Room[distribution.Member, distribution.Node]
	world *World

	bars sync.Mutex
	kept map[app.Name]distribution.Quarantine // outlives members and restarts
}

func newNodes(w *World) *Nodes {
	n := &Nodes{world: w}
	n.Room = &Room[distribution.Member, distribution.Node]{Kind: "nodes", Diary: w.Diary,
		Name: func(m distribution.Member) app.Name { return m.Name },
		Make: func(m distribution.Member) distribution.Node {
			return distribution.Node{Name: m.Name, Node: m.Node, Port: 40000, Since: time.Now(), Quarantine: n.of(m)}
		},
		Change: func(_, m distribution.Member) distribution.Node {
			s := n.items[m.Name].state // Ensure holds the lock
			s.Node, s.Quarantine = m.Node, n.of(m)
			return s
		}}
	return n
}

// Watch yields what happens at the members.
func (n *Nodes) Watch(ctx context.Context) iter.Seq2[distribution.Event, error] {
	return n.world.guests.links.watch(ctx)
}

// Call calls a function in a guest.
func (n *Nodes) Call(ctx context.Context, name app.Name, module, function string, args ...term.Term) (term.Term, error) {
	return n.world.callGuest(ctx, name, module, function, args)
}

// ProbeHTTP answers 200, or what HTTPStatus said.
func (n *Nodes) ProbeHTTP(_ context.Context, name app.Name, _ uint16, _ string) (int, error) {
	g := &n.world.guests
	g.mu.Lock()
	defer g.mu.Unlock()
	if code, ok := g.status[name]; ok {
		return code, nil
	}
	return 200, nil
}

// ProbeTCP succeeds while the member is there.
func (n *Nodes) ProbeTCP(_ context.Context, name app.Name, _ uint16) error {
	if _, ok := n.Get(name); !ok {
		return errors.New("connection refused")
	}
	return nil
}

// set changes what the gateway sees and tells it, if it is news.
func (n *Nodes) set(name app.Name, kind distribution.EventKind, on bool) {
	news, node := false, ""
	n.Update(name, func(_ *distribution.Member, s *distribution.Node) {
		field := &s.Registered
		if kind == distribution.Up || kind == distribution.Down {
			field = &s.Up
		}
		news = *field != on
		*field, node = on, s.Node
	})
	if news {
		n.Diary.Write("nodes: %s %s", name, kind)
		n.world.guests.links.send(distribution.Event{Kind: kind, Name: name, Node: node, At: time.Now()})
	}
}

// Restart replaces the gateway by one that knows no member. The guests' BEAMs
// register again a moment after they are members again.
func (n *Nodes) Restart() {
	n.Clear()
	n.Diary.Write("nodes: restarted")
	n.world.guests.links.send(distribution.Event{Kind: distribution.Restarted, At: time.Now()})
}

// Ensure makes a member; a BEAM that runs already finds its port mapper again.
func (n *Nodes) Ensure(ctx context.Context, m distribution.Member) (distribution.Node, error) {
	s, fresh, err := n.ensure(ctx, m)
	if task, runs := n.world.Tasks.Get(m.Name); err == nil && fresh && runs {
		n.world.boot(task)
	}
	return s, err
}

// HostVM is a host VM in memory.
type HostVM struct {
	world   *World
	mu      sync.Mutex
	up      bool
	watches []chan bool
	env     map[string]term.Term // "application key"
	modules map[string]bool      // that it cannot load
}

func (h *HostVM) reachable() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.up {
		return errors.New("the host VM is not there")
	}
	return nil
}

// Set lets the host VM go (its links and embedded apps are lost) or come.
func (h *HostVM) Set(up bool) {
	h.mu.Lock()
	h.up = up
	if !up {
		h.env = nil
	}
	watches := h.watches
	h.mu.Unlock()
	if !up {
		h.world.Embedded.Clear()
		nodes, _ := h.world.Nodes.List(context.Background())
		for _, n := range nodes {
			h.world.Nodes.set(n.Name, distribution.Down, false)
		}
	}
	for _, c := range watches {
		c <- up
	}
}

// Blink loses and finds again the connection to the host VM, which goes on
// meanwhile.
func (h *HostVM) Blink() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.watches {
		c <- false
		c <- true
	}
}

// Watch tells the state of the connection and then every change.
func (h *HostVM) Watch(ctx context.Context) iter.Seq[bool] {
	c := make(chan bool, 64)
	h.mu.Lock()
	h.watches = append(h.watches, c)
	c <- h.up
	h.mu.Unlock()
	return func(yield func(bool) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case up := <-c:
				if !yield(up) {
					return
				}
			}
		}
	}
}

// Call answers what the host VM would.
func (h *HostVM) Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error) {
	if err := errors.Join(ctx.Err(), h.reachable()); err != nil {
		return nil, err
	}
	if answer, ok := h.environment(module, function, args); ok {
		return answer, nil
	}
	if t, err, ok := h.world.known.answer(HostNode, module, function, args); ok {
		return t, err
	}
	switch module + ":" + function {
	case "erlang:node":
		return term.Atom(HostNode), nil
	case "erlang:nodes":
		return h.world.nodes(), nil
	case "rpc:call":
		return h.world.callPeer(args)
	case "erlang:system_info":
		return term.String("25"), nil
	case "net_kernel:connect_node":
		return h.connect(args), nil
	case "application:which_applications":
		l := term.List{Elems: []term.Term{application("kernel")}}
		apps, _ := h.world.Embedded.List(ctx)
		for _, a := range apps {
			l.Elems = append(l.Elems, application(a.Name))
		}
		return l, nil
	}
	return term.Atom("ok"), nil
}

func (h *HostVM) connect(args []term.Term) term.Term {
	nodes, _ := h.world.Nodes.List(context.Background())
	for _, n := range nodes {
		if len(args) == 1 && args[0] == term.Term(term.Atom(n.Node)) && n.Registered && h.world.Nodes.Admits(n.Name) {
			h.world.Nodes.set(n.Name, distribution.Up, true)
			return term.Atom("true")
		}
	}
	return term.Atom("false")
}
