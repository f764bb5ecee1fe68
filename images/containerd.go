package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	core "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Labels on images in containerd's store.
const (
	labelApp      = "beamsandbox.app"      // name of the app; absent on builders
	labelBuild    = "beamsandbox.build"    // digest of everything the build read
	labelRevision = "beamsandbox.revision" // what the source resolved to
	labelRecipe   = "beamsandbox.recipe"   // digest of the recipe, whatever its source held
	labelSource   = "beamsandbox.source"   // "git https://…"
	labelBuilder  = "beamsandbox.builder"  // key of the machine's files in a builder
	labelOffers   = "beamsandbox.offers"   // what a configured builder has: "rebar3 mix gcc"
	labelPulled   = "beamsandbox.pulled"   // where it was pulled from, by hand
	labelNotes    = "beamsandbox.notes"    // what the app's owner should know, by lines
	labelSBOM     = "beamsandbox.sbom"     // digest of the manifest with its bill of materials
	labelChecksum = "beamsandbox.checksum" // in the OCI configuration: SHA-256 of the source's tarball, if it is one
	labelTook     = "beamsandbox.took"     // in the OCI configuration: what the build took from outside, by lines
	labelRelease  = "beamsandbox.release"  // in the OCI configuration: Release as JSON

	labelDiffID = "containerd.io/uncompressed"
	labelRef    = "containerd.io/gc.ref.content."
)

// Namespace is the containerd namespace that everything of ours lives in.
const Namespace = "beamsandbox"

// refPrefix starts the name of every image of ours.
const refPrefix = "beamsandbox.local/"

// A depot is containerd's content and image store.
type depot struct{ client *containerd.Client }

func (d depot) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, Namespace)
}

// find returns the first image that has every one of labels.
func (d depot) find(ctx context.Context, labels map[string]string) (core.Image, bool, error) {
	all, err := d.list(ctx)
	if err != nil {
		return core.Image{}, false, err
	}
	for _, i := range all {
		if hasLabels(i.Labels, labels) {
			return i, true, nil
		}
	}
	return core.Image{}, false, nil
}

