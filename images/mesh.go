package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Mesh fetches a Macula content identifier from the mesh, through the host VM.
type Mesh func(ctx context.Context, mcid string) (io.ReadCloser, error)

// ErrMesh says that the host has no Macula.
var ErrMesh = errors.New("the host has no Macula")

// meshSource takes a release from the mesh. Its content identifier is a hash
// that the mesh itself checks; a release it must be.
type meshSource struct{ fetch Mesh }

// resolve asks nobody: the identifier is the revision.
func (meshSource) resolve(_ context.Context, r Recipe) (string, error) { return r.Source.MCID, nil }

// extract fetches the tarball beside dir and unpacks it.
func (s meshSource) extract(ctx context.Context, r Recipe, revision, dir string) error {
	if s.fetch == nil {
		return fmt.Errorf("fetch %s from the mesh: %w", revision, ErrMesh)
	}
	body, err := s.fetch(ctx, revision)
	if err != nil {
		return fmt.Errorf("fetch %s from the mesh: %w", revision, err)
	}
	defer body.Close()
	f, err := os.CreateTemp(filepath.Dir(dir), "download-")
	if err != nil {
		return fmt.Errorf("fetch %s from the mesh: %w", revision, err)
	}
	defer f.Close()
	defer os.Remove(f.Name()) //nolint:errcheck // the work folder goes anyway
	n, err := io.Copy(f, io.LimitReader(body, maxDownload+1))
	if err != nil {
		return fmt.Errorf("fetch %s from the mesh: %w", revision, err)
	}
	if n > maxDownload {
		return fmt.Errorf("fetch %s from the mesh: it is larger than %d MB", revision, maxDownload>>20)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("unpack %s: %w", revision, err)
	}
	if err := untar(f, dir); err != nil {
		return fmt.Errorf("unpack %s: %w", revision, err)
	}
	return nil
}
