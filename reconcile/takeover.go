package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/images"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

// takeOver makes room for what this worker is about to start: it waits for
// the dependencies, ends the worker before it, and stops or removes what ran
// for the old wish. It does nothing the second time.
func (w *worker) takeOver(ctx context.Context) error {
	if !w.claimed {
		if err := w.claimApp(ctx); err != nil {
			return err
		}
	}
	old := w.old
	switch {
	case old.Isolation != "" && old.Isolation != w.spec.Isolation:
		w.phase(status.Stopping, "moving from "+string(old.Isolation)+" to "+string(w.spec.Isolation))
		if err := w.undo(ctx, old); err != nil {
			return &stageError{"remove", err}
		}
		w.old = Have{}
		return nil
	case old.Digest == "" || old.Digest == w.spec.Digest() || w.spec.Isolation == app.Embedded:
		return nil // nothing runs, it runs as wanted, or the host VM changes it in place
	case old.RunDigest == w.spec.RunDigest() && w.reconfigure(ctx, old):
		w.old.Digest = w.spec.Digest()
		return nil
	}
	w.phase(status.Stopping, "stopping "+old.Version)
	if err := w.stop(ctx, old.Pid); err != nil {
		return &stageError{"task", err}
	}
	w.old.Digest = ""
	return nil
}

// claimApp becomes the app's current worker.
func (w *worker) claimApp(ctx context.Context) error {
	if !w.vitals.get().depsReady && !w.removal {
		w.phase(status.Pending, "waits for its dependencies")
	}
	ready := func(f facts) bool { return f.depsReady || w.removal }
	if _, err := w.vitals.wait(ctx, ready); err != nil {
		return err
	}
	var before []*worker
	if err := w.ask(ctx, func(s *state) { w.old, before = s.claim(w) }); err != nil {
		return err
	}
	for _, b := range before { // they are cancelled and only have to notice
		<-b.done
	}
	// What they did last may be newer than what claim returned.
	err := w.ask(ctx, func(s *state) {
		if e := s.of(w); e != nil {
			w.old = e.have
		}
	})
	w.claimed = err == nil
	return err
}

// reconfigure sets the new env in the running guest and reports whether that
// worked; if not the guest is started anew with it.
func (w *worker) reconfigure(ctx context.Context, old Have) bool {
	w.phase(status.Starting, "setting env")
	err := w.stage("reconfigure", func() error {
		if err := runtime.Reconfigure(ctx, w.inGuest(), w.name, old.Env, w.spec.Env); err != nil {
			return err
		}
		if w.image == nil {
			return fmt.Errorf("its image is not known")
		}
		return w.rooms.Tasks.Relabel(ctx, w.name, w.spec.Digest(), w.labels())
	})
	if err != nil {
		w.log.Warn("reconfigure in place, starting anew", "app", w.name, "err", err)
		return false
	}
	return true
}

// caller is one node that functions can be called in.
type caller interface {
	Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
}

// guestCaller calls functions in one guest.
type guestCaller struct {
	nodes Nodes
	name  app.Name
}

func (g guestCaller) Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error) {
	return g.nodes.Call(ctx, g.name, module, function, args...)
}

func (w *worker) inGuest() guestCaller { return guestCaller{w.rooms.Nodes, w.name} }

// remembered is the image of a guest that runs already, as its labels have
// it, so that adopting or reconfiguring it needs no source.
func (w *worker) remembered(ctx context.Context) (images.Image, bool) {
	tasks, err := w.rooms.Tasks.List(ctx)
	if err != nil {
		return images.Image{}, false // Ensure will say what is wrong
	}
	for _, t := range tasks {
		if t.Name == w.name && t.State == runtime.Running && t.Labels[labelBuild] == w.spec.BuildDigest() {
			return imageOf(t)
		}
	}
	return images.Image{}, false
}

func imageOf(t runtime.Task) (images.Image, bool) {
	var r runtime.Release
	if err := json.Unmarshal([]byte(t.Labels[labelRelease]), &r); err != nil || t.Labels[labelImage] == "" {
		return images.Image{}, false
	}
	return images.Image{Name: t.Name, Ref: t.Labels[labelImage], Revision: t.Labels[labelRevision], Cached: true,
		Release: images.Release{Name: r.Name, Version: r.Version, ERTS: r.ERTS, Root: r.Root}}, true
}

// haveOfTask is what a restarted daemon knows of a guest.
func haveOfTask(t runtime.Task) Have {
	h := Have{Digest: t.Digest, RunDigest: t.Labels[labelRun], Version: t.Labels[labelVersion],
		Isolation: app.VM, Dir: t.Labels[labelDir], Pid: t.Pid, Env: map[string]term.Term{}}
	for _, k := range fields(t.Labels[labelEnvKeys]) {
		h.Env[k] = term.Atom("undefined")
	}
	for _, d := range fields(t.Labels[labelDepends]) {
		h.DependsOn = append(h.DependsOn, app.Name(d))
	}
	return h
}

func fields(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
