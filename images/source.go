package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"beamsandbox/reconcile/app"
)

// A fetch is one way to get an app's source.
type fetch interface {
	// resolve says what the source is right now, as briefly as the remote
	// allows: a commit, a checksum.
	resolve(ctx context.Context, r Recipe) (revision string, err error)
	// extract writes that revision below the empty folder dir.
	extract(ctx context.Context, r Recipe, revision, dir string) error
}

// fetches holds the source types that can be built; a new type is one more
// line here.
func (s *Store) fetches() map[app.SourceType]fetch {
	return map[app.SourceType]fetch{
		app.SourceGit:     gitSource{s.gits},
		app.SourcePath:    pathSource{},
		app.SourceHex:     hexSource{s.hexes, s.log},
		app.SourceRelease: releaseSource{},
		app.SourceMesh:    meshSource{s.mesh},
	}
}

func (s *Store) fetchFor(r Recipe) (fetch, error) {
	f, ok := s.fetches()[r.Source.Type]
	if !ok {
		return nil, fmt.Errorf("fetch %s: source type %s is not supported by this version: use git", r.Name, r.Source.Type)
	}
	return f, nil
}

// prebuilt reports whether the source holds a release that needs no build.
func (r Recipe) prebuilt() bool {
	return r.Source.Type == app.SourceRelease || r.Source.Type == app.SourceMesh
}

// address is the source as a person writes it, for a label.
func address(r Recipe) string {
	if r.Source.Type == app.SourceHex {
		return fmt.Sprintf("hex %s %s", hexPackage(r), hexVersion(r))
	}
	return fmt.Sprintf("%s %s %s", r.Source.Type, stripUser(r.Source.URL), r.Source.Ref)
}

// digest tells recipes apart by name, version and source. Where they run does
// not matter: the build is the same.
func (r Recipe) digest() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{
		string(r.Name), r.Version, string(r.Source.Type), r.Source.URL, r.Source.Ref, r.Source.SHA256, r.Source.MCID, r.Source.Name,
	}))
	return hex.EncodeToString(sum[:])
}
