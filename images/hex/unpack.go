package hex

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// Unpack opens raw (see Open) and writes its contents into dir, an empty
// folder, where nothing is written unless everything may be. Files have mode
// 0644 or 0755 and folders 0755, whatever the umask; owners, times, links and
// other attributes of the archive are not taken over.
func Unpack(raw, outer []byte, dir string) (Metadata, error) {
	a, err := Open(raw, outer)
	if err != nil {
		return Metadata{}, err
	}
	if err := a.Unpack(dir); err != nil {
		return Metadata{}, fmt.Errorf("unpack package %s: %w", a.Metadata.Name, err)
	}
	return a.Metadata, nil
}

// Unpack is the function Unpack for an archive that is open already.
func (a *Archive) Unpack(dir string) error {
	if err := a.Check(); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open target folder: %w", err)
	}
	defer root.Close() //nolint:errcheck // opened to read
	if there, err := fs.ReadDir(root.FS(), "."); err != nil || len(there) > 0 {
		return errors.Join(fmt.Errorf("target folder %s is not an empty folder: choose another one", dir), err)
	}
	return a.Walk(func(f File, content io.Reader) error { return write(root, f, content) })
}

// write makes one file or folder below root; root keeps it there.
func write(root *os.Root, f File, content io.Reader) error {
	if f.Mode.IsDir() {
		return folder(root, f.Path)
	}
	if err := folder(root, path.Dir(f.Path)); err != nil {
		return err
	}
	out, err := root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	if err == nil {
		err = out.Chmod(f.Mode.Perm())
	}
	return errors.Join(err, out.Close())
}

// folder makes dir and those above it.
func folder(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if err := folder(root, path.Dir(dir)); err != nil {
		return err
	}
	switch err := root.Mkdir(dir, 0o700); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return root.Chmod(dir, 0o755)
}
