package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	core "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxImage bounds the parts of one image that somebody else made, packed.
const maxImage = 4 << 30

// maxConfigBlob bounds the manifests and the configuration of such an image.
const maxConfigBlob = 4 << 20

// ErrImage says that an image cannot run here, whoever asks again.
var ErrImage = errors.New("image cannot be used")

// ensureImage makes a registry's image, or one in an archive, an app's. It is
// pulled by digest, and at most once.
func (s *Store) ensureImage(ctx context.Context, r Recipe) (Image, error) {
	if r.Code {
		return Image{}, fmt.Errorf("load %s into the host VM: %w: an image is a guest's; set isolation to vm", r.Name, ErrImage)
	}
	defer s.lock(r.Name)()
	revision, err := s.resolveImage(ctx, r.Source.URL)
	if err != nil {
		if i, ok := s.last(ctx, r); ok {
			s.log.Warn("registry does not answer, the last image is used", "app", r.Name, "revision", i.Revision, "err", err)
			return i, nil
		}
		return Image{}, fmt.Errorf("fetch %s: %w", r.Name, err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{"image", r.digest(), revision, goruntime.GOARCH}))
	b := build{recipe: r, revision: revision, digest: hex.EncodeToString(sum[:])}
	if i, ok, err := s.cached(ctx, b); ok || err != nil {
		return i, err
	}
	if err := s.obtain(ctx, b); err != nil {
		return Image{}, fmt.Errorf("fetch %s: %w", r.Name, err)
	}
	i, ok, err := s.cached(ctx, b)
	if err != nil || !ok {
		return Image{}, fmt.Errorf("find the image of %s again: %w", r.Name, errors.Join(err, errGone))
	}
	i.Cached = false
	return i, s.prune(ctx, r.Name)
}

// resolveImage says what an address names right now: the digest in it, that
// of a tag, or the checksum of an archive.
func (s *Store) resolveImage(ctx context.Context, address string) (string, error) {
	if path, ok := archivePath(address); ok {
		return fileDigest(path)
	}
	if _, digest, ok := strings.Cut(address, "@"); ok {
		return digest, nil
	}
	_, desc, err := s.oci.resolver().Resolve(ctx, address)
	if err != nil {
		return "", fmt.Errorf("ask the registry for %s: %w", address, err)
	}
	return desc.Digest.String(), nil
}

// archivePath is the file of a file:///… address.
func archivePath(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "file" {
		return "", false
	}
	return filepath.FromSlash(u.Path), true
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open the image archive: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the image archive: %w", err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// obtain brings an image into the content store and names it the app's.
func (s *Store) obtain(ctx context.Context, b build) error {
	ctx, done, err := s.depot.client.WithLease(s.depot.in(ctx))
	if err != nil {
		return fmt.Errorf("lease content: %w", err)
	}
	defer func() { _ = done(context.WithoutCancel(ctx)) }() // it expires by itself
	target, err := s.fetchImage(ctx, b.recipe.Source.URL, b.revision)
	if err != nil {
		return err
	}
	return s.depot.adopt(ctx, target, core.Image{Name: refPrefix + string(b.recipe.Name) + ":" + b.digest[:12], Labels: b.labels()}, boots)
}

// fetchImage brings what an address named at a revision into the content
// store. The caller holds a lease.
func (s *Store) fetchImage(ctx context.Context, address, revision string) (ocispec.Descriptor, error) {
	path, ok := archivePath(address)
	if target, here := s.here(ctx, revision); here {
		return target, nil
	}
	if !ok {
		name, _, _ := strings.Cut(address, "@")
		return s.oci.pull(ctx, s.depot, name, revision)
	}
	f, err := os.Open(path)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("open the image archive: %w", err)
	}
	defer f.Close()
	return s.depot.load(ctx, f)
}

// load reads an archive (OCI layout, or docker save) into the content store.
func (d depot) load(ctx context.Context, r io.Reader) (ocispec.Descriptor, error) {
	index, err := archive.ImportIndex(ctx, d.client.ContentStore(), io.LimitReader(r, maxImage))
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("read the image archive: %w", err)
	}
	return index, nil
}

// labels are those of a build's image in containerd's store.
func (b build) labels() map[string]string {
	return map[string]string{
		labelApp: string(b.recipe.Name), labelBuild: b.digest, labelRevision: b.revision, labelSource: short(address(b.recipe)),
		labelRecipe: b.recipe.digest(),
	}
}

