package images

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	core "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"beamsandbox/reconcile/app"
)

// Pull brings a registry's image, by tag or digest, into the store, so that a
// deployment of it needs no network.
func (s *Store) Pull(ctx context.Context, from string) (Listed, error) {
	if _, is := archivePath(from); is {
		return Listed{}, fmt.Errorf("pull %s: it is a file: import it", from)
	}
	revision, err := s.resolveImage(ctx, from)
	if err != nil {
		return Listed{}, err
	}
	return s.keep(ctx, from, func(ctx context.Context) (ocispec.Descriptor, error) {
		name, _, _ := strings.Cut(from, "@")
		return s.oci.pull(ctx, s.depot, name, revision)
	})
}

// Import reads an archive (OCI layout, or docker save) into the store; its
// name there is its digest.
func (s *Store) Import(ctx context.Context, r io.Reader) (Listed, error) {
	return s.keep(ctx, "", func(ctx context.Context) (ocispec.Descriptor, error) { return s.depot.load(ctx, r) })
}

// keep names what get brings into the store, until it is pruned.
func (s *Store) keep(ctx context.Context, from string, get func(context.Context) (ocispec.Descriptor, error)) (Listed, error) {
	ctx, done, err := s.depot.client.WithLease(s.depot.in(ctx))
	if err != nil {
		return Listed{}, fmt.Errorf("lease content: %w", err)
	}
	defer func() { _ = done(context.WithoutCancel(ctx)) }() // it expires by itself
	target, err := get(ctx)
	if err != nil {
		return Listed{}, err
	}
	if target, err = s.depot.platform(ctx, target, 0); err != nil {
		return Listed{}, err
	}
	if from == "" {
		from = target.Digest.String()
	}
	i := core.Image{Name: refPrefix + "pulled:" + target.Digest.Encoded()[:12], Labels: map[string]string{labelPulled: short(from), labelSource: short("image " + from)}}
	if err := s.depot.adopt(ctx, target, i, boots); err != nil {
		return Listed{}, err
	}
	s.bound(ctx, i.Name)
	d, err := s.Inspect(ctx, i.Name)
	return d.Listed, err
}

// here finds an image that is in the store already, by its digest.
func (s *Store) here(ctx context.Context, revision string) (ocispec.Descriptor, bool) {
	all, err := s.depot.list(ctx)
	if err != nil {
		return ocispec.Descriptor{}, false
	}
	for _, i := range all {
		if i.Target.Digest == digest.Digest(revision) && s.depot.complete(ctx, i) {
			return i.Target, true
		}
	}
	return ocispec.Descriptor{}, false
}

// Push sends an image, named as lookup takes it, and its bill of materials to
// a registry's reference.
func (s *Store) Push(ctx context.Context, name, to string) error {
	i, err := s.lookup(ctx, name)
	if err != nil {
		return err
	}
	if strings.Contains(to, "@") {
		return fmt.Errorf("push to %s: name a tag, the digest is the image's own", to)
	}
	if err := s.oci.push(ctx, s.depot, to, i.Target); err != nil {
		return err
	}
	_, bill, ok, err := s.depot.bill(ctx, i)
	if err != nil || !ok {
		return err
	}
	repository := to
	if colon := strings.LastIndexByte(to, ':'); colon > strings.LastIndexByte(to, '/') {
		repository = to[:colon]
	}
	return s.oci.push(ctx, s.depot, repository+"@"+bill.Digest.String(), bill)
}

// Export writes an image, named as lookup takes it, as an OCI archive that
// docker load reads too.
func (s *Store) Export(ctx context.Context, name string, w io.Writer) error {
	i, err := s.lookup(ctx, name)
	if err != nil {
		return err
	}
	err = s.depot.client.Export(s.depot.in(ctx), w, archive.WithImage(s.depot.client.ImageService(), i.Name))
	if err != nil {
		return fmt.Errorf("export image %s: %w", i.Name, err)
	}
	return nil
}

// BuildArchive builds the source in a tar archive, gzipped or plain, as the
// image of app name, beside what the app's own source gives. The log of the
// build goes to log while it is written, as BuildLog has it; nothing when
// nothing is built.
func (s *Store) BuildArchive(ctx context.Context, name app.Name, version string, source io.Reader, log io.Writer) (Listed, error) {
	if !plain.MatchString(string(name)) {
		return Listed{}, fmt.Errorf("build an image: %.80q is not the name of an app", name)
	}
	dir := s.path("uploads", string(name))
	defer s.lock("upload:" + name)()
	if err := os.RemoveAll(dir); err != nil {
		return Listed{}, fmt.Errorf("make room for the source of %s: %w", name, err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the next build of the name clears it
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Listed{}, fmt.Errorf("make a folder for the source of %s: %w", name, err)
	}
	if err := untar(source, dir); err != nil {
		return Listed{}, fmt.Errorf("unpack the source of %s: %w", name, err)
	}
	var copied sync.WaitGroup
	i, err := s.ensureSeen(ctx, Recipe{Name: name, Version: version, Source: app.Source{Type: app.SourcePath, URL: dir}}, func(l *buildLog) {
		copied.Go(func() { l.copyTo(ctx, log) }) //nolint:errcheck // who watches does not decide over the build
	})
	copied.Wait()
	if err != nil {
		return Listed{}, err
	}
	d, err := s.Inspect(ctx, i.Ref)
	return d.Listed, err
}
