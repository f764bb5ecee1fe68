// Package hex reads Hex package repositories (hex.pm and private ones) without
// trusting what lies between us and their key: signed registry resources,
// tarballs held against the checksums in them, metadata, and versions with
// requirements as Elixir understands them. It never runs anything it reads.
//
// Sources: hexpm/specifications (registry-v2.md, package_tarball.md,
// endpoints.md), limits as in hex_core's default configuration, requirement
// semantics as in Elixir's Version.
package hex

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"beamsandbox/reconcile/app"
)

// Bounds on what is read, in bytes. The first three are hex_core's.
const (
	MaxTarball      = 16 << 20  // a package tarball as it travels
	MaxContents     = 128 << 20 // contents.tar.gz inflated
	MaxMetadata     = 1 << 20   // metadata.config
	MaxResource     = 8 << 20   // a registry resource as it travels
	MaxResourceText = 32 << 20  // a registry resource inflated
	MaxFiles        = 20_000    // files and folders in one package
)

// A Repository is one endpoint that serves signed packages. Its fields are set
// before use and not changed; it may then be used from many goroutines.
type Repository struct {
	// Name is what the registry's signed answers must call themselves:
	// "hexpm". For an organization of hex.pm it is the organization's name
	// and URL ends in /repos/NAME.
	Name string
	// URL is the address of the repository endpoint ("https://repo.hex.pm"),
	// http or https, without query.
	URL string
	// PublicKey verifies every registry resource; see ParsePublicKey.
	PublicKey *rsa.PublicKey
	// AuthToken is sent as the Authorization header to URL's host alone, and
	// over plain http to loopback alone. Empty: nothing is sent.
	AuthToken app.Secret
	// Client carries requests; nil means one with sensible timeouts.
	Client *http.Client
	// Cache is a folder for resources and tarballs, made when it is missing;
	// what is read from it is verified as if it came from the network.
	// Empty: nothing is kept.
	Cache string
}

// A Resource is a verified answer of the registry about one package.
type Resource struct {
	Package Package
	// Raw is the answer as it was signed and sent (gzip of Signed): it can
	// be served again to a client that verifies it with the same key.
	Raw  []byte
	ETag string // as the registry sent it, quoted; empty if it sent none
}

// Package is the registry's current word on one package: see Resource.
func (r *Repository) Package(ctx context.Context, name string) (Package, error) {
	res, err := r.Resource(ctx, name)
	return res.Package, err
}

// Resource asks the registry for /packages/NAME, saying which answer the cache
// holds, and verifies signature, repository and name. Errors: ErrUnreachable,
// ErrDenied, ErrNotFound, ErrSignature, ErrRepository, ErrPackage,
// ErrTooLarge, ErrMalformed.
func (r *Repository) Resource(ctx context.Context, name string) (Resource, error) {
	res, err := r.resource(ctx, name)
	if err != nil {
		return Resource{}, fmt.Errorf("read package %s of repository %s: %w", name, r.Name, err)
	}
	return res, nil
}

func (r *Repository) resource(ctx context.Context, name string) (Resource, error) {
	if err := r.check(name); err != nil {
		return Resource{}, err
	}
	old, cached := r.Cached(name)
	got, err := r.get(ctx, "packages/"+name, old.ETag, MaxResource)
	switch {
	case err != nil:
		return Resource{}, err
	case got.notModified && cached:
		return old, nil
	case got.notModified:
		return Resource{}, fmt.Errorf("%w: the registry says that nothing changed, but nothing is cached", ErrMalformed)
	}
	p, err := r.Verify(got.body, name)
	if err != nil {
		return Resource{}, err
	}
	res := Resource{Package: p, Raw: got.body, ETag: got.etag}
	return res, r.keepResource(name, res)
}

// Cached is the last answer about name that the cache holds, verified again,
// for callers that may go on while the registry is unreachable.
func (r *Repository) Cached(name string) (Resource, bool) {
	if r.Cache == "" || r.check(name) != nil {
		return Resource{}, false
	}
	raw, etag, ok := r.readResource(name)
	if !ok {
		return Resource{}, false
	}
	p, err := r.Verify(raw, name)
	if err != nil {
		return Resource{}, false
	}
	return Resource{Package: p, Raw: raw, ETag: etag}, true
}

// Tarball is the whole tarball of one release: its SHA-256 is outer (32 bytes,
// from the registry or a lock file), it opens, and its metadata names this
// package and version. It comes from the cache if it is there. Errors: as of
// Resource without signature, and ErrChecksum, ErrNoVersion.
func (r *Repository) Tarball(ctx context.Context, name, version string, outer []byte) ([]byte, error) {
	raw, err := r.tarball(ctx, name, version, outer)
	if err != nil {
		return nil, fmt.Errorf("read %s %s of repository %s: %w", name, version, r.Name, err)
	}
	return raw, nil
}

func (r *Repository) tarball(ctx context.Context, name, version string, outer []byte) ([]byte, error) {
	if err := r.check(name); err != nil {
		return nil, err
	}
	if _, err := ParseVersion(version); err != nil {
		return nil, err
	}
	if len(outer) != sha256.Size {
		return nil, fmt.Errorf("%w: a checksum of %d bytes is expected, not %d: without one a tarball is not fetched", ErrChecksum, sha256.Size, len(outer))
	}
	raw, cached := r.readTarball(outer)
	if !cached {
		got, err := r.get(ctx, "tarballs/"+name+"-"+version+".tar", "", MaxTarball)
		if errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("%w: there is no tarball of it", ErrNoVersion)
		}
		if err != nil {
			return nil, err
		}
		raw = got.body
	}
	a, err := Open(raw, outer)
	if err != nil {
		return nil, err
	}
	if a.Metadata.Name != name || a.Metadata.Version != version {
		return nil, fmt.Errorf("%w: the tarball says it is %q %q", ErrPackage, a.Metadata.Name, a.Metadata.Version)
	}
	if cached {
		return raw, nil
	}
	return raw, r.keepTarball(outer, raw)
}

// check refuses what must not become part of an address or a file's name.
func (r *Repository) check(name string) error {
	if r.PublicKey == nil {
		return fmt.Errorf("%w: repository %s has no public key: configure one", ErrSignature, r.Name)
	}
	return CheckName(name)
}

// CheckName accepts a package name: 1 to 128 ASCII letters, digits and
// underscores, the first one a letter. Others are ErrPackage.
func CheckName(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if name == "" || len(name) > 128 || !strings.Contains(letters, name[:1]) || !only(name, letters+"0123456789_") {
		return fmt.Errorf("%w: %.140q is not a package name: use letters, digits and underscores", ErrPackage, name)
	}
	return nil
}

// only reports whether s has no byte outside of allowed (ASCII).
func only(s, allowed string) bool {
	for i := range len(s) {
		if strings.IndexByte(allowed, s[i]) < 0 {
			return false
		}
	}
	return true
}
