package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	core "github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Kind says why an image is kept.
type Kind string

// The kinds of kept images.
const (
	KindCurrent  Kind = "current"  // the newest of its app
	KindPrevious Kind = "previous" // the one before it
	KindRemoved  Kind = "removed"  // left by an app that was removed
	KindPulled   Kind = "pulled"   // pulled or imported by hand
	KindBuilder  Kind = "builder"  // what builds run in
)

// Listed is one image in containerd's store.
type Listed struct {
	App      string // "" for those of no app
	Ref      string // name in containerd's image store
	Kind     Kind
	Running  bool // a guest's file system is made of it
	Digest   string
	Revision string
	Source   string // "git https://… main"
	Bytes    int64  // its parts, packed; parts are shared with other images
	Built    time.Time
}

// Detail is one image in full.
type Detail struct {
	Listed
	Layers  []Layer
	Release Release
	// Resolved is what the build took from outside, the app's own package of
	// Hex among it.
	Resolved []Dependency
	SBOM     json.RawMessage // SPDX; nil when it has none
}

// Layer is one archive of an image.
type Layer struct {
	Digest string
	Bytes  int64
}

// ErrNoImage says that no kept image is called so.
var ErrNoImage = errors.New("no such image")

// Catalog lists every image of ours, those of an app together, the newest
// first.
func (s *Store) Catalog(ctx context.Context) ([]Listed, error) {
	all, err := s.depot.list(ctx)
	if err != nil {
		return nil, err
	}
	running, err := s.depot.running(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	out := make([]Listed, 0, len(all))
	for _, i := range all {
		l := Listed{
			App: i.Labels[labelApp], Ref: i.Name, Kind: kindOf(i, seen), Running: running[i.Name], Digest: i.Target.Digest.String(),
			Revision: i.Labels[labelRevision], Source: i.Labels[labelSource], Built: i.CreatedAt,
		}
		for _, p := range s.depot.parts(ctx, i) {
			l.Bytes += p.Size
		}
		out = append(out, l)
	}
	slices.SortStableFunc(out, func(a, b Listed) int { return strings.Compare(a.App, b.App) })
	return out, nil
}

// kindOf is called for the newest images first.
func kindOf(i core.Image, seen map[string]bool) Kind {
	name := i.Labels[labelApp]
	switch {
	case i.Labels[labelPulled] != "":
		return KindPulled
	case name == "":
		return KindBuilder
	case i.Labels[labelRemoved] != "":
		return KindRemoved
	case seen[name]:
		return KindPrevious
	}
	seen[name] = true
	return KindCurrent
}

// running is the set of image names that containers were made of.
func (d depot) running(ctx context.Context) (map[string]bool, error) {
	all, err := d.client.ContainerService().List(d.in(ctx))
	if err != nil {
		return nil, fmt.Errorf("list what runs: %w", err)
	}
	out := map[string]bool{}
	for _, c := range all {
		out[c.Image] = true
	}
	return out, nil
}

// parts are an image's manifest, configuration and layers, as far as the
// store has the manifest.
func (d depot) parts(ctx context.Context, i core.Image) []ocispec.Descriptor {
	out := []ocispec.Descriptor{i.Target}
	var m ocispec.Manifest
	if err := d.decode(d.in(ctx), i.Target, &m); err != nil {
		return out
	}
	return append(append(out, m.Config), m.Layers...)
}

// lookup finds an image by the name of its app (the newest then), its own
// name, its source's reference or the beginning of its digest.
func (s *Store) lookup(ctx context.Context, name string) (core.Image, error) {
	all, err := s.depot.list(ctx)
	if err != nil {
		return core.Image{}, err
	}
	for _, is := range []func(core.Image) bool{
		func(i core.Image) bool { return i.Name == name || i.Name == refPrefix+name },
		func(i core.Image) bool { return i.Labels[labelApp] == name },
		func(i core.Image) bool { return i.Labels[labelPulled] == name },
		func(i core.Image) bool {
			hash := strings.TrimPrefix(name, "sha256:")
			return len(hash) >= 6 && strings.HasPrefix(i.Target.Digest.Encoded(), hash)
		},
	} {
		if n := slices.IndexFunc(all, is); n >= 0 {
			return all[n], nil
		}
	}
	return core.Image{}, fmt.Errorf("find image %.200q: %w: name an app, an image or the beginning of a digest that 'image ls' shows", name, ErrNoImage)
}

// Inspect describes one image, named as lookup takes it.
func (s *Store) Inspect(ctx context.Context, name string) (Detail, error) {
	i, err := s.lookup(ctx, name)
	if err != nil {
		return Detail{}, err
	}
	all, err := s.Catalog(ctx)
	if err != nil {
		return Detail{}, err
	}
	n := slices.IndexFunc(all, func(l Listed) bool { return l.Ref == i.Name })
	if n < 0 {
		return Detail{}, fmt.Errorf("find image %s: %w: it was removed meanwhile", name, ErrNoImage)
	}
	out := Detail{Listed: all[n]}
	if parts := s.depot.parts(ctx, i); len(parts) > 2 {
		for _, l := range parts[2:] {
			out.Layers = append(out.Layers, Layer{l.Digest.String(), l.Size})
		}
	}
	if config, err := s.depot.config(ctx, i); err == nil && out.Kind != KindBuilder {
		if out.Release, err = bootOf(config); err != nil {
			return Detail{}, err
		}
	}
	bill, _, ok, err := s.depot.bill(ctx, i)
	if err != nil || !ok {
		return out, err
	}
	out.SBOM = bill
	out.Resolved, err = resolvedIn(bill)
	return out, err
}
