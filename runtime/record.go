package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// Records are one value in the host VM's application environment:
// application:get_env(bc_gitops, sandboxd_apps) is a list of
// {Name, Version, Digest, CodePaths, Env, Started}.
const (
	recordApp = term.Atom("bc_gitops")
	recordKey = term.Atom("sandboxd_apps")
)

// record is what we remember of one embedded app.
type record struct {
	name            app.Name
	version, digest string
	paths           []string
	env             map[string]term.Term
	started         []app.Name // by our ensure_all_started, in order
}

func (r record) state(running bool) EmbeddedApp {
	return EmbeddedApp{Name: r.name, Version: r.version, Digest: r.digest, Running: running, CodePaths: r.paths}
}

// carries reports whether the code of name came with r.
func (r record) carries(name app.Name) bool {
	return slices.ContainsFunc(r.paths, func(path string) bool { return holds(path, name) })
}

func (r record) encode() term.Term {
	var paths, env, started term.List
	for _, path := range r.paths {
		paths.Elems = append(paths.Elems, term.Binary(path))
	}
	for _, key := range sortedKeys(r.env) {
		env.Elems = append(env.Elems, term.Tuple{term.Atom(key), r.env[key]})
	}
	for _, name := range r.started {
		started.Elems = append(started.Elems, term.Atom(name))
	}
	return term.Tuple{term.Atom(r.name), term.Binary(r.version), term.Binary(r.digest), paths, env, started}
}

func decodeRecord(t term.Term) (record, bool) {
	fields, ok := t.(term.Tuple)
	if !ok || len(fields) != 6 {
		return record{}, false
	}
	name, ok := fields[0].(term.Atom)
	version, ok1 := fields[1].(term.Binary)
	digest, ok2 := fields[2].(term.Binary)
	if !ok || !ok1 || !ok2 {
		return record{}, false
	}
	r := record{name: app.Name(name), version: string(version), digest: string(digest), env: map[string]term.Term{}}
	for _, path := range elems(fields[3]) {
		text, _ := term.Text(path)
		r.paths = append(r.paths, text)
	}
	for _, pair := range elems(fields[4]) {
		if p, ok := pair.(term.Tuple); ok && len(p) == 2 {
			if key, ok := p[0].(term.Atom); ok {
				r.env[string(key)] = p[1]
			}
		}
	}
	for _, name := range elems(fields[5]) {
		if name, ok := name.(term.Atom); ok {
			r.started = append(r.started, app.Name(name))
		}
	}
	return r, true
}

// elems are the elements of a proper list; none for anything else.
func elems(t term.Term) []term.Term {
	l, ok := t.(term.List)
	if !ok || l.Tail != nil {
		return nil
	}
	return l.Elems
}

// records reads what is remembered; a value that is not ours is an error
// rather than a reason to load everything twice.
func (h hostVM) records(ctx context.Context) (map[app.Name]record, error) {
	answer, err := h.Call(ctx, "application", "get_env", recordApp, recordKey)
	if err != nil {
		return nil, err
	}
	records := map[app.Name]record{}
	value, ok := okValue(answer)
	if !ok {
		return records, nil // undefined
	}
	for _, t := range elems(value) {
		r, ok := decodeRecord(t)
		if !ok {
			return nil, fmt.Errorf("read what the host VM has loaded: %s: %s is not ours: unset it", recordApp, recordKey)
		}
		records[r.name] = r
	}
	return records, nil
}

// keep writes r down beside the others.
func (h hostVM) keep(ctx context.Context, records map[app.Name]record, r record) error {
	records[r.name] = r
	return h.writeRecords(ctx, records)
}

func (h hostVM) forget(ctx context.Context, records map[app.Name]record, name app.Name) error {
	delete(records, name)
	if len(records) > 0 {
		return h.writeRecords(ctx, records)
	}
	_, err := h.Call(ctx, "application", "unset_env", recordApp, recordKey)
	return err
}

func (h hostVM) writeRecords(ctx context.Context, records map[app.Name]record) error {
	var list term.List
	for _, name := range sortedNames(records) {
		list.Elems = append(list.Elems, records[name].encode())
	}
	// persistent: bc_gitops itself may be loaded later and must not wipe it.
	_, err := h.Call(ctx, "application", "set_env", recordApp, recordKey, list, persistent)
	return err
}

// persistent is an option of application:set_env/4.
var persistent = term.List{Elems: []term.Term{term.Tuple{term.Atom("persistent"), term.Atom("true")}}}

func sortedNames(records map[app.Name]record) []app.Name {
	return slices.Sorted(maps.Keys(records))
}
