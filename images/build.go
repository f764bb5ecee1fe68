package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	core "github.com/containerd/containerd/v2/core/images"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"beamsandbox/reconcile/app"
)

// A build is one recipe at one revision of its source.
type build struct {
	recipe   Recipe
	revision string
	digest   string // of everything the build reads
	// digests are by builder: which one a source needs shows when it is there.
	// A revision of a source needs one of them, so that one is ever used.
	digests map[string]string
	reused  bool // nothing was fetched or built
	log     *buildLog
}

// buildFormat changes when the same inputs give another image than before.
const buildFormat = "5"

// plan resolves the source and digests what the build will read.
func (s *Store) plan(ctx context.Context, r Recipe, f fetch) (build, error) {
	revision, err := f.resolve(ctx, r)
	if err != nil {
		return build{}, err
	}
	b := build{recipe: r, revision: revision, digests: map[string]string{}}
	for _, kind := range s.builderKinds() {
		builder, err := s.planBuilder(kind)
		if err != nil {
			return build{}, err
		}
		inputs, err := json.Marshal([]any{buildFormat, r.digest(), revision, kind, builder.key, s.otp.release, s.otp.erts})
		if err != nil {
			return build{}, fmt.Errorf("digest the inputs: %w", err)
		}
		sum := sha256.Sum256(inputs)
		b.digests[kind] = hex.EncodeToString(sum[:])
	}
	b.digest = b.digests[erlangBuilder]
	return b, nil
}

// variants are the build with each builder that it may turn out to need.
func (b build) variants() []build {
	out := []build{b}
	for kind, digest := range b.digests {
		if kind != erlangBuilder && !b.recipe.prebuilt() {
			out = append(out, b)
			out[len(out)-1].digest = digest
		}
	}
	return out
}

// cached finds what an earlier build of the same inputs left.
func (s *Store) cached(ctx context.Context, b build) (Image, bool, error) {
	for _, v := range b.variants() {
		if i, ok, err := s.cachedAs(ctx, v); ok || err != nil {
			return i, ok, err
		}
	}
	return Image{}, false, nil
}

func (s *Store) cachedAs(ctx context.Context, b build) (Image, bool, error) {
	if b.recipe.Code {
		r, err := readRecord(s.releaseDir(b))
		if err != nil || r.Build != b.digest {
			return Image{}, false, nil
		}
		b.reused = true
		i, err := s.code(b)
		return i, err == nil, err
	}
	labels := map[string]string{labelApp: string(b.recipe.Name), labelBuild: b.digest}
	i, ok, err := s.depot.find(ctx, labels)
	if err != nil || !ok || !s.depot.complete(ctx, i) {
		return Image{}, false, err
	}
	// The image in use must be the last that prune would remove.
	if err := s.use(ctx, i); err != nil {
		return Image{}, false, err
	}
	if _, err := s.hold(ctx, b.recipe.Name); err != nil {
		return Image{}, false, err
	}
	img, err := s.describe(ctx, i)
	img.Cached = true
	return img, err == nil, err
}

// releaseDir is where the build's release is kept.
func (s *Store) releaseDir(b build) string {
	return s.path("releases", string(b.recipe.Name), b.digest[:16])
}

// make builds the release, unless it is there, and what the recipe asks for of
// it. Seen is called with the log of a build as it begins; nil: nobody watches.
func (s *Store) make(ctx context.Context, f fetch, b build, seen func(*buildLog)) (i Image, err error) {
	for _, v := range b.variants() {
		if r, err := readRecord(s.releaseDir(v)); err == nil && r.Build == v.digest {
			v.reused = true
			if err := r.write(); err != nil {
				return Image{}, err
			}
			return s.finish(ctx, v)
		}
	}
	name := b.recipe.Name
	if b.log, err = openLog(s.path("logs", string(name), "build.log")); err != nil {
		return Image{}, err
	}
	s.live.begin(name, b.log)
	defer func() {
		s.live.end(name)
		b.log.end(err) //nolint:errcheck // a log cut short fails no build
	}()
	if seen != nil {
		seen(b.log)
	}
	if err := s.release(ctx, f, &b); err != nil {
		return Image{}, err
	}
	b.log.enter(stepPack)
	return s.finish(ctx, b)
}

