package reconcile

import (
	"errors"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/git"
	"beamsandbox/reconcile/telemetry"
)

// observe tells whoever watches us what happened.
func (r *Reconciler) observe(e telemetry.Event) {
	if r.cfg.Observe != nil {
		r.cfg.Observe(e)
	}
}

// owner stands where bc_gitops names its own runtime modules and tools.
const owner = term.Atom("sandboxd")

// passBegan and passEnded enclose a pass.
func (r *Reconciler) passBegan() time.Time {
	r.observe(telemetry.Event{Scope: "reconcile", What: "start", Took: telemetry.NoTime})
	return time.Now()
}

func (r *Reconciler) passEnded(start time.Time, err error) {
	e := telemetry.Event{Scope: "reconcile", What: "stop", Took: time.Since(start), Metadata: telemetry.Meta("status", term.Atom("success"))}
	if err != nil {
		e.What, e.Err, e.Metadata = "error", err, telemetry.Meta("error", telemetry.Reason(err))
	}
	r.observe(e)
}

// pulled tells of a fetch that the remote answered.
func (r *Reconciler) pulled() {
	r.observe(telemetry.Event{Scope: "git", What: "pull", Took: telemetry.NoTime,
		Metadata: telemetry.Meta("repo", term.Binary(r.cfg.RepoURL), "branch", term.Binary(r.cfg.Branch))})
}

// parse is load, told about.
func (r *Reconciler) parse(c git.Commit, have map[app.Name]Have) (app.Set, error) {
	start := time.Now()
	meta := telemetry.Meta("commit", term.Binary(c.Hash))
	r.observe(telemetry.Event{Scope: "parse", What: "start", Took: telemetry.NoTime, Metadata: meta})
	set, err := r.load(c, have)
	meta = append(meta, telemetry.Meta("apps", term.Int(len(set.Specs)), "broken", term.Int(len(set.Broken)), "status", outcome(err))...)
	r.observe(telemetry.Event{Scope: "parse", What: "stop", Took: time.Since(start), Err: err, Metadata: meta})
	return set, err
}

func outcome(err error) term.Atom {
	if err != nil {
		return "failed"
	}
	return "success"
}

// change is what a worker's wish means for the app, until it has come true or
// failed for the first time.
type change struct {
	scope string // deploy, upgrade, remove; "": nothing is told
	since time.Time
}

// errSuperseded ends what a newer commit, or our own end, made pointless.
var errSuperseded = errors.New("given up: something else is wanted, or sandboxd ends")

// scopeOf names an action as bc_gitops does, which tells nothing of the others.
func scopeOf(a Action) string {
	switch a {
	case Deploy:
		return "deploy"
	case Upgrade, Move:
		return "upgrade"
	}
	return ""
}

// changing tells that the worker begins.
func (w *worker) changing(step Step) {
	w.change = change{scopeOf(step.Action), time.Now()}
	if w.removal {
		w.change.scope = "remove"
	}
	if w.change.scope == "" {
		return
	}
	meta := telemetry.Meta("runtime", owner)
	if w.spec.Isolation != "" {
		meta = append(meta, telemetry.Meta("isolation", term.Atom(w.spec.Isolation))...)
	}
	if w.change.scope == "upgrade" {
		meta = append(meta, telemetry.Meta("from_version", term.Binary(step.From), "to_version", term.Binary(step.To))...)
	}
	w.observe(telemetry.Event{Scope: w.change.scope, What: "start", App: string(w.name), Took: telemetry.NoTime, Metadata: meta})
}

// changed tells how it went, once.
func (w *worker) changed(err error) {
	if w.change.scope == "" {
		return
	}
	var result term.Term = term.Atom("ok")
	switch {
	case err != nil:
		result = term.Tuple{term.Atom("error"), telemetry.Reason(err)}
	case !w.removal:
		result = term.Tuple{term.Atom("ok"), telemetry.Meta("name", term.Atom(w.name), "version", term.Binary(w.spec.Version),
			"isolation", term.Atom(w.spec.Isolation), "node", term.Atom(w.nodeName()))}
	}
	w.observe(telemetry.Event{Scope: w.change.scope, What: "stop", App: string(w.name), Took: time.Since(w.change.since), Err: err,
		Metadata: telemetry.Meta("result", result)})
	w.change.scope = ""
}