// adopt names an image whose parts are in the content store, one platform of
// it when there are more, and ties its parts to it. What fit refuses stays
// without a name; nil refuses nothing.
func (d depot) adopt(ctx context.Context, target ocispec.Descriptor, i core.Image, fit func(v1.ConfigFile) error) error {
	desc, err := d.platform(ctx, target, 0)
	if err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := d.decode(ctx, desc, &m); err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	var config v1.ConfigFile
	if err := d.decode(ctx, m.Config, &config); err != nil {
		return fmt.Errorf("read the configuration of the image: %w", err)
	}
	if config.Architecture != goruntime.GOARCH || config.OS != "linux" {
		return fmt.Errorf("%w: it is for %s/%s, this machine is linux/%s", ErrImage, config.OS, config.Architecture, goruntime.GOARCH)
	}
	if fit != nil {
		if err := fit(config); err != nil {
			return err
		}
	}
	info := content.Info{Digest: desc.Digest, Labels: map[string]string{labelRef + "config": m.Config.Digest.String()}}
	for n, l := range m.Layers {
		info.Labels[fmt.Sprintf("%sl.%d", labelRef, n)] = l.Digest.String()
	}
	var fields []string
	for name := range maps.Keys(info.Labels) {
		fields = append(fields, "labels."+name)
	}
	if _, err := d.client.ContentStore().Update(ctx, info, fields...); err != nil {
		return fmt.Errorf("keep the parts of the image: %w", err)
	}
	i.Target = desc
	return d.name(ctx, i)
}

// platform finds the manifest for this machine below an index.
func (d depot) platform(ctx context.Context, desc ocispec.Descriptor, depth int) (ocispec.Descriptor, error) {
	if core.IsManifestType(desc.MediaType) {
		return desc, nil
	}
	if !core.IsIndexType(desc.MediaType) || depth > 2 {
		return desc, fmt.Errorf("%w: %s is not the type of an image", ErrImage, desc.MediaType)
	}
	var index ocispec.Index
	if err := d.decode(ctx, desc, &index); err != nil {
		return desc, fmt.Errorf("read the index of the image: %w", err)
	}
	here := platforms.Only(platforms.DefaultSpec())
	for _, m := range index.Manifests {
		if m.Platform == nil && core.IsManifestType(m.MediaType) && len(index.Manifests) == 1 || core.IsIndexType(m.MediaType) || m.Platform != nil && here.Match(*m.Platform) {
			return d.platform(ctx, m, depth+1)
		}
	}
	return desc, fmt.Errorf("%w: none of its %d parts is for linux/%s", ErrImage, len(index.Manifests), goruntime.GOARCH)
}

// place is what a folder inside an image may look like to become part of a
// command line.
var place = regexp.MustCompile(`^(/[A-Za-z0-9][A-Za-z0-9._-]*){1,16}$`)

// bootOf says how an image starts: as a release when it is one of ours, else
// by its own entrypoint. An image from elsewhere may claim anything.
func bootOf(config v1.ConfigFile) (Release, error) {
	label, ours := config.Config.Labels[labelRelease]
	if !ours {
		return entryOf(config.Config)
	}
	var r Release
	if err := json.Unmarshal([]byte(label), &r); err != nil {
		return Release{}, fmt.Errorf("read the release in the image's label %s: %w", labelRelease, err)
	}
	if !plain.MatchString(r.Name) || !plain.MatchString(r.Version) || !plain.MatchString(r.ERTS) || !place.MatchString(r.Root) || r.Entry != nil {
		return Release{}, fmt.Errorf("read the release in the image's label %s: %w: a name in it is not plain", labelRelease, ErrImage)
	}
	return r, nil
}

// boots refuses an image that cannot start.
func boots(config v1.ConfigFile) error {
	_, err := bootOf(config)
	return err
}

func entryOf(c v1.Config) (Release, error) {
	args := slices.Concat(c.Entrypoint, c.Cmd)
	if len(args) == 0 {
		return Release{}, fmt.Errorf("%w: it has neither an entrypoint nor a command", ErrImage)
	}
	dir := c.WorkingDir
	if dir == "" {
		dir = "/"
	}
	return Release{Entry: &Entry{Args: args, Env: c.Env, Dir: dir}}, nil
}