// release builds the release and leaves it in its folder.
func (s *Store) release(ctx context.Context, f fetch, b *build) error {
	work, err := s.workDir(string(b.recipe.Name))
	if err != nil {
		return err
	}
	defer work.remove() //nolint:errcheck // New clears what is left
	rel, resolved, err := s.compile(ctx, f, b, work)
	if err != nil {
		return err
	}
	dir := s.releaseDir(*b)
	r := record{
		Name: b.recipe.Name, Build: b.digest, Recipe: b.recipe.digest(), Revision: b.revision, Release: rel, Built: time.Now().UTC(),
		Resolved: resolved, dir: filepath.Dir(work.release()),
	}
	if err := r.write(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("keep the release of %s: %w", b.recipe.Name, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("keep the release of %s: %w", b.recipe.Name, err)
	}
	if err := os.Rename(r.dir, dir); err != nil {
		return fmt.Errorf("keep the release of %s: %w", b.recipe.Name, err)
	}
	return nil
}

// image makes the guest's image of a built release.
func (s *Store) image(ctx context.Context, b build) (Image, error) {
	r, err := readRecord(s.releaseDir(b))
	if err != nil {
		return Image{}, fmt.Errorf("read the release of %s: %w", b.recipe.Name, err)
	}
	layers, err := trees(r.release(), r.Release, s.otp)
	if err != nil {
		return Image{}, fmt.Errorf("make the image of %s: %w", b.recipe.Name, err)
	}
	release, err := json.Marshal(r.Release)
	if err != nil {
		return Image{}, fmt.Errorf("make the image of %s: %w", b.recipe.Name, err)
	}
	name := string(b.recipe.Name)
	config := v1.Config{User: "1000:1000", WorkingDir: "/" + appRoot, Labels: b.told(r)}
	config.Labels[labelRelease] = string(release)
	ref := refPrefix + name + ":" + b.digest[:12]
	labels := b.labels()
	if notes := notesOf(r.Resolved); notes != nil {
		labels[labelNotes] = lines(notes)
	}
	if _, err := s.depot.write(ctx, ref, unpacked{layers, config, types.OCILayer}, labels); err != nil {
		return Image{}, fmt.Errorf("store the image of %s: %w", name, err)
	}
	i, ok, err := s.depot.find(ctx, labels)
	if err != nil || !ok {
		return Image{}, fmt.Errorf("find the image of %s again: %w", name, err)
	}
	bill, err := billOf(b, r, i.Target.Digest.String(), s.otp.provides)
	if err != nil {
		return Image{}, fmt.Errorf("list what the image of %s holds: %w", name, err)
	}
	if i, err = s.depot.attach(ctx, i, bill); err != nil {
		return Image{}, err
	}
	img, err := s.describe(ctx, i)
	img.Cached = b.reused
	return img, err
}

// told are the labels of a built image that say what it is made from. They go
// where the image goes, and runtimes copy them into containerd's own labels:
// each keeps within its bound.
func (b build) told(r record) map[string]string {
	name := string(b.recipe.Name)
	out := map[string]string{
		labelApp: name, labelRevision: b.revision, ocispec.AnnotationTitle: name, ocispec.AnnotationVersion: r.Release.Version,
		ocispec.AnnotationRevision: b.revision, ocispec.AnnotationSource: short(location(b.recipe)),
	}
	if sum := b.checksum(); sum != "" {
		out[labelChecksum] = "sha256:" + sum
	}
	var took []string
	for _, d := range r.Resolved {
		took = append(took, d.line())
	}
	if took != nil {
		out[labelTook] = lines(took)
	}
	return out
}

// checksum is the SHA-256 of the tarball that the source is, "" when it is
// none.
func (b build) checksum() string {
	if b.recipe.Source.Type == app.SourceHex {
		return b.revision
	}
	return b.recipe.Source.SHA256
}

// maxLabel keeps a label, key included, within containerd's bound of 4096
// bytes.
const maxLabel = 3840

// short keeps a label within that bound.
func short(s string) string { return s[:min(len(s), 2048)] }

// lines joins what fits into a label, and says how many do not.
func lines(all []string) string {
	const rest = len("and 1000000 more\n")
	size := 0
	for n, line := range all {
		if size += len(line) + 1; size > maxLabel-rest {
			return strings.Join(append(all[:n:n], fmt.Sprintf("and %d more", len(all)-n)), "\n")
		}
	}
	return strings.Join(all, "\n")
}

// describe reads an image back from containerd.
func (s *Store) describe(ctx context.Context, i core.Image) (Image, error) {
	config, err := s.depot.config(ctx, i)
	if err != nil {
		return Image{}, err
	}
	out := Image{
		Name: app.Name(i.Labels[labelApp]), Ref: i.Name, Digest: i.Target.Digest.String(), Revision: i.Labels[labelRevision],
		Cached: true, Built: i.CreatedAt,
	}
	if notes := i.Labels[labelNotes]; notes != "" {
		out.Notes = strings.Split(notes, "\n")
	}
	if out.Release, err = bootOf(config); err != nil {
		return Image{}, fmt.Errorf("read image %s: %w", i.Name, err)
	}
	return out, nil
}
