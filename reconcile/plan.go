package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"beamsandbox/distribution"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// Have is one app as it is on this host.
type Have struct {
	Digest    string // app.Spec.Digest of what runs; "" for leftovers
	RunDigest string // app.Spec.RunDigest, "" when not known
	Version   string
	Isolation app.Isolation
	Dir       string // folder of the repository it came from, "" when not known
	DependsOn []app.Name
	Pid       uint32               // of a running guest
	Env       map[string]term.Term // as it was set; after a restart only the keys are known
	// Quarantine is why it is stopped and stays so until it has other code.
	Quarantine *distribution.Quarantine
}

// Action is what a pass does with one app.
type Action string

// The actions of a plan.
const (
	Deploy      Action = "deploy"      // nothing runs yet
	Upgrade     Action = "upgrade"     // build, stop the old, start the new
	Reconfigure Action = "reconfigure" // only env changed: set it in the running app
	Move        Action = "move"        // between the host VM and a guest
	Remove      Action = "remove"      // it is not in the repository any more
	Keep        Action = "keep"        // nothing to do
)

// Step is one thing that a pass does.
type Step struct {
	Name   app.Name
	Action Action
	From   string // version or place that runs, "" when none
	To     string // version or place wanted, "" when it is removed
	Why    string
	Err    error // a kept or absent app that cannot be deployed, and why
}

// Status is the step as sandboxctl plan shows it.
func (s Step) Status() status.Step {
	return status.Step{App: string(s.Name), Action: string(s.Action), From: s.From, To: s.To, Why: s.Why}
}

// Plan says what makes have into want: first the removals, dependants before
// what they depend on, then every wanted app behind its dependencies. A broken
// or blocked app is neither deployed nor removed.
func Plan(want app.Set, have map[app.Name]Have) []Step {
	order, blocked := want.Order()
	steps := removals(want, have)
	for _, n := range order {
		h, runs := have[n]
		steps = append(steps, step(want.Specs[n], h, runs))
	}
	for _, n := range slices.Sorted(maps.Keys(blocked)) {
		steps = append(steps, stay(n, have, blocked[n]))
	}
	for _, dir := range slices.Sorted(maps.Keys(want.Broken)) {
		steps = append(steps, stay(brokenName(want, dir, have), have, want.Broken[dir]))
	}
	return steps
}

// step compares one wanted app with what runs.
func step(s app.Spec, h Have, runs bool) Step {
	out := Step{Name: s.Name, From: h.Version, To: s.Version}
	switch {
	case h.Quarantine != nil && h.Quarantine.Build == s.BuildDigest():
		out.Action, out.Why = Keep, h.Quarantine.Error()
	case !runs || h.Digest == "":
		out.Action, out.From, out.Why = Deploy, "", "it does not run yet"
	case h.Isolation != s.Isolation:
		out.Action, out.Why = Move, "isolation changed"
		out.From, out.To = string(h.Isolation), string(s.Isolation)
	case h.Digest == s.Digest():
		out.Action, out.Why = Keep, "it runs as wanted"
	case h.RunDigest == s.RunDigest():
		out.Action, out.Why = Reconfigure, "only env changed"
	case h.Version != s.Version:
		out.Action, out.Why = Upgrade, "version changed"
	default:
		out.Action, out.Why = Upgrade, "source, limits or ports changed"
	}
	return out
}

// stay is the step of an app that cannot be deployed as it is written.
func stay(n app.Name, have map[app.Name]Have, err error) Step {
	return Step{Name: n, Action: Keep, From: have[n].Version, To: have[n].Version, Why: err.Error(), Err: err}
}

// removals lists what runs and is not wanted, dependants first.
func removals(want app.Set, have map[app.Name]Have) []Step {
	spared := map[app.Name]bool{}
	for dir, broken := range want.Broken {
		spared[brokenName(want, dir, have)] = true
		spared[broken.Name] = true // which may say another name than what runs
	}
	var gone []app.Name
	for n := range have {
		if _, wanted := want.Specs[n]; !wanted && !spared[n] {
			gone = append(gone, n)
		}
	}
	slices.Sort(gone)
	steps := make([]Step, 0, len(gone))
	for _, n := range dependantsFirst(gone, have) {
		steps = append(steps, Step{Name: n, Action: Remove, From: have[n].Version, Why: "it is not in the repository"})
	}
	return steps
}

// brokenName finds the app behind a folder whose file cannot be read: the
// running app that came from the folder, else what the file or the folder is
// called.
func brokenName(want app.Set, dir string, have map[app.Name]Have) app.Name {
	for n, h := range have {
		if h.Dir == dir {
			return n
		}
	}
	return cmp.Or(want.Broken[dir].Name, app.Name(dir))
}

// dependantsFirst orders names so that an app comes before all that it
// depends on; a cycle is cut where it is entered.
func dependantsFirst(names []app.Name, have map[app.Name]Have) []app.Name {
	var out []app.Name
	seen := map[app.Name]bool{}
	var visit func(app.Name)
	visit = func(n app.Name) {
		if seen[n] || !slices.Contains(names, n) {
			return
		}
		seen[n] = true
		for _, other := range names {
			if slices.Contains(have[other].DependsOn, n) {
				visit(other)
			}
		}
		out = append(out, n)
	}
	for _, n := range names {
		visit(n)
	}
	return out
}

// errNoApps refuses a commit that would remove everything by accident: git
// does not keep empty folders, so a lost apps folder looks like "no apps".
func errNoApps(commit, dir string, have map[app.Name]Have) error {
	names := make([]string, 0, len(have))
	for _, n := range slices.Sorted(maps.Keys(have)) {
		names = append(names, string(n))
	}
	return fmt.Errorf("read commit %s: it has no folder %s, which would remove %s: put the folder back, or commit %s/.keep if that is meant",
		short(commit), dir, strings.Join(names, ", "), dir)
}

func short(hash string) string { return hash[:min(len(hash), 12)] }

// reasonOf is the stable word for why an app cannot be deployed.
func reasonOf(err error) string {
	var cycle *app.CycleError
	var dep *app.DependencyError
	switch {
	case errors.As(err, &dep):
		return "dependency"
	case errors.As(err, &cycle):
		return "cycle"
	}
	return "config"
}
