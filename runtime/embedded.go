package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// Caller makes rpc:call in one node. An answer is the function's own result; an
// error means that there is none: the node is gone, or the function raised.
type Caller interface {
	Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
}

// CallerFunc is a Caller made of one function.
type CallerFunc func(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)

// Call calls f.
func (f CallerFunc) Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error) {
	return f(ctx, module, function, args...)
}

// Embedded is the room of apps inside the host VM. What was loaded is written
// down in the VM's own application environment (see record), so it lives
// exactly as long as the apps do.
type Embedded struct {
	host hostVM
	turn sync.Mutex // application_controller(3) works one by one anyway
}

// NewEmbedded returns the room over host, which calls the host VM.
func NewEmbedded(host Caller) *Embedded { return &Embedded{host: hostVM{host}} }

// Ensure makes an app run as c says: its code paths, its environment, and it
// and its dependencies started. A changed Env alone is set on the running
// application; anything else, code that is elsewhere too, stops, unloads and
// loads it anew.
func (e *Embedded) Ensure(ctx context.Context, c EmbeddedConfig) (EmbeddedApp, error) {
	e.turn.Lock()
	defer e.turn.Unlock()
	records, err := e.host.records(ctx)
	if err != nil {
		return EmbeddedApp{}, fmt.Errorf("embed %s: %w", c.Name, err)
	}
	running, err := e.host.running(ctx)
	if err != nil {
		return EmbeddedApp{}, fmt.Errorf("embed %s: %w", c.Name, err)
	}
	have, known := records[c.Name]
	next := record{name: c.Name, version: c.Version, digest: c.Digest, paths: c.CodePaths, env: c.Env, started: have.started}
	switch alive := running[c.Name]; {
	case alive && !known:
		return EmbeddedApp{}, fmt.Errorf("embed %s: the host VM runs an application of that name by itself: rename one of them", c.Name)
	case alive && have.digest == c.Digest && slices.Equal(have.paths, c.CodePaths):
		return have.state(true), nil
	case alive && have.version == c.Version && slices.Equal(have.paths, c.CodePaths):
		err = Reconfigure(ctx, e.host, c.Name, have.env, c.Env)
		if err == nil {
			err = e.host.keep(ctx, records, next)
		}
	default:
		if known {
			if err := e.unload(ctx, records, have); err != nil {
				return EmbeddedApp{}, fmt.Errorf("replace %s: %w", c.Name, err)
			}
		}
		next.started = nil
		err = e.load(ctx, records, next)
	}
	if err != nil {
		return EmbeddedApp{}, fmt.Errorf("embed %s: %w", c.Name, err)
	}
	return next.state(true), nil
}

// load puts r into the host VM; an error leaves nothing of it.
func (e *Embedded) load(ctx context.Context, records map[app.Name]record, r record) error {
	// Written down first: a load that is cut short is found and taken back.
	err := e.host.keep(ctx, records, r)
	if err == nil {
		r.started, err = e.host.start(ctx, r)
	}
	if err == nil {
		err = e.host.keep(ctx, records, r)
	}
	if err == nil {
		return nil
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	return joinUndo(err, e.unload(undo, records, r))
}

// Remove stops and unloads an app and what was started only for it, purges
// their modules and takes their code paths away.
func (e *Embedded) Remove(ctx context.Context, name app.Name) error {
	e.turn.Lock()
	defer e.turn.Unlock()
	records, err := e.host.records(ctx)
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	have, known := records[name]
	if !known {
		return nil
	}
	if err := e.unload(ctx, records, have); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// List reads what was loaded into the host VM and whether it runs.
func (e *Embedded) List(ctx context.Context) ([]EmbeddedApp, error) {
	records, err := e.host.records(ctx)
	if err != nil {
		return nil, fmt.Errorf("list embedded apps: %w", err)
	}
	running, err := e.host.running(ctx)
	if err != nil {
		return nil, fmt.Errorf("list embedded apps: %w", err)
	}
	var list []EmbeddedApp
	for _, name := range sortedNames(records) {
		list = append(list, records[name].state(running[name]))
	}
	return list, nil
}

// unload takes r out of the host VM: the app first, then the dependencies that
// came with it, last started first, unless something else now needs them.
func (e *Embedded) unload(ctx context.Context, records map[app.Name]record, r record) error {
	going := []app.Name{r.name}
	for _, dep := range slices.Backward(r.started) {
		if dep != r.name && r.carries(dep) {
			going = append(going, dep)
		}
	}
	var kept []app.Name
	var errs []error
	for _, name := range going {
		if name != r.name {
			needed, err := e.host.needed(ctx, name)
			if needed || err != nil {
				kept, errs = append(kept, name), append(errs, err)
				continue
			}
		}
		errs = append(errs, e.host.stop(ctx, name))
	}
	for _, path := range r.paths {
		if !slices.ContainsFunc(kept, func(name app.Name) bool { return holds(path, name) }) && !shared(records, r.name, path) {
			errs = append(errs, e.host.dropPath(ctx, path))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return e.host.forget(ctx, records, r.name)
}

// shared reports whether another app's code is in path too.
func shared(records map[app.Name]record, name app.Name, path string) bool {
	for other, r := range records {
		if other != name && slices.Contains(r.paths, path) {
			return true
		}
	}
	return false
}

// holds reports whether path, ".../pulse-1.0.0/ebin", is the code of name.
func holds(path string, name app.Name) bool {
	dir := path
	if filepath.Base(dir) == "ebin" {
		dir = filepath.Dir(dir)
	}
	base := filepath.Base(dir)
	return base == string(name) || strings.HasPrefix(base, string(name)+"-")
}
