package runtime

import (
	"context"
	"errors"
	"fmt"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// hostVM asks the host VM's application controller and code server
// (application(3), code(3)).
type hostVM struct{ Caller }

// start loads r: code paths, application, environment, then everything it
// needs. It returns the applications that were started, in order.
func (h hostVM) start(ctx context.Context, r record) ([]app.Name, error) {
	for _, path := range r.paths {
		// The app's own code goes before what the host has, its dependencies
		// behind: the host's own versions must not change under it.
		add := "add_pathz"
		if holds(path, r.name) {
			add = "add_patha"
		}
		answer, err := h.Call(ctx, "code", add, term.String(path))
		if err != nil {
			return nil, err
		}
		if answer != term.Atom("true") {
			return nil, fmt.Errorf("add code path %s: the host VM says %s", path, term.Format(answer))
		}
	}
	answer, err := h.Call(ctx, "application", "load", term.Atom(r.name))
	if err != nil {
		return nil, err
	}
	if reason, failed := errorReason(answer); failed && !isTagged(reason, "already_loaded") {
		return nil, fmt.Errorf("load it: %s", term.Format(reason))
	}
	for _, key := range sortedKeys(r.env) {
		if _, err := h.Call(ctx, "application", "set_env", term.Atom(r.name), term.Atom(key), r.env[key]); err != nil {
			return nil, err
		}
	}
	return h.startAll(ctx, r.name)
}

func (h hostVM) startAll(ctx context.Context, name app.Name) ([]app.Name, error) {
	answer, err := h.Call(ctx, "application", "ensure_all_started", term.Atom(name))
	if err != nil {
		return nil, err
	}
	value, ok := okValue(answer)
	if !ok {
		reason, _ := errorReason(answer)
		return nil, fmt.Errorf("start it: %s", term.Format(reason))
	}
	var started []app.Name
	for _, t := range elems(value) {
		if name, ok := t.(term.Atom); ok {
			started = append(started, app.Name(name))
		}
	}
	return started, nil
}

// stop stops and unloads one application and purges its modules; one that is
// not there is fine.
func (h hostVM) stop(ctx context.Context, name app.Name) error {
	modules, err := h.key(ctx, name, "modules")
	if err != nil {
		return err
	}
	for _, step := range []struct{ function, fine string }{{"stop", "not_started"}, {"unload", "not_loaded"}} {
		answer, err := h.Call(ctx, "application", step.function, term.Atom(name))
		if err != nil {
			return err
		}
		if reason, failed := errorReason(answer); failed && !isTagged(reason, step.fine) {
			return fmt.Errorf("%s %s: %s", step.function, name, term.Format(reason))
		}
	}
	for _, module := range elems(modules) {
		for _, function := range []string{"purge", "delete", "purge"} {
			if _, err := h.Call(ctx, "code", function, module); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h hostVM) dropPath(ctx context.Context, path string) error {
	_, err := h.Call(ctx, "code", "del_path", term.String(path))
	return err
}

// running are the applications that are started.
func (h hostVM) running(ctx context.Context) (map[app.Name]bool, error) {
	answer, err := h.Call(ctx, "application", "which_applications")
	if err != nil {
		return nil, err
	}
	running := map[app.Name]bool{}
	for _, t := range elems(answer) {
		if entry, ok := t.(term.Tuple); ok && len(entry) == 3 {
			if name, ok := entry[0].(term.Atom); ok {
				running[app.Name(name)] = true
			}
		}
	}
	return running, nil
}

// needed reports whether a started application depends on name.
func (h hostVM) needed(ctx context.Context, name app.Name) (bool, error) {
	running, err := h.running(ctx)
	if err != nil {
		return false, err
	}
	for other := range running {
		deps, err := h.key(ctx, other, "applications")
		if err != nil {
			return false, err
		}
		for _, dep := range elems(deps) {
			if dep == term.Atom(name) {
				return true, nil
			}
		}
	}
	return false, nil
}

// key is application:get_key/2; nil when the application is not loaded.
func (h hostVM) key(ctx context.Context, name app.Name, key string) (term.Term, error) {
	answer, err := h.Call(ctx, "application", "get_key", term.Atom(name), term.Atom(key))
	if err != nil {
		return nil, err
	}
	value, _ := okValue(answer)
	return value, nil
}

// Reconfigure gives a running application a new environment: each changed key
// is set, each key that is gone is unset, and the application's callback module
// is told through config_change/3 if it exports it (application(3)).
func Reconfigure(ctx context.Context, call Caller, name app.Name, old, new map[string]term.Term) error {
	d := compareEnv(old, new)
	if d.empty() {
		return nil
	}
	for _, pair := range append(elems(d.changed), elems(d.added)...) {
		kv := pair.(term.Tuple)
		if _, err := call.Call(ctx, "application", "set_env", term.Atom(name), kv[0], kv[1]); err != nil {
			return fmt.Errorf("reconfigure %s: %w", name, err)
		}
	}
	for _, key := range elems(d.removed) {
		if _, err := call.Call(ctx, "application", "unset_env", term.Atom(name), key); err != nil {
			return fmt.Errorf("reconfigure %s: %w", name, err)
		}
	}
	if err := d.tell(ctx, hostVM{call}, name); err != nil {
		return fmt.Errorf("reconfigure %s: %w", name, err)
	}
	return nil
}

// envDiff is what config_change/3 is told: two lists of {Key, Value} and one
// of keys.
type envDiff struct{ changed, added, removed term.List }

func (d envDiff) empty() bool {
	return len(d.changed.Elems)+len(d.added.Elems)+len(d.removed.Elems) == 0
}

func compareEnv(old, new map[string]term.Term) envDiff {
	var d envDiff
	for _, key := range sortedKeys(new) {
		pair := term.Tuple{term.Atom(key), new[key]}
		was, there := old[key]
		switch {
		case !there:
			d.added.Elems = append(d.added.Elems, pair)
		case !term.Equal(was, new[key]):
			d.changed.Elems = append(d.changed.Elems, pair)
		}
	}
	for _, key := range sortedKeys(old) {
		if _, there := new[key]; !there {
			d.removed.Elems = append(d.removed.Elems, term.Atom(key))
		}
	}
	return d
}

// tell calls config_change/3 of name's callback module.
func (d envDiff) tell(ctx context.Context, h hostVM, name app.Name) error {
	mod, err := h.key(ctx, name, "mod")
	if err != nil {
		return err
	}
	start, ok := mod.(term.Tuple)
	if !ok || len(start) != 2 {
		return nil // a library application
	}
	module, ok := start[0].(term.Atom)
	if !ok {
		return nil
	}
	exported, err := h.Call(ctx, "erlang", "function_exported", module, term.Atom("config_change"), term.Int(3))
	if err != nil || exported != term.Atom("true") {
		return err
	}
	answer, err := h.Call(ctx, string(module), "config_change", d.changed, d.added, d.removed)
	if err != nil {
		return err
	}
	if reason, failed := errorReason(answer); failed {
		return errors.New(string(module) + ":config_change/3 answered " + term.Format(reason))
	}
	return nil
}

// okValue takes V out of {ok, V}.
func okValue(t term.Term) (term.Term, bool) { return tagged(t, "ok") }

// errorReason takes R out of {error, R}.
func errorReason(t term.Term) (term.Term, bool) { return tagged(t, "error") }

func isTagged(t term.Term, tag string) bool {
	_, ok := tagged(t, tag)
	return ok
}

func tagged(t term.Term, tag string) (term.Term, bool) {
	pair, ok := t.(term.Tuple)
	if !ok || len(pair) != 2 || pair[0] != term.Atom(tag) {
		return nil, false
	}
	return pair[1], true
}
