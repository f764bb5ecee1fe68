package reconcile

import (
	"context"
	"fmt"

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
	case w.moved != "" && w.spec.Isolation == app.VM:
		return w.replaceMoved(ctx)
	case old.Digest == "" || old.Digest == w.spec.Digest() || w.spec.Isolation == app.Embedded:
		return nil // nothing runs, it runs as wanted, or the host VM changes it in place
	case old.RunDigest == w.spec.RunDigest() && w.reconfigure(ctx, old):
		w.old.Digest = w.spec.Digest()
		return nil
	}
	w.phase(status.Stopping, "stopping "+old.Version)
	w.stop(ctx, old.Pid) // Ensure replaces it, ended or not
	w.post(w.stopped)
	w.old.Digest = ""
	return ctx.Err()
}

// claimApp becomes the app's current worker.
func (w *worker) claimApp(ctx context.Context) error {
	// A guest that runs as wanted already has nothing to wait for.
	if runs := w.haves()[w.name]; !w.removal && runs.Digest != w.spec.Digest() {
		if !w.vitals.get().depsReady {
			w.phase(status.Pending, "waits for its dependencies")
		}
		if _, err := w.vitals.wait(ctx, func(f facts) bool { return f.depsReady }); err != nil {
			return err
		}
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
		if err := w.learnTLS(ctx, func(runtime.Task) bool { return true }); err != nil {
			return err
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
