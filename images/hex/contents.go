package hex

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"
)

// maxPath bounds one path in a package, in bytes.
const maxPath = 512

// A File is one regular file or folder of a package.
type File struct {
	Path string      // slash path below the package's root, clean
	Mode fs.FileMode // 0644, 0755, or ModeDir|0755: nothing else is kept
	Size int64       // bytes
}

// Check reads all contents and keeps none: it tells whether Unpack would
// refuse them.
func (a *Archive) Check() error { return a.Walk(nil) }

// Walk calls do, if it is not nil, for every file and folder, in the order of
// the archive. Errors: what do returned; ErrUnsafe for paths that leave the
// root, are absolute, or come twice, for links, devices and whatever else is
// neither file nor folder; ErrTooLarge; ErrMalformed.
func (a *Archive) Walk(do func(f File, content io.Reader) error) error {
	z, err := gzip.NewReader(bytes.NewReader(a.contents))
	if err != nil {
		return fmt.Errorf("unpack %s: %w: %w", partContents, ErrMalformed, err)
	}
	return walkTar(z, do)
}

func walkTar(from io.Reader, do func(File, io.Reader) error) error {
	w := walker{left: MaxContents, seen: map[string]bool{}, do: do}
	t := tar.NewReader(&bounded{from: from, left: MaxContents})
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", partContents, malformed(err))
		}
		if err := w.entry(h, t); err != nil {
			return fmt.Errorf("unpack %.200q: %w", h.Name, err)
		}
	}
}

// malformed marks an error of the tar or gzip reader, unless it is our own.
func malformed(err error) error {
	if errors.Is(err, ErrTooLarge) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// bounded fails after so many bytes, where io.LimitReader would seem to end.
type bounded struct {
	from io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: more than %d MB unpacked", ErrTooLarge, MaxContents>>20)
	}
	return n, err
}

type walker struct {
	left int64           // bytes of content: sparse files hold more than the archive does
	seen map[string]bool // clean path: is it a folder
	do   func(File, io.Reader) error
}

func (w *walker) entry(h *tar.Header, content io.Reader) error {
	f := File{Mode: 0o644, Size: h.Size}
	switch {
	case h.Typeflag == tar.TypeDir:
		f = File{Mode: fs.ModeDir | 0o755}
	case h.Typeflag != tar.TypeReg:
		return fmt.Errorf("%w: it is %s: packages consist of files", ErrUnsafe, kind(h.Typeflag))
	case h.Mode&0o111 != 0:
		f.Mode = 0o755
	}
	p, err := cleanPath(h.Name)
	if err != nil {
		return err
	}
	if f.Path = p; p == "." && f.Mode.IsDir() {
		return nil // the package's root itself
	}
	if p == "." {
		return fmt.Errorf("%w: the path is the package itself", ErrUnsafe)
	}
	if err := w.see(p, f.Mode.IsDir()); err != nil {
		return err
	}
	if w.left -= f.Size; w.left < 0 {
		return fmt.Errorf("%w: more than %d MB unpacked", ErrTooLarge, MaxContents>>20)
	}
	if w.do != nil {
		return w.do(f, reading{content})
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return malformed(err)
	}
	return nil
}

// reading marks errors of the archive, so that they are told from the disk's.
type reading struct{ from io.Reader }

func (r reading) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = malformed(err)
	}
	return n, err
}

func kind(flag byte) string {
	switch flag {
	case tar.TypeSymlink, tar.TypeLink:
		return "a link"
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return "a device"
	}
	return fmt.Sprintf("of type %q", flag)
}

// cleanPath is name without "./" and final slash, if it stays in the root.
func cleanPath(name string) (string, error) {
	clean := path.Clean(name)
	switch {
	case name == "" || len(name) > maxPath:
		return "", fmt.Errorf("%w: the path has %d bytes", ErrUnsafe, len(name))
	case !fs.ValidPath(clean) || strings.Contains("/"+name+"/", "/../"):
		return "", fmt.Errorf("%w: the path leaves the package", ErrUnsafe)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }):
		return "", fmt.Errorf("%w: the path has a backslash or bytes that are no text", ErrUnsafe)
	}
	return clean, nil
}

// see notes p and the folders above it. Every path comes once, but folders
// may come as often as they like.
func (w *walker) see(p string, folder bool) error {
	if wasFolder, known := w.seen[p]; known && !(folder && wasFolder) {
		return fmt.Errorf("%w: the path comes twice", ErrUnsafe)
	}
	w.seen[p] = folder
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		isFolder, known := w.seen[dir]
		if known && !isFolder {
			return fmt.Errorf("%w: %s is a file and a folder", ErrUnsafe, dir)
		}
		if known {
			break
		}
		w.seen[dir] = true
	}
	if len(w.seen) > MaxFiles {
		return fmt.Errorf("%w: more than %d files and folders", ErrTooLarge, MaxFiles)
	}
	return nil
}
