package images

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A layer is one archive of an image. The same tree gives the same bytes.
type layer struct {
	diffID v1.Hash // of the plain archive
	digest v1.Hash // of the blob
	size   int64   // of the blob, bytes
	media  types.MediaType
	blob   []byte // as stored; nil when the content store has it already
}

// A stored finds the compressed form of an archive that is in the content
// store already; ok is false when it is not.
type stored func(ctx context.Context, diffID v1.Hash) (layer, bool)

// pack archives a tree as a layer of the media type, compressed or not; what
// the store has is not compressed again.
func pack(ctx context.Context, t tree, media types.MediaType, have stored) (layer, error) {
	plain, err := t.tar()
	if err != nil {
		return layer{}, err
	}
	diffID, _, err := v1.SHA256(bytes.NewReader(plain))
	if err != nil {
		return layer{}, fmt.Errorf("digest a layer: %w", err)
	}
	l := layer{diffID: diffID, digest: diffID, size: int64(len(plain)), media: media, blob: plain}
	if media == types.OCIUncompressedLayer {
		return l, nil
	}
	if l, ok := have(ctx, diffID); ok {
		return l, nil
	}
	if l.blob, err = compress(plain); err != nil {
		return layer{}, err
	}
	if l.digest, l.size, err = v1.SHA256(bytes.NewReader(l.blob)); err != nil {
		return layer{}, fmt.Errorf("digest a layer: %w", err)
	}
	return l, nil
}

// compress leaves gzip's header without name and time.
func compress(plain []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("compress a layer: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress a layer: %w", err)
	}
	return out.Bytes(), nil
}

// A bundle is a whole image, ready to be written.
type bundle struct {
	layers   []layer
	config   []byte
	manifest []byte
	digest   v1.Hash // of the manifest
}

// assemble makes the OCI configuration and manifest over layers. No time and
// no name of a machine enters them.
func assemble(layers []layer, config v1.Config) (bundle, error) {
	file := v1.ConfigFile{Architecture: runtime.GOARCH, OS: "linux", Config: config, RootFS: v1.RootFS{Type: "layers"}}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	for _, l := range layers {
		file.RootFS.DiffIDs = append(file.RootFS.DiffIDs, l.diffID)
		manifest.Layers = append(manifest.Layers, v1.Descriptor{MediaType: l.media, Size: l.size, Digest: l.digest})
	}
	b := bundle{layers: layers}
	var err error
	if b.config, err = json.Marshal(file); err != nil {
		return bundle{}, fmt.Errorf("encode the image configuration: %w", err)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(b.config))
	if err != nil {
		return bundle{}, fmt.Errorf("digest the image configuration: %w", err)
	}
	manifest.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Size: size, Digest: digest}
	if b.manifest, err = json.Marshal(manifest); err != nil {
		return bundle{}, fmt.Errorf("encode the image manifest: %w", err)
	}
	b.digest, _, err = v1.SHA256(bytes.NewReader(b.manifest))
	return b, err
}
