package reconcile

import (
	"context"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/reconcile/app"
)

// sampleEvery is how often counters are read: they have no events.
const sampleEvery = 5 * time.Second

// reading is what the counters of one guest say.
type reading struct {
	memory uint64
	drops  map[string]uint64
}

// sample reads the counters of all guests, so that Status never has to ask.
func (r *Reconciler) sample(ctx context.Context) {
	r.run(func() {
		for sleep(ctx, sampleEvery) {
			before := r.linkEvents.Load()
			nodes, err := r.rooms.Nodes.List(ctx)
			readings := map[app.Name]reading{}
			for name, h := range r.haves() {
				if h.Isolation == app.VM && h.Pid != 0 {
					readings[name] = r.read(ctx, name)
				}
			}
			r.post(func(s *state) {
				s.sampled(nodes, err, readings)
				if r.linkEvents.Load() == before { // else what was listed may be old by now
					s.learnQuarantines(nodes)
				}
			})
		}
	})
}

// read leaves at zero what cannot be read: a guest may end at any time.
func (r *Reconciler) read(ctx context.Context, name app.Name) reading {
	out := reading{drops: map[string]uint64{}}
	if memory, err := r.rooms.Tasks.Memory(ctx, name); err == nil {
		out.memory = memory
	}
	drops, err := r.rooms.Networks.Drops(ctx, name)
	if err != nil {
		return out
	}
	for _, d := range drops {
		if d.Packets > 0 {
			out.drops[d.Rule] += d.Packets
		}
	}
	return out
}

func (s *state) sampled(nodes []distribution.Node, err error, readings map[app.Name]reading) {
	s.gatewayErr = err
	for _, n := range nodes {
		if e := s.entries[n.Name]; e != nil {
			e.learnMessages(n)
			e.nodeError = n.Error
		}
	}
	for name, one := range readings {
		if e := s.entries[name]; e != nil && e.have.Pid != 0 {
			e.view.Memory, e.view.Drops = one.memory, one.drops
		}
	}
}
