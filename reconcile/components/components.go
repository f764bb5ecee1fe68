// Package components keeps the host VM's list of LiveComponents, from which a
// dashboard there learns what it can show: the value of liveview_components in
// the environment of application bc_gitops.
//
// Entries that somebody else put there are left alone. Ours are known by
// managed_by => sandboxd.
package components

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/health"
)

// Where the host VM has the list.
const (
	application = "bc_gitops"
	key         = app.ComponentsKey
)

// The keys that an entry has beside the component's own.
const (
	keyApp    = "app"
	keyNode   = "node" // where its messages come from
	keyOwner  = "managed_by"
	ownerName = "sandboxd"
)

// Shown is all that one app shows.
type Shown struct {
	App        app.Name
	Node       string // "pulse@myhost"
	Components []app.Component
	// Unknown says that what the app shows cannot be told now: what was
	// published before stays.
	Unknown bool
}

// ID names one component.
type ID struct {
	App app.Name
	ID  string
}

// State is how one component stands on the host VM.
type State struct {
	Published bool
	Loadable  bool
	Problem   string // why one of the two is not so
}

// A Caller makes rpc:call in the host VM.
type Caller interface {
	Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
}

// Publish makes the host VM's list hold exactly the components of all, beside
// the entries of others, and says how each stands. Calling it twice changes
// nothing the second time. An error says that the host VM could not be asked.
func Publish(ctx context.Context, host Caller, all []Shown) (map[ID]State, error) {
	old, there, err := read(ctx, host)
	if err != nil {
		return nil, err
	}
	list, isList := old.(term.List)
	have, proper := list.Proper()
	states := map[ID]State{}
	if there && (!isList || !proper) {
		problem := fmt.Sprintf("%s of application %s on the host VM is %s and no list: unset it there", key, application, term.Brief(old, 60))
		note(states, all, func(app.Component) string { return problem })
		return states, loadable(ctx, host, all, states)
	}
	next := merge(have, all)
	note(states, all, func(c app.Component) string {
		if others(have, c) {
			return "the host VM lists it by itself: remove it there, or give it another id"
		}
		return ""
	})
	if err := write(ctx, host, have, next); err != nil {
		return nil, err
	}
	return states, loadable(ctx, host, all, states)
}

// note records the problem of each component, or that it is published.
func note(states map[ID]State, all []Shown, problem func(app.Component) string) {
	for _, s := range all {
		for _, c := range s.Components {
			p := problem(c)
			states[ID{s.App, c.ID}] = State{Published: p == "", Problem: p}
		}
	}
}

// read is application:get_env/2.
func read(ctx context.Context, host Caller) (value term.Term, there bool, err error) {
	answer, err := health.Answer(host.Call(ctx, "application", "get_env", term.Atom(application), term.Atom(key)))
	if err != nil {
		return nil, false, fmt.Errorf("read the components of the host VM: %w", err)
	}
	pair, _ := answer.(term.Tuple)
	if len(pair) != 2 || pair[0] != term.Term(term.Atom("ok")) {
		return nil, false, nil
	}
	return pair[1], true, nil
}

// write changes the list when it has to be. An empty one is taken away.
func write(ctx context.Context, host Caller, have, next []term.Term) error {
	if slices.EqualFunc(have, next, term.Equal) {
		return nil
	}
	args := []term.Term{term.Atom(application), term.Atom(key)}
	function := "unset_env"
	if len(next) > 0 {
		function, args = "set_env", append(args, term.List{Elems: next})
	}
	if _, err := health.Answer(host.Call(ctx, "application", function, args...)); err != nil {
		return fmt.Errorf("write the components of the host VM: %w", err)
	}
	return nil
}

// merge is the entries of others as they are, and then ours: by app, in the
// order of its app.config.
func merge(have []term.Term, all []Shown) []term.Term {
	var next []term.Term
	kept := map[app.Name][]term.Term{}
	for _, e := range have {
		if name, ours := owned(e); ours {
			kept[name] = append(kept[name], e)
		} else {
			next = append(next, e)
		}
	}
	all = slices.SortedFunc(slices.Values(all), func(a, b Shown) int { return cmp.Compare(a.App, b.App) })
	for _, s := range all {
		if s.Unknown {
			next = append(next, kept[s.App]...)
		}
		for _, c := range s.Components {
			if !others(have, c) {
				next = append(next, entry(s, c))
			}
		}
	}
	return next
}

// entry is one component as a dashboard reads it.
func entry(s Shown, c app.Component) term.Term {
	e := term.Map{
		{Key: term.Atom(keyApp), Value: term.Atom(s.App)},
		{Key: term.Atom(keyNode), Value: term.Atom(s.Node)},
		{Key: term.Atom(keyOwner), Value: term.Atom(ownerName)},
	}
	for _, p := range c.Term {
		if name, _ := term.Text(p.Key); name != keyApp && name != keyNode && name != keyOwner {
			e = append(e, p)
		}
	}
	return e
}

// owned tells an entry of ours, and of which app it is.
func owned(e term.Term) (app.Name, bool) {
	m, _ := e.(term.Map)
	owner, _ := m.Get(term.Atom(keyOwner))
	name, _ := m.Get(term.Atom(keyApp))
	text, isText := term.Text(name)
	return app.Name(text), isText && owner == term.Term(term.Atom(ownerName))
}

// others reports whether somebody else's entry has the component's id and
// module, which a page can hold once only.
func others(have []term.Term, c app.Component) bool {
	for _, e := range have {
		if _, ours := owned(e); ours {
			continue
		}
		pairs, _ := term.Proplist(e)
		id, _ := term.Map(pairs).Get(term.Atom("id"))
		module, _ := term.Map(pairs).Get(term.Atom("module"))
		if id == term.Term(term.Atom(c.ID)) && module == term.Term(term.Atom(c.Module)) {
			return true
		}
	}
	return false
}

// loadable asks for each module once whether the host VM can load it
// (code:ensure_loaded/1).
func loadable(ctx context.Context, host Caller, all []Shown, states map[ID]State) error {
	problems := map[string]string{}
	for _, s := range all {
		for _, c := range s.Components {
			problem, asked := problems[c.Module]
			if !asked {
				var err error
				if problem, err = load(ctx, host, c.Module); err != nil {
					return err
				}
				problems[c.Module] = problem
			}
			st := states[ID{s.App, c.ID}]
			st.Loadable = problem == ""
			if st.Problem == "" {
				st.Problem = problem
			}
			states[ID{s.App, c.ID}] = st
		}
	}
	return nil
}

// load says why the host VM cannot load a module, "" when it can.
func load(ctx context.Context, host Caller, module string) (problem string, err error) {
	answer, err := health.Answer(host.Call(ctx, "code", "ensure_loaded", term.Atom(module)))
	if err != nil {
		return "", fmt.Errorf("ask the host VM for module %s: %w", module, err)
	}
	if t, _ := answer.(term.Tuple); len(t) == 2 && t[0] == term.Term(term.Atom("module")) {
		return "", nil
	}
	return fmt.Sprintf("the host VM cannot load %s (%s): add the app to its dependencies", module, term.Brief(answer, 60)), nil
}
