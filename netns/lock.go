package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"beamsandbox/reconcile/app"
)

// lockName cannot be an app's name: it begins with a dot.
const lockName = ".lock"

// A gate keeps two processes from working in one directory at the same time.
// It is open for all of a process's goroutines once one of them holds the
// lock file. The directory is there while the gate is held.
type gate struct {
	dir  string
	mu   sync.Mutex
	n    int // goroutines inside
	file *os.File
}

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n == 0 {
		f, err := lockDir(g.dir)
		if err != nil {
			return err
		}
		g.file = f
	}
	g.n++
	return nil
}

// leave removes the directory when nothing but the lock is left in it.
func (g *gate) leave() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n > 0 {
		return nil
	}
	return errors.Join(removeIfBare(g.dir), g.file.Close())
}

// lockDir makes dir and takes its lock. The one who held it before may have
// removed the directory: then the file that we locked is no longer the one
// at that path, and we try again.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	for {
		if err := os.MkdirAll(dir, 0o755); errors.Is(err, os.ErrExist) {
			continue // removed under our hands
		} else if err != nil {
			return nil, fmt.Errorf("make directory of namespaces: %w", err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("lock directory of namespaces: %w", err)
		}
		if err := flock(f); err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if same(f, path) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("close %s: %w", path, err)
		}
	}
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// removeIfBare lets another process be faster: once the lock file is gone it
// may make one of its own, or remove the directory.
func removeIfBare(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 1 {
		return err
	}
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
		return err
	}
	err = os.Remove(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return err
}

// keyed is one mutex per name. The zero value is ready.
type keyed struct {
	mu   sync.Mutex
	held map[app.Name]*slot
}

type slot struct {
	sync.Mutex
	users int
}

func (k *keyed) lock(name app.Name) (unlock func()) {
	k.mu.Lock()
	if k.held == nil {
		k.held = make(map[app.Name]*slot)
	}
	c := k.held[name]
	if c == nil {
		c = &slot{}
		k.held[name] = c
	}
	c.users++
	k.mu.Unlock()
	c.Lock()
	return func() {
		c.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if c.users--; c.users == 0 {
			delete(k.held, name)
		}
	}
}
