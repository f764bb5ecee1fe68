package reconcile

import (
	"context"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

// rewatch is how long to wait before a broken stream of events is opened
// again.
const rewatch = time.Second

// watchHost follows the connection to the host VM.
func (r *Reconciler) watchHost(ctx context.Context) {
	changes := r.host.Watch(ctx)
	r.run(func() {
		for up := range changes {
			r.post(func(s *state) { s.hostChanged(up) })
		}
	})
}

func (s *state) hostChanged(up bool) {
	if s.hostUp == up {
		return
	}
	s.hostUp = up
	s.hostLinks++
	s.cluster = cluster{}
	kind, text := "host_down", "the host VM "+s.cfg.HostNode+" is gone"
	if up {
		kind, text = "host_up", "the host VM "+s.cfg.HostNode+" is there"
		s.learnHost()
		s.askMacula()
	} else {
		s.hostOTP = ""
	}
	s.log.Info(kind, "node", s.cfg.HostNode)
	s.tell(status.Event{Kind: kind, Text: text})
	for _, e := range s.entries {
		// Links are the gateway's to tell: they may outlive our own connection.
		e.vitals.set(func(f *facts) { f.hostUp = up })
	}
}

// learnHost asks a host VM that came back for its release and for the apps
// that it runs already.
func (s *state) learnHost() {
	s.spawn(func() {
		otp, err := release(s.ctx, s.host)
		if err != nil {
			s.log.Warn("host VM", "err", err)
		}
		apps, err := s.rooms.Embedded.List(s.ctx)
		if err != nil {
			s.log.Warn("list the apps in the host VM", "err", err)
		}
		s.post(func(s *state) {
			s.hostOTP, s.hostListed = otp, s.hostListed+1
			if err == nil {
				s.foundEmbedded(apps)
			}
		})
	})
}

// watchNodes follows the gateway's members.
func (r *Reconciler) watchNodes(ctx context.Context) {
	r.run(func() {
		for ctx.Err() == nil {
			for ev, err := range r.rooms.Nodes.Watch(ctx) {
				if err != nil {
					if ctx.Err() == nil {
						r.log.Warn("watch the gateway", "err", err)
					}
					break
				}
				r.post(func(s *state) { s.nodeChanged(ev) })
			}
			if sleep(ctx, rewatch) {
				r.resync(ctx)
			}
		}
	})
}

func (s *state) nodeChanged(ev distribution.Event) {
	if ev.Kind == distribution.Restarted {
		s.gatewayRestarted()
		return
	}
	s.linkEvents.Add(1)
	s.linked(ev)
	e := s.entries[ev.Name]
	if e == nil {
		return
	}
	e.vitals.set(func(f *facts) {
		switch ev.Kind {
		case distribution.Registered:
			f.registered = true
		case distribution.Unregistered:
			f.registered = false
		case distribution.Up:
			f.linked = true
		case distribution.Down:
			f.linked = false
		}
	})
	switch ev.Kind {
	case distribution.Quarantined:
		s.quarantined(e, ev)
	case distribution.Refused:
		s.log.Info("messages refused", "app", ev.Name, "what", ev.Detail)
	case distribution.LinkError:
		s.log.Warn("link", "app", ev.Name, "node", ev.Node, "err", ev.Detail)
		e.nodeError = ev.Detail
	case distribution.Up:
		e.nodeError = ""
	}
	s.tell(status.Event{App: string(ev.Name), Kind: "node_" + string(ev.Kind), Text: ev.Detail})
}

// gatewayRestarted makes every worker ensure its member again.
func (s *state) gatewayRestarted() {
	s.gateway++
	s.gatewayErr = nil
	s.log.Warn("the gateway was restarted")
	s.tell(status.Event{Kind: "gateway_restarted", Text: "the gateway was restarted"})
	for _, e := range s.entries {
		e.vitals.set(func(f *facts) {
			f.gateway, f.registered, f.linked = s.gateway, false, false
		})
	}
}

// watchTasks follows the ends of guests.
func (r *Reconciler) watchTasks(ctx context.Context) {
	r.run(func() {
		for ctx.Err() == nil {
			for ev, err := range r.rooms.Tasks.Watch(ctx) {
				if err != nil {
					if ctx.Err() == nil {
						r.log.Warn("watch the guests", "err", err)
					}
					break
				}
				r.post(func(s *state) { s.taskEnded(ev) })
			}
			if sleep(ctx, rewatch) {
				r.resync(ctx)
			}
		}
	})
}

func (s *state) taskEnded(ev runtime.Event) {
	e := s.entries[ev.Name]
	if e == nil {
		return
	}
	if f := e.vitals.get(); f.exit != nil && f.exit.Pid == ev.Pid {
		return
	}
	s.log.Info("guest ended", "app", ev.Name, "pid", ev.Pid, "status", ev.Exit.Status, "oom", ev.Exit.OOMKilled)
	s.tell(status.Event{App: string(ev.Name), Kind: "exit", Text: (&endError{ev.Exit}).Error()})
	e.vitals.set(func(f *facts) { f.exit = &ev })
}
