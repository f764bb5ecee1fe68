package images

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	core "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"

	"beamsandbox/reconcile/app"
)

// Why an image of an app is held: a lease of containerd keeps its parts,
// whoever removes its name.
const (
	heldCurrent  = "current"  // the newest
	heldRunning  = "running"  // a guest is made of it
	heldGood     = "good"     // an app made of it was well
	heldPrevious = "previous" // the one before the newest, while no other was well
)

// labelImage is, on a lease, the name of the image that it holds.
const labelImage = "beamsandbox.image"

// A hold is one reason to keep one image.
type hold struct{ why, ref string }

func (h hold) id() string { return "beamsandbox/" + h.why + "/" + strings.TrimPrefix(h.ref, refPrefix) }

// Good says that an app that was made of this image was well: it is held until
// another one was, so that there is something to go back to.
func (s *Store) Good(ctx context.Context, name app.Name, ref string) error {
	defer s.lock(name)()
	h := hold{heldGood, ref}
	if err := s.depot.letGo(ctx, h); err != nil { // the new one's time counts
		return err
	}
	if err := s.depot.take(ctx, name, h); err != nil {
		return err
	}
	_, err := s.hold(ctx, name)
	return err
}

// hold brings the leases of an app up to date and returns the names of the
// images that must stay. The caller has the app's lock.
func (s *Store) hold(ctx context.Context, name app.Name) (map[string]bool, error) {
	all, err := s.depot.list(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(i core.Image) bool { return i.Labels[labelApp] != string(name) || i.Labels[labelRemoved] != "" })
	running, err := s.depot.running(ctx)
	if err != nil {
		return nil, err
	}
	have, err := s.depot.holds(ctx, name)
	if err != nil {
		return nil, err
	}
	want := wanted(all, running, have)
	kept := map[string]bool{}
	for _, h := range want {
		kept[h.ref] = true
		if !slices.Contains(have, h) {
			if err := s.depot.take(ctx, name, h); err != nil {
				return nil, err
			}
		}
	}
	for _, h := range have {
		if !slices.Contains(want, h) {
			if err := s.depot.letGo(ctx, h); err != nil {
				return nil, err
			}
		}
	}
	return kept, nil
}

// wanted says what to hold of an app's images, the newest first; so is have.
func wanted(all []core.Image, running map[string]bool, have []hold) (want []hold) {
	if len(all) == 0 {
		return nil
	}
	there := map[string]bool{}
	current := all[0].Name
	want = append(want, hold{heldCurrent, current})
	for _, i := range all {
		there[i.Name] = true
		if running[i.Name] {
			want = append(want, hold{heldRunning, i.Name})
		}
	}
	another := false
	for _, h := range have {
		if h.why != heldGood || !there[h.ref] || h.ref != current && another {
			continue
		}
		want = append(want, h)
		another = another || h.ref != current
	}
	if !another && len(all) > 1 {
		want = append(want, hold{heldPrevious, all[1].Name})
	}
	return want
}

// holds lists what an app's leases hold, the newest first.
func (d depot) holds(ctx context.Context, name app.Name) ([]hold, error) {
	all, err := d.client.LeasesService().List(d.in(ctx), fmt.Sprintf("labels.%q==%q", labelApp, string(name)))
	if err != nil {
		return nil, fmt.Errorf("list what is held of %s: %w", name, err)
	}
	slices.SortFunc(all, func(a, b leases.Lease) int { return b.CreatedAt.Compare(a.CreatedAt) })
	var out []hold
	for _, l := range all {
		if ref, why := l.Labels[labelImage], strings.Split(l.ID, "/"); ref != "" && len(why) > 1 {
			out = append(out, hold{why[1], ref})
		}
	}
	return out, nil
}

// take holds an image; one that is gone is no reason to fail.
func (d depot) take(ctx context.Context, name app.Name, h hold) error {
	ctx = d.in(ctx)
	i, err := d.client.ImageService().Get(ctx, h.ref)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hold image %s: %w", h.ref, err)
	}
	m := d.client.LeasesService()
	l, err := m.Create(ctx, leases.WithID(h.id()), leases.WithLabels(map[string]string{labelApp: string(name), labelImage: h.ref}))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("hold image %s: %w", h.ref, err)
	}
	l.ID = h.id()
	if err := m.AddResource(ctx, l, leases.Resource{ID: i.Target.Digest.String(), Type: "content"}); err != nil {
		return errors.Join(fmt.Errorf("hold image %s: %w", h.ref, err), d.letGo(ctx, h))
	}
	return nil
}

// letGo ends holds; those that are not there are no error.
func (d depot) letGo(ctx context.Context, holds ...hold) error {
	var errs []error
	for _, h := range holds {
		err := d.client.LeasesService().Delete(d.in(ctx), leases.Lease{ID: h.id()})
		if err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("let go of image %s: %w", h.ref, err))
		}
	}
	return errors.Join(errs...)
}

// letGoOf ends every hold of one image of an app, or of all with ref "".
func (s *Store) letGoOf(ctx context.Context, name app.Name, ref string) error {
	all, err := s.depot.holds(ctx, name)
	if err != nil {
		return err
	}
	return s.depot.letGo(ctx, slices.DeleteFunc(all, func(h hold) bool { return ref != "" && h.ref != ref })...)
}