// nodeName is the node that the app runs in.
func (w *worker) nodeName() string {
	if w.spec.Isolation == app.Embedded {
		return w.cfg.HostNode
	}
	return w.spec.Node(w.cfg.Hostname, w.cfg.NodePrefix)
}

// buildStage is the stage of the image, told about.
func (w *worker) buildStage(build func() error) error {
	start := time.Now()
	w.observe(telemetry.Event{Scope: "build", What: "start", App: string(w.name), Took: telemetry.NoTime, Metadata: telemetry.Meta("tool", owner)})
	err := w.stage("image", build)
	meta := telemetry.Meta("tool", owner, "status", outcome(err))
	if err != nil {
		meta = append(meta, telemetry.Meta("error", telemetry.Reason(err))...)
	}
	w.observe(telemetry.Event{Scope: "build", What: "stop", App: string(w.name), Took: time.Since(start), Err: err, Metadata: meta})
	return err
}

// spawning tells that a guest's BEAM is about to be started, unless it runs.
func (w *worker) spawning() {
	if w.old.Pid != 0 && w.old.Digest == w.spec.Digest() {
		return
	}
	w.spawn = time.Now()
	w.observe(telemetry.Event{Scope: "vm", What: "spawn_start", App: string(w.name), Took: telemetry.NoTime,
		Metadata: telemetry.Meta("node", term.Atom(w.nodeName()), "build_tool", owner)})
}

// spawned tells, once, that the guest has joined or that it will not.
func (w *worker) spawned(pid uint32, err error) {
	if w.spawn.IsZero() {
		return
	}
	meta := telemetry.Meta("node", term.Atom(w.nodeName()), "status", term.Atom("success"), "os_pid", term.Int(pid))
	if err != nil {
		meta = telemetry.Meta("node", term.Atom(w.nodeName()), "status", term.Atom("error"), "error", telemetry.Reason(err))
	}
	w.observe(telemetry.Event{Scope: "vm", What: "spawn_stop", App: string(w.name), Took: time.Since(w.spawn), Err: err, Metadata: meta})
	w.spawn = time.Time{}
}

// stopping encloses the graceful end of a guest.
func (w *worker) stopping(stop func() error) error {
	start := time.Now()
	meta := telemetry.Meta("method", term.Atom("graceful"))
	if w.node != "" {
		meta = telemetry.Meta("node", term.Atom(w.node), "method", term.Atom("graceful"))
	}
	w.observe(telemetry.Event{Scope: "vm", What: "stop_start", App: string(w.name), Took: telemetry.NoTime, Metadata: meta})
	err := stop()
	status := term.Atom("success")
	if err != nil {
		status = "error"
	}
	w.observe(telemetry.Event{Scope: "vm", What: "stop_stop", App: string(w.name), Took: time.Since(start), Err: err,
		Metadata: append(meta, telemetry.Meta("status", status)...)})
	return err
}

// coded tells that an app's code came into the host VM or left it.
func (w *worker) coded(what string, meta term.Map) {
	w.observe(telemetry.Event{Scope: "code", What: what, App: string(w.name), Took: telemetry.NoTime, Metadata: meta})
}

// checked tells how one health check went.
func (w *worker) checked(start time.Time, err error) {
	meta := telemetry.Meta("status", term.Atom("healthy"))
	if err != nil {
		meta = telemetry.Meta("status", term.Atom("unhealthy"), "error", telemetry.Reason(err))
	}
	w.observe(telemetry.Event{Scope: "health", What: "check", App: string(w.name), Took: time.Since(start), Err: err, Metadata: meta})
}

// linked tells that a guest's node came or went.
func (r *Reconciler) linked(ev distribution.Event) {
	what := map[distribution.EventKind]string{distribution.Up: "node_up", distribution.Down: "node_down"}[ev.Kind]
	if what != "" && ev.Node != "" {
		r.observe(telemetry.Event{Scope: "cluster", What: what, App: string(ev.Name), Took: telemetry.NoTime,
			Metadata: telemetry.Meta("node", term.Atom(ev.Node))})
	}
}
