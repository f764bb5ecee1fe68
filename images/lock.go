package images

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// lockFile is where the lock file of a build is kept: a source without one
// that is built again takes the same versions of its dependencies.
func (s *Store) lockFile(b build, t tool) string {
	return s.path("locks", string(b.recipe.Name), b.recipe.digest()[:16]+"-"+b.revision[:min(len(b.revision), 16)]+"."+t.lock)
}

// restoreLock gives a source without lock file the one of its earlier build,
// and reports whether there is one now.
func (s *Store) restoreLock(b build, w work, t tool, log io.Writer) (locked bool, err error) {
	root, err := os.OpenRoot(w.src())
	if err != nil {
		return false, err
	}
	defer root.Close() //nolint:errcheck // opened to read
	if there(root, t.lock) {
		return true, nil
	}
	data, err := os.ReadFile(s.lockFile(b, t))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the lock file of the last build: %w", err)
	}
	note(log, "took %s of the last build: the source has none", t.lock)
	if err := root.WriteFile(t.lock, data, 0o644); err != nil {
		return false, fmt.Errorf("write the lock file of the last build: %w", err)
	}
	return true, nil
}

// keepLock keeps what the build resolved, and returns it. The builder wrote
// it, and a builder alone will read it.
func (s *Store) keepLock(b build, w work, t tool) (lock string, err error) {
	root, err := os.OpenRoot(w.src())
	if err != nil {
		return "", err
	}
	defer root.Close() //nolint:errcheck // opened to read
	data, err := readConfig(root, t.lock)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	file := s.lockFile(b, t)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", fmt.Errorf("keep the lock file: %w", err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return "", fmt.Errorf("keep the lock file: %w", err)
	}
	return string(data), nil
}
