package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
)

// pathSource takes a folder of this machine (sandboxctl run DIR).
type pathSource struct{}

// skipped folders are what builds and editors leave behind.
var skipped = map[string]bool{".git": true, "_build": true, ".rebar3": true, ".hg": true, ".svn": true, "node_modules": true}

// resolve digests names, permissions and content of the folder.
func (pathSource) resolve(ctx context.Context, r Recipe) (string, error) {
	root, err := openSource(r.Source.URL)
	if err != nil {
		return "", err
	}
	defer root.Close() //nolint:errcheck // opened to read
	h := sha256.New()
	for e, err := range folder(ctx, root) {
		if err != nil {
			return "", err
		}
		if err := digestEntry(h, e); err != nil {
			return "", fmt.Errorf("digest %q: %w", e.path, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func digestEntry(h io.Writer, e entry) error {
	fmt.Fprintf(h, "%q %s %s %d\n", e.path, e.mode.Type(), normal(e.mode), e.size)
	r, err := e.open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(h, r)
	return err
}

// extract copies the folder, and fails when it changed since it was resolved.
func (p pathSource) extract(ctx context.Context, r Recipe, revision, dir string) error {
	root, err := openSource(r.Source.URL)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // opened to read
	if err := extract(dir, folder(ctx, root)); err != nil {
		return err
	}
	copied := r
	copied.Source.URL = dir
	got, err := p.resolve(ctx, copied)
	if err != nil {
		return err
	}
	if got != revision {
		return fmt.Errorf("copy %s: its files changed meanwhile; try again", r.Source.URL)
	}
	return nil
}

func openSource(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open source folder: %w", err)
	}
	return root, nil
}

// folder yields the files and links of a folder in a fixed order.
func folder(ctx context.Context, root *os.Root) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		err := fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case ctx.Err() != nil:
				return ctx.Err()
			case d.IsDir() && skipped[d.Name()]:
				return fs.SkipDir
			case d.IsDir():
				return nil
			}
			e, err := folderEntry(root, p, d)
			if !yield(e, err) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(entry{}, fmt.Errorf("read source folder %s: %w", root.Name(), err))
		}
	}
}

func folderEntry(root *os.Root, p string, d fs.DirEntry) (entry, error) {
	info, err := d.Info()
	if err != nil {
		return entry{}, fmt.Errorf("read %s: %w", path.Join(root.Name(), p), err)
	}
	e := entry{path: p, mode: info.Mode(), size: info.Size()}
	switch info.Mode().Type() {
	case 0:
		e.open = func() (io.ReadCloser, error) { return root.Open(p) }
	case fs.ModeSymlink:
		target, err := root.Readlink(p)
		if err != nil {
			return entry{}, fmt.Errorf("read %s: %w", path.Join(root.Name(), p), err)
		}
		e.size = int64(len(target))
		e.open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(target)), nil }
	default:
		return entry{}, fmt.Errorf("read %s: it is neither a file, a folder nor a link", path.Join(root.Name(), p))
	}
	return e, nil
}
