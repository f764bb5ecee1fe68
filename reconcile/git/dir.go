package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

// Dir hands out a plain folder as if it were a commit whose hash is the
// digest of its files. Folders that builds write (.git, _build) are left
// out. Zero limits mean the defaults of Config.
type Dir struct {
	Path     string
	MaxFile  int64
	MaxTotal int64
	MaxFiles int
}

// Fetch reads the folder as it is now.
func (d Dir) Fetch(ctx context.Context) (Commit, error) {
	info, err := os.Stat(d.Path)
	if err != nil {
		return Commit{}, fmt.Errorf("read folder: %w", err)
	}
	if !info.IsDir() {
		return Commit{}, fmt.Errorf("read folder %s: it is a file", d.Path)
	}
	tree := dirFS{os.DirFS(d.Path)}
	hash, when, err := d.digest(ctx, tree)
	if err != nil {
		return Commit{}, fmt.Errorf("read folder %s: %w", d.Path, err)
	}
	return Commit{Hash: hash, When: when, Tree: tree}, nil
}

// digest is SHA-256 over path, size and bytes of every file, in the order of
// the names; when is the newest change.
func (d Dir) digest(ctx context.Context, tree fs.FS) (string, time.Time, error) {
	b := &budget{cfg: Config{MaxFile: d.MaxFile, MaxTotal: d.MaxTotal, MaxFiles: d.MaxFiles}.withDefaults()}
	sum := sha256.New()
	var newest time.Time
	err := fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (e.Name() == ".git" || e.Name() == "_build") {
			return fs.SkipDir
		}
		if !e.Type().IsRegular() {
			return ctx.Err()
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		if err := b.spend(name, info.Size()); err != nil {
			return err
		}
		return addFile(sum, tree, name, info.Size())
	})
	return hex.EncodeToString(sum.Sum(nil)), newest, err
}

func addFile(sum io.Writer, tree fs.FS, name string, size int64) error {
	f, err := tree.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintf(sum, "%q %d\n", name, size)
	_, err = io.Copy(sum, io.LimitReader(f, size))
	return err
}

// dirFS is a folder that does not follow links.
type dirFS struct{ inner fs.FS }

// Open opens name unless it, or a folder on the way to it, is a link.
func (d dirFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	for p := name; p != "."; p = path.Dir(p) {
		info, err := fs.Lstat(d.inner, p)
		if err != nil {
			return nil, err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return nil, &fs.PathError{Op: "open", Path: p, Err: ErrLink}
		}
	}
	return d.inner.Open(name)
}
