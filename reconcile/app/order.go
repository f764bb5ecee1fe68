package app

import (
	"maps"
	"slices"
	"strings"
)

// CycleError says that apps wait for each other. Path starts and ends with
// the same name.
type CycleError struct{ Path []Name }

func (e *CycleError) Error() string {
	names := make([]string, len(e.Path))
	for i, n := range e.Path {
		names[i] = string(n)
	}
	return "depends_on makes a cycle: " + strings.Join(names, " -> ")
}

// DependencyError says that App cannot be deployed for what Dependency is.
type DependencyError struct {
	App, Dependency Name
	Why             string // "is in no app.config", "is broken", "is blocked itself"
	Err             error  // what is wrong with the dependency, nil when it is missing
}

func (e *DependencyError) Error() string {
	return string(e.App) + " depends on " + string(e.Dependency) + ", which " + e.Why
}

func (e *DependencyError) Unwrap() error { return e.Err }

// Order returns the apps that can be deployed, every app behind all that it
// depends on and otherwise by name. The rest is in blocked with its reason: a
// *CycleError for an app on a cycle, a *DependencyError for one that needs an
// app that is missing, broken or blocked.
func (s Set) Order() (order []Name, blocked map[Name]error) {
	o := ordering{set: s, blocked: map[Name]error{}, done: map[Name]bool{}}
	names := slices.Sorted(maps.Keys(s.Specs))
	for _, n := range names {
		if path := o.cycle(n); path != nil {
			o.blocked[n] = &CycleError{Path: path}
		}
	}
	for _, n := range names {
		o.visit(n)
	}
	return o.order, o.blocked
}

type ordering struct {
	set     Set
	order   []Name
	blocked map[Name]error
	done    map[Name]bool
}

// cycle returns the shortest way from start back to itself, nil when there is
// none.
func (o *ordering) cycle(start Name) []Name {
	from := map[Name]Name{}
	for queue := []Name{start}; len(queue) > 0; queue = queue[1:] {
		for _, dep := range o.set.Specs[queue[0]].DependsOn {
			if dep == start {
				return pathTo(from, start, queue[0])
			}
			if _, seen := from[dep]; !seen {
				from[dep] = queue[0]
				queue = append(queue, dep)
			}
		}
	}
	return nil
}

func pathTo(from map[Name]Name, start, last Name) []Name {
	path := []Name{start}
	for n := last; n != start; n = from[n] {
		path = append(path, n)
	}
	path = append(path, start)
	slices.Reverse(path)
	return path
}

// visit puts n behind its dependencies. Apps on cycles are blocked already, so
// the recursion ends.
func (o *ordering) visit(n Name) {
	if o.done[n] || o.blocked[n] != nil {
		return
	}
	o.done[n] = true
	for _, dep := range slices.Sorted(slices.Values(o.set.Specs[n].DependsOn)) {
		if _, known := o.set.Specs[dep]; known {
			o.visit(dep)
		}
		if err := o.refuse(n, dep); err != nil {
			o.blocked[n] = err
			return
		}
	}
	o.order = append(o.order, n)
}

func (o *ordering) refuse(n, dep Name) error {
	if err := o.blocked[dep]; err != nil {
		return &DependencyError{App: n, Dependency: dep, Why: "is blocked itself", Err: err}
	}
	if _, known := o.set.Specs[dep]; known {
		return nil
	}
	for _, dir := range slices.Sorted(maps.Keys(o.set.Broken)) {
		if b := o.set.Broken[dir]; b.Name == dep {
			return &DependencyError{App: n, Dependency: dep, Why: "is broken", Err: b}
		}
	}
	return &DependencyError{App: n, Dependency: dep, Why: "is in no app.config"}
}
