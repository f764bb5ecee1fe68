package images

import (
	"context"
	"errors"
	"slices"

	core "github.com/containerd/containerd/v2/core/images"

	"beamsandbox/reconcile/app"
)

// Freed is what a clean-up took away.
type Freed struct {
	Images int
	Bytes  int64 // parts that no other image shares, packed
}

// Prune removes what no app of this host uses: images of removed apps, those
// pulled or imported by hand, and builders, which cost seconds to make anew.
// Images of apps stay, the current and the previous one, and what runs stays.
func (s *Store) Prune(ctx context.Context) (Freed, error) {
	return s.shrink(ctx, func(c candidate, _ int64) bool {
		return c.kind == KindRemoved || c.kind == KindPulled || c.kind == KindBuilder
	})
}

// bound removes images until all of them together hold no more than the
// configured number of bytes: those of removed apps first, pulled ones, then
// previous ones, the least recently used first. Current images, what runs and
// the builder stay, whatever they hold, and so does the image called spare,
// which was just brought in. What made it necessary is good all the same:
// nobody fails for it.
func (s *Store) bound(ctx context.Context, spare string) {
	if s.cache == 0 {
		return
	}
	_, err := s.shrink(ctx, func(c candidate, total int64) bool {
		return total > s.cache && c.image.Name != spare && (c.kind == KindRemoved || c.kind == KindPulled || c.kind == KindPrevious)
	})
	if err != nil {
		s.log.Warn("keep the images within their bound", "err", err)
	}
}

// shrink goes through the images that may go, the most dispensable first.
func (s *Store) shrink(ctx context.Context, may func(c candidate, total int64) bool) (Freed, error) {
	all, err := s.depot.list(ctx)
	if err != nil {
		return Freed{}, err
	}
	running, err := s.depot.running(ctx)
	if err != nil {
		return Freed{}, err
	}
	use := s.usage(ctx, all)
	var freed Freed
	var errs []error
	for _, c := range byNeed(all) {
		if running[c.image.Name] || !may(c, use.total) {
			continue
		}
		ok, err := s.dismiss(ctx, c.image)
		errs = append(errs, err)
		if ok {
			freed.Images++
			freed.Bytes += use.without(c.image.Name)
		}
	}
	return freed, errors.Join(errs...)
}

// A candidate is an image that may go.
type candidate struct {
	image core.Image
	kind  Kind
}

// byNeed orders images, the newest first given, by how dispensable they are.
func byNeed(all []core.Image) []candidate {
	rank := map[Kind]int{KindRemoved: 0, KindPulled: 1, KindPrevious: 2, KindBuilder: 3, KindCurrent: 4}
	seen := map[string]bool{}
	var out []candidate
	for _, i := range all {
		out = append(out, candidate{i, kindOf(i, seen)})
	}
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b candidate) int { return rank[a.kind] - rank[b.kind] })
	return out
}

// dismiss removes one image unless it was taken into use meanwhile.
func (s *Store) dismiss(ctx context.Context, i core.Image) (bool, error) {
	if name := i.Labels[labelApp]; name != "" {
		defer s.lock(app.Name(name))()
	} else if i.Labels[labelBuilder] != "" {
		s.builderLock.Lock()
		defer s.builderLock.Unlock()
	}
	now, err := s.depot.client.ImageService().Get(s.depot.in(ctx), i.Name)
	if err != nil || !now.UpdatedAt.Equal(i.UpdatedAt) {
		return false, nil
	}
	if name := i.Labels[labelApp]; name != "" {
		if err := s.letGoOf(ctx, app.Name(name), i.Name); err != nil {
			return false, err
		}
	}
	err = s.depot.remove(ctx, true, i.Name)
	return err == nil, err
}

// A usage counts which images share which parts.
type usage struct {
	total int64
	sizes map[string]int64    // by digest
	users map[string]int      // by digest
	parts map[string][]string // digests by image
}

func (s *Store) usage(ctx context.Context, all []core.Image) *usage {
	u := &usage{sizes: map[string]int64{}, users: map[string]int{}, parts: map[string][]string{}}
	for _, i := range all {
		for _, p := range s.depot.parts(ctx, i) {
			id := p.Digest.String()
			if u.users[id]++; u.users[id] == 1 {
				u.total += p.Size
			}
			u.sizes[id] = p.Size
			u.parts[i.Name] = append(u.parts[i.Name], id)
		}
	}
	return u
}

// without takes an image out of the count; it returns what that frees.
func (u *usage) without(image string) (freed int64) {
	for _, id := range u.parts[image] {
		if u.users[id]--; u.users[id] == 0 {
			freed += u.sizes[id]
		}
	}
	u.total -= freed
	return freed
}
