package reconcile

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/components"
	"beamsandbox/reconcile/status"
)

// board is what the publisher of components is to make of the host VM's list.
type board struct {
	host int // counts how often the host VM came; 0: it is not there
	all  []components.Shown
}

// How long one look at the host VM's list may take, and how long until the
// next one after it failed. Somebody else may change the list: it is looked at
// once in every Interval too.
const (
	publishCall  = 10 * time.Second
	publishRetry = 5 * time.Second
)

// publishComponents keeps the host VM's list of components as the loop wants
// it.
func (r *Reconciler) publishComponents(ctx context.Context) {
	r.run(func() {
		var b board
		again := time.NewTimer(r.cfg.Interval)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case b = <-r.boards:
			case <-again.C:
			}
			wait := r.cfg.Interval
			if b.host != 0 && r.publishOnce(ctx, b) != nil {
				wait = publishRetry
			}
			again.Reset(wait)
		}
	})
}

func (r *Reconciler) publishOnce(ctx context.Context, b board) error {
	one, cancel := context.WithTimeout(ctx, publishCall)
	defer cancel()
	states, err := components.Publish(one, r.host, b.all)
	if err != nil {
		if ctx.Err() == nil {
			r.log.Warn("components are not published", "err", err)
		}
		return err
	}
	r.post(func(s *state) {
		if s.board.host == b.host {
			s.published = states
		}
	})
	return nil
}

// announce tells the publisher what apps show, when that changed. Before it is
// known what runs, in the host VM too, its list stays as it is.
func (s *state) announce() {
	var b board
	if s.hostUp {
		if !s.adopted || s.hostListed == 0 || s.commit.Hash == "" && !s.drained {
			return
		}
		b.host = s.hostListed
		for _, n := range slices.Sorted(maps.Keys(s.entries)) {
			b.all = append(b.all, s.shows(s.entries[n]))
		}
	}
	if reflect.DeepEqual(b, s.board) {
		return
	}
	if b.host != s.board.host {
		s.published = nil
	}
	s.board = b
	select {
	case <-s.boards: // the newest one counts
	default:
	}
	s.boards <- b
}

// shows is what an app shows: nothing while it does not run or is being
// removed.
func (s *state) shows(e *entry) components.Shown {
	out := components.Shown{App: e.name, Node: e.view.Node}
	if e.have.Isolation == "" || e.removes() {
		return out
	}
	env := e.have.Env
	if hidden(env) {
		// A daemon that was restarted knows only the keys of what runs.
		if spec, ok := s.set.Specs[e.name]; ok && spec.Digest() == e.have.Digest {
			env = spec.Env
		}
	}
	out.Components = app.Components(env)
	out.Unknown = hidden(env) || e.view.Node == ""
	if out.Unknown {
		out.Components = nil
	}
	return out
}

// hidden reports whether env does not tell what the app shows.
func hidden(env map[string]term.Term) bool {
	list, listed := env[app.ComponentsKey]
	return env == nil || listed && list == term.Term(term.Atom("undefined"))
}

// components is what an app shows, for status.
func (s *state) components(e *entry) []status.Component {
	var out []status.Component
	for _, c := range s.shows(e).Components {
		st, told := s.published[components.ID{App: e.name, ID: c.ID}]
		if !told {
			st.Problem = "the host VM was not told yet"
		}
		out = append(out, status.Component{
			ID: c.ID, Module: c.Module, Title: c.Title, Description: c.Description,
			PubSub: c.PubSub, Topic: c.Topic, UpdateAssign: c.UpdateAssign,
			Published: st.Published, Loadable: st.Loadable, Problem: st.Problem,
		})
	}
	return out
}
