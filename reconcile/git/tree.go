package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

var errLimit = errors.New("the repository is too large to be a list of apps")

// ErrLink is why a symbolic link is not opened.
var ErrLink = errors.New("is a symbolic link: replace it by the file it names")

// budget bounds what one commit may hold.
type budget struct {
	cfg   Config
	files int
	bytes int64
	depth int
}

const maxDepth = 64

func (b *budget) enter(dir string) error {
	if b.depth++; b.depth > maxDepth {
		return fmt.Errorf("%w: %s is more than %d folders deep", errLimit, dir, maxDepth)
	}
	return nil
}

func (b *budget) leave() { b.depth-- }

func (b *budget) spend(file string, size int64) error {
	b.files++
	b.bytes += size
	switch {
	case size > b.cfg.MaxFile:
		return fmt.Errorf("%w: %s has %d bytes, at most %d are read", errLimit, file, size, b.cfg.MaxFile)
	case b.bytes > b.cfg.MaxTotal:
		return fmt.Errorf("%w: its files have more than %d bytes", errLimit, b.cfg.MaxTotal)
	case b.files > b.cfg.MaxFiles:
		return fmt.Errorf("%w: it has more than %d files", errLimit, b.cfg.MaxFiles)
	}
	return nil
}

// read checks that every file of a commit is there, whole and within the
// limits, and returns it.
func read(ctx context.Context, st storer.EncodedObjectStorer, h plumbing.Hash, cfg Config) (Commit, error) {
	commit, err := object.GetCommit(st, h)
	if err != nil {
		return Commit{}, fmt.Errorf("read commit %s: %w", h, err)
	}
	if err := verify(ctx, st, commit.TreeHash, "", &budget{cfg: cfg}); err != nil {
		return Commit{}, err
	}
	when := commit.Committer.When
	return Commit{Hash: h.String(), When: when, Tree: &treeFS{st: st, root: commit.TreeHash, when: when}}, nil
}

func verify(ctx context.Context, st storer.EncodedObjectStorer, h plumbing.Hash, dir string, b *budget) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tree, err := object.GetTree(st, h)
	if err != nil {
		return fmt.Errorf("read folder %q: %w", dir, err)
	}
	if err := b.enter(dir); err != nil {
		return err
	}
	for _, e := range tree.Entries {
		file := path.Join(dir, e.Name)
		switch e.Mode {
		case filemode.Submodule:
			continue
		case filemode.Dir:
			err = verify(ctx, st, e.Hash, file, b)
		default:
			err = verifyBlob(st, e.Hash, file, b)
		}
		if err != nil {
			return err
		}
	}
	b.leave()
	return nil
}

func verifyBlob(st storer.EncodedObjectStorer, h plumbing.Hash, file string, b *budget) error {
	size, err := st.EncodedObjectSize(h)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if err := b.spend(file, size); err != nil {
		return err
	}
	data, err := blob(st, h)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if plumbing.ComputeHash(plumbing.BlobObject, data) != h {
		return fmt.Errorf("read %s: the store is damaged", file)
	}
	return nil
}

func blob(st storer.EncodedObjectStorer, h plumbing.Hash) ([]byte, error) {
	b, err := object.GetBlob(st, h)
	if err != nil {
		return nil, err
	}
	r, err := b.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// treeFS is a commit's tree as a file system.
type treeFS struct {
	st   storer.EncodedObjectStorer
	root plumbing.Hash
	when time.Time
}

// Open opens a file or a folder of the commit.
func (t *treeFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	f, err := t.open(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return f, nil
}

func (t *treeFS) open(name string) (fs.File, error) {
	info, h, err := t.find(name)
	if err != nil {
		return nil, err
	}
	switch {
	case info.mode&fs.ModeSymlink != 0:
		return nil, ErrLink
	case info.mode&fs.ModeIrregular != 0:
		return nil, errors.New("is a submodule: its files live in another repository")
	case info.IsDir():
		entries, err := t.entries(h)
		return &folder{info: info, entries: entries}, err
	}
	data, err := blob(t.st, h)
	if err != nil {
		return nil, err
	}
	info.size = int64(len(data))
	return &file{info: info, r: bytes.NewReader(data)}, nil
}

func (t *treeFS) find(name string) (fileInfo, plumbing.Hash, error) {
	info := fileInfo{name: path.Base(name), when: t.when, mode: fs.ModeDir | 0o555}
	if name == "." {
		return info, t.root, nil
	}
	tree, err := object.GetTree(t.st, t.root)
	if err != nil {
		return info, plumbing.ZeroHash, err
	}
	e, err := tree.FindEntry(name)
	switch {
	case errors.Is(err, object.ErrEntryNotFound), errors.Is(err, object.ErrDirectoryNotFound), errors.Is(err, object.ErrFileNotFound),
		errors.Is(err, plumbing.ErrObjectNotFound): // a name below a file; verify has found every object
		return info, plumbing.ZeroHash, fs.ErrNotExist
	case err != nil:
		return info, plumbing.ZeroHash, err
	}
	info.mode = modeOf(e.Mode)
	return info, e.Hash, nil
}

func modeOf(m filemode.FileMode) fs.FileMode {
	switch m {
	case filemode.Dir:
		return fs.ModeDir | 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Submodule:
		return fs.ModeIrregular
	case filemode.Executable:
		return 0o555
	}
	return 0o444
}

func (t *treeFS) entries(h plumbing.Hash) ([]fs.DirEntry, error) {
	tree, err := object.GetTree(t.st, h)
	if err != nil {
		return nil, err
	}
	out := make([]fs.DirEntry, 0, len(tree.Entries))
	for _, e := range tree.Entries {
		info := fileInfo{name: e.Name, mode: modeOf(e.Mode), when: t.when}
		if info.mode.IsRegular() {
			info.size, _ = t.st.EncodedObjectSize(e.Hash) // verify has read it
		}
		out = append(out, fs.FileInfoToDirEntry(info))
	}
	return out, nil
}
