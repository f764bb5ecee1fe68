package images

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
)

// Bounds on a source tree and on a release, so that neither fills the disk.
const (
	maxFiles = 50_000
	maxBytes = 1 << 30
)

// An entry is one file or symbolic link of a source tree.
type entry struct {
	path string      // slash path inside the tree
	mode fs.FileMode // regular or symlink; the executable bits
	size int64
	open func() (io.ReadCloser, error) // content, or a link's target
}

// extract writes the entries below the empty folder dir. Paths that leave
// the tree, links that point out of it, repositories inside it and trees
// beyond the bounds are refused; nothing outside dir is ever touched.
func extract(dir string, entries iter.Seq2[entry, error]) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer root.Close() //nolint:errcheck // opened to read
	x := extractor{root: root}
	for e, err := range entries {
		if err != nil {
			return err
		}
		if err := x.add(e); err != nil {
			return fmt.Errorf("extract %q: %w", e.path, err)
		}
	}
	return x.checkLinks()
}

type extractor struct {
	root  *os.Root
	files int
	bytes int64
	links []string
}

func (x *extractor) add(e entry) error {
	if err := checkPath(e.path); err != nil {
		return err
	}
	if x.files++; x.files > maxFiles {
		return fmt.Errorf("the source has more than %d files", maxFiles)
	}
	if x.bytes += e.size; x.bytes > maxBytes {
		return fmt.Errorf("the source has more than %d MB", maxBytes>>20)
	}
	if dir := path.Dir(e.path); dir != "." {
		if err := x.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	switch e.mode.Type() {
	case 0:
		return x.file(e)
	case fs.ModeSymlink:
		return x.link(e)
	}
	return fmt.Errorf("it is neither a file nor a link (%s)", e.mode)
}

// checkPath accepts a local slash path outside of any .git folder.
func checkPath(p string) error {
	if !fs.ValidPath(p) || p == "." || strings.ContainsAny(p, "\x00\\") {
		return errors.New("the path is not local to the tree")
	}
	for part := range strings.SplitSeq(p, "/") {
		if strings.EqualFold(part, ".git") {
			return errors.New("a repository inside the tree is refused")
		}
	}
	return nil
}

func (x *extractor) file(e entry) error {
	r, err := e.open()
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := x.root.OpenFile(e.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, normal(e.mode))
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(r, e.size+1))
	if err == nil && n != e.size {
		err = fmt.Errorf("it has not the %d bytes that were announced", e.size)
	}
	return errors.Join(err, f.Close())
}

// A link's target must be relative and stay in the tree, read letter by letter.
func (x *extractor) link(e entry) error {
	r, err := e.open()
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return err
	}
	target := string(b)
	if !inside(path.Dir(e.path), target) {
		return fmt.Errorf("the link points to %q, out of the tree", target)
	}
	x.links = append(x.links, e.path)
	return x.root.Symlink(target, e.path)
}

// inside reports whether target, seen from the folder dir, is in the tree.
func inside(dir, target string) bool {
	if target == "" || path.IsAbs(target) {
		return false
	}
	p := path.Join(dir, target)
	return p != ".." && !strings.HasPrefix(p, "../")
}

// checkLinks follows every link once more: links that lead through other
// links may leave the tree although each of them, read alone, does not. The
// root refuses to follow such a link; one to nothing is harmless.
func (x *extractor) checkLinks() error {
	for _, l := range x.links {
		if _, err := x.root.Stat(l); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("follow link %q: %w", l, err)
		}
	}
	return nil
}