func hasLabels(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

// list returns our images, the newest first.
func (d depot) list(ctx context.Context) ([]core.Image, error) {
	all, err := d.client.ImageService().List(d.in(ctx), "name~=^"+refPrefix)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	slices.SortFunc(all, func(a, b core.Image) int { return b.UpdatedAt.Compare(a.UpdatedAt) })
	return all, nil
}

// put writes an image under ref. A lease keeps its parts from the garbage
// collector until the image record refers to them.
func (d depot) put(ctx context.Context, ref string, b bundle, labels map[string]string) error {
	ctx, done, err := d.client.WithLease(d.in(ctx))
	if err != nil {
		return fmt.Errorf("lease content for image %s: %w", ref, err)
	}
	defer func() { _ = done(context.WithoutCancel(ctx)) }() // it expires by itself
	for _, l := range b.layers {
		if l.blob == nil {
			continue
		}
		keep := map[string]string{labelDiffID: l.diffID.String()}
		if err := d.blob(ctx, string(l.media), l.blob, keep); err != nil {
			return err
		}
	}
	if err := d.blob(ctx, ocispec.MediaTypeImageConfig, b.config, nil); err != nil {
		return err
	}
	if err := d.blob(ctx, ocispec.MediaTypeImageManifest, b.manifest, b.references()); err != nil {
		return err
	}
	if err := d.held(ctx, b.layers); err != nil {
		return err
	}
	return d.name(ctx, core.Image{Name: ref, Labels: labels, Target: describe(ocispec.MediaTypeImageManifest, b.manifest)})
}

// errGone says that a layer left the content store before the manifest that
// keeps it was written.
var errGone = errors.New("layer is gone from the content store")

func (d depot) held(ctx context.Context, layers []layer) error {
	for _, l := range layers {
		if _, err := d.client.ContentStore().Info(ctx, digest.Digest(l.digest.String())); err != nil {
			return fmt.Errorf("look for layer %s: %w: %w", l.digest, errGone, err)
		}
	}
	return nil
}

// An unpacked is an image before its layers are archives.
type unpacked struct {
	trees  []tree
	config v1.Config
	media  types.MediaType // of every layer
}

// write packs trees into layers, assembles them and stores the image.
func (d depot) write(ctx context.Context, ref string, image unpacked, labels map[string]string) (bundle, error) {
	b, err := d.tryWrite(ctx, ref, image, labels, d.stored)
	if errors.Is(err, errGone) {
		none := func(context.Context, v1.Hash) (layer, bool) { return layer{}, false }
		b, err = d.tryWrite(ctx, ref, image, labels, none)
	}
	return b, err
}

func (d depot) tryWrite(ctx context.Context, ref string, image unpacked, labels map[string]string, have stored) (bundle, error) {
	var layers []layer
	for _, t := range image.trees {
		l, err := pack(ctx, t, image.media, have)
		if err != nil {
			return bundle{}, fmt.Errorf("pack image %s: %w", ref, err)
		}
		layers = append(layers, l)
	}
	b, err := assemble(layers, image.config)
	if err != nil {
		return bundle{}, err
	}
	return b, d.put(ctx, ref, b, labels)
}

// references are the labels by which the garbage collector finds, from the
// manifest, what it refers to.
func (b bundle) references() map[string]string {
	refs := map[string]string{labelRef + "config": digest.FromBytes(b.config).String()}
	for i, l := range b.layers {
		refs[fmt.Sprintf("%sl.%d", labelRef, i)] = l.digest.String()
	}
	return refs
}

// name points an image name at its target, new or not.
func (d depot) name(ctx context.Context, i core.Image) error {
	i.UpdatedAt = time.Now()
	_, err := d.client.ImageService().Create(ctx, i)
	if errdefs.IsAlreadyExists(err) {
		_, err = d.client.ImageService().Update(ctx, i)
	}
	if err != nil {
		return fmt.Errorf("name image %s: %w", i.Name, err)
	}
	return nil
}

func (d depot) blob(ctx context.Context, mediaType string, data []byte, labels map[string]string) error {
	desc := describe(mediaType, data)
	var opts []content.Opt
	if labels != nil {
		opts = append(opts, content.WithLabels(labels))
	}
	ref := "beamsandbox-" + desc.Digest.String()
	if err := content.WriteBlob(ctx, d.client.ContentStore(), ref, bytes.NewReader(data), desc, opts...); err != nil {
		return fmt.Errorf("write %s to the content store: %w", desc.Digest, err)
	}
	return nil
}

func describe(mediaType string, data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// stored finds a compressed layer by the digest of its plain archive.
func (d depot) stored(ctx context.Context, diffID v1.Hash) (layer, bool) {
	var out layer
	errFound := errors.New("found")
	err := d.client.ContentStore().Walk(d.in(ctx), func(i content.Info) error {
		digest, err := v1.NewHash(i.Digest.String())
		if err != nil {
			return err
		}
		out = layer{diffID: diffID, digest: digest, size: i.Size, media: types.OCILayer}
		return errFound
	}, fmt.Sprintf("labels.%q==%s,digest!=%s", labelDiffID, diffID, diffID))
	return out, errors.Is(err, errFound)
}

// config reads the OCI configuration of an image.
func (d depot) config(ctx context.Context, i core.Image) (v1.ConfigFile, error) {
	ctx = d.in(ctx)
	var manifest v1.Manifest
	if err := d.decode(ctx, i.Target, &manifest); err != nil {
		return v1.ConfigFile{}, fmt.Errorf("read image %s: %w", i.Name, err)
	}
	desc := ocispec.Descriptor{Digest: digest.Digest(manifest.Config.Digest.String()), Size: manifest.Config.Size}
	var config v1.ConfigFile
	if err := d.decode(ctx, desc, &config); err != nil {
		return v1.ConfigFile{}, fmt.Errorf("read the configuration of image %s: %w", i.Name, err)
	}
	return config, nil
}

func (d depot) decode(ctx context.Context, desc ocispec.Descriptor, into any) error {
	data, err := content.ReadBlob(ctx, d.client.ContentStore(), desc)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// complete reports whether every part of an image is in the content store.
func (d depot) complete(ctx context.Context, i core.Image) bool {
	ok, _, _, missing, err := core.Check(d.in(ctx), d.client.ContentStore(), i.Target, nil)
	return err == nil && ok && len(missing) == 0
}

// remove deletes images by name; with wait, their content is gone afterwards.
func (d depot) remove(ctx context.Context, wait bool, names ...string) error {
	var errs []error
	for n, name := range names {
		var opts []core.DeleteOpt
		if wait && n == len(names)-1 {
			opts = append(opts, core.SynchronousDelete())
		}
		if err := d.client.ImageService().Delete(d.in(ctx), name, opts...); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove image %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
