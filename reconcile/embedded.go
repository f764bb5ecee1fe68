package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/images"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/health"
	"beamsandbox/reconcile/status"
	"beamsandbox/reconcile/telemetry"
	"beamsandbox/runtime"
)

// embedded is the way of one app that runs inside the host VM: from its source
// to code paths, loaded, started and healthy, again whenever the host VM comes
// back, until it stops.
func (w *worker) embedded(ctx context.Context) error {
	w.stages = nil
	for {
		if err := w.hostReady(ctx); err != nil {
			return err
		}
		if err := w.code(ctx); err != nil {
			return err
		}
		if err := w.takeOver(ctx); err != nil {
			return err
		}
		if err := w.load(ctx); err != nil {
			w.image = nil // its branch may have moved on
			return err
		}
		err := w.watch(ctx, health.Local{VM: w.host}, func(f facts) bool { return !f.hostUp })
		if !errors.Is(err, errUnlinked) {
			return err
		}
		// Another host VM may be of another release.
		w.image, w.stages = nil, nil
	}
}

func (w *worker) hostReady(ctx context.Context) error {
	if !w.vitals.get().hostUp {
		w.phase(status.Pending, "waits for the host VM "+w.cfg.HostNode)
	}
	_, err := w.vitals.wait(ctx, func(f facts) bool { return f.hostUp })
	return err
}

// code builds the app for the release that the host VM runs.
func (w *worker) code(ctx context.Context) error {
	if w.image != nil {
		return nil
	}
	w.phase(status.Building, "building "+w.spec.Version)
	return w.bounded(ctx, w.builds, func() error {
		return w.buildStage(func() error {
			otp, err := release(ctx, w.host)
			if err != nil {
				return err
			}
			img, err := w.rooms.Images.Ensure(ctx, images.Recipe{
				Name: w.name, Version: w.spec.Version, Source: w.spec.Source, Code: true, OTP: otp})
			if err != nil {
				return fmt.Errorf("build %s: %w", w.name, err)
			}
			w.image = &img
			return nil
		})
	})
}

// release asks the host VM for its OTP release, "25".
func release(ctx context.Context, host caller) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyCall)
	defer cancel()
	answer, err := health.Answer(host.Call(ctx, "erlang", "system_info", term.Atom("otp_release")))
	if err != nil {
		return "", fmt.Errorf("ask the host VM for its release: %w", err)
	}
	text, ok := term.Text(answer)
	if !ok {
		return "", fmt.Errorf("ask the host VM for its release: it answered %.80s", term.Format(answer))
	}
	return text, nil
}

// load makes the host VM run the app.
func (w *worker) load(ctx context.Context) error {
	w.phase(status.Starting, "")
	have := haveOf(w.spec)
	w.post(func(s *state) {
		if e := s.of(w); e != nil && e.have.Digest == "" {
			e.have = have
			e.have.Digest = ""
		}
	})
	err := w.stage("embedded", func() error {
		_, err := w.rooms.Embedded.Ensure(ctx, runtime.EmbeddedConfig{
			Name: w.name, Version: w.spec.Version, Digest: have.Digest, CodePaths: w.image.CodePaths, Env: w.spec.Env})
		return err
	})
	if err != nil {
		return err
	}
	w.coded("load", telemetry.Meta("paths_count", term.Int(len(w.image.CodePaths))))
	w.moved = ""
	image, now := *w.image, time.Now()
	w.post(func(s *state) {
		if e := s.of(w); e != nil {
			e.have = have
			v := &e.view
			v.Version, v.Isolation, v.Digest = w.spec.Version, string(app.Embedded), have.Digest
			v.Revision, v.Notes = image.Revision, image.Notes
			v.Node, v.Pid, v.Address, v.Image, v.Memory = w.cfg.HostNode, 0, "", "", 0
			v.Drops, v.Refused, v.Refusals, v.Messages, v.Started = nil, nil, nil, "", now
		}
	})
	w.phase(status.Verifying, "")
	return nil
}
