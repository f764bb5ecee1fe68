package images

import (
	"context"
	"fmt"
	"maps"

	core "github.com/containerd/containerd/v2/core/images"

	"beamsandbox/reconcile/app"
)

// labelRemoved marks the image of an app that was removed. It is not listed;
// an app that comes back from the same source, as by a reverted commit, takes
// it up again and starts at once.
const labelRemoved = "beamsandbox.removed"

// keptRemoved is how many removed apps leave their newest image.
const keptRemoved = 32

// retire marks the newest image of a removed app, which is all that prune
// left of it.
func (s *Store) retire(ctx context.Context, name app.Name) error {
	i, ok, err := s.depot.find(ctx, map[string]string{labelApp: string(name)})
	if err != nil || !ok || i.Labels[labelRemoved] != "" {
		return err
	}
	i.Labels = maps.Clone(i.Labels)
	i.Labels[labelRemoved] = "true"
	return s.depot.name(s.depot.in(ctx), i)
}

// use makes an image the newest of its app, and one in use.
func (s *Store) use(ctx context.Context, i core.Image) error {
	i.Labels = maps.Clone(i.Labels)
	delete(i.Labels, labelRemoved)
	return s.depot.name(s.depot.in(ctx), i)
}

// forget deletes what was left by apps whose removal is longest ago. The
// caller holds the lock of no app.
func (s *Store) forget(ctx context.Context) error {
	all, err := s.depot.list(ctx)
	if err != nil {
		return err
	}
	for _, i := range expired(all) {
		if err := s.forgetOne(ctx, i); err != nil {
			return fmt.Errorf("forget a removed app: %w", err)
		}
	}
	return nil
}

// forgetOne looks again, with the app's lock: it may be back.
func (s *Store) forgetOne(ctx context.Context, i core.Image) error {
	defer s.lock(app.Name(i.Labels[labelApp]))()
	now, ok, err := s.depot.find(ctx, i.Labels)
	if err != nil || !ok || now.Name != i.Name {
		return err
	}
	return s.depot.remove(ctx, true, i.Name)
}

// expired are the images of removed apps beyond keptRemoved; all is sorted,
// the newest first.
func expired(all []core.Image) []core.Image {
	var removed []core.Image
	for _, i := range all {
		if i.Labels[labelRemoved] != "" {
			removed = append(removed, i)
		}
	}
	return removed[min(keptRemoved, len(removed)):]
}
