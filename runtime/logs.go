package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"beamsandbox/reconcile/app"
)

// logBlock is what file systems want collapsed ranges to be multiples of.
const logBlock = 64 << 10

// Intervals at which logs are measured, and at which a follower looks for more.
const (
	rotateEvery = time.Second
	followEvery = 200 * time.Millisecond
)

// logs are the guests' outputs. The shim appends to LogDir/<name>/log by
// itself, so nothing is lost while the daemon is down or is killed. Rotation
// copies the oldest bytes to log.1 and then cuts them out of the live file in
// one step of the kernel (fallocate(2), FALLOC_FL_COLLAPSE_RANGE), so that no
// byte written meanwhile is lost either; where the file system cannot do that
// the live file is truncated after the copy. While no daemon runs, nobody
// rotates.
type logs struct {
	dir   string
	limit int64 // bytes of one file; a guest's output takes at most about two

	mu  sync.Mutex
	cut map[string]int64 // bytes that were cut out of the live file so far
}

func (l *logs) path(id string) string { return filepath.Join(l.dir, id, "log") }
func (l *logs) old(id string) string  { return filepath.Join(l.dir, id, "log.1") }

// open makes the live file before the shim does, readable by us alone.
func (l *logs) open(id string) error {
	if err := os.MkdirAll(filepath.Join(l.dir, id), 0o700); err != nil {
		return fmt.Errorf("make the log folder of %s: %w", id, err)
	}
	f, err := os.OpenFile(l.path(id), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make the log of %s: %w", id, err)
	}
	return f.Close()
}

func (l *logs) remove(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.cut, id)
	if err := os.RemoveAll(filepath.Join(l.dir, id)); err != nil {
		return fmt.Errorf("remove the log of %s: %w", id, err)
	}
	return nil
}

// rotate keeps all logs in bounds until ctx ends.
func (l *logs) rotate(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(rotateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		entries, err := os.ReadDir(l.dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("rotate logs", "err", err)
		}
		for _, e := range entries {
			if err := l.rotateOne(e.Name()); err != nil {
				log.Warn("rotate a log", "app", e.Name(), "err", err)
			}
		}
	}
}

// rotateOne moves the oldest bytes of a log that is over the limit to log.1.
func (l *logs) rotateOne(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path(id), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", l.path(id), err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("measure %s: %w", l.path(id), err)
	}
	n := (info.Size() - 1) / logBlock * logBlock // the kernel wants a byte left over
	if info.Size() <= l.limit || n <= 0 {
		return nil
	}
	if err := l.keep(id, f, n); err != nil {
		return err
	}
	return l.shorten(id, f, n)
}

// keep copies the newest limit bytes of the first n to log.1.
func (l *logs) keep(id string, f *os.File, n int64) error {
	next := l.old(id) + ".new"
	out, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	from := max(0, n-l.limit)
	_, err = io.Copy(out, io.NewSectionReader(f, from, n-from))
	if err := errors.Join(err, out.Close()); err != nil {
		return errors.Join(fmt.Errorf("rotate: %w", err), os.Remove(next))
	}
	if err := os.Rename(next, l.old(id)); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	return nil
}

// shorten cuts the first n bytes out of f.
func (l *logs) shorten(id string, f *os.File, n int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, n)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		info, statErr := f.Stat()
		if statErr != nil {
			return fmt.Errorf("rotate: %w", statErr)
		}
		n, err = info.Size(), f.Truncate(0)
	}
	if err != nil {
		return fmt.Errorf("cut %s: %w", l.path(id), err)
	}
	if l.cut == nil {
		l.cut = map[string]int64{}
	}
	l.cut[id] += n
	return nil
}

// read fills buf with what the live file holds from at on, counted from the
// first byte this process knew; the bytes read and the place after them. A
// place that was cut away meanwhile moves up to the oldest byte left.
func (l *logs) read(id string, at int64, buf []byte) (int, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.Open(l.path(id))
	if err != nil {
		return 0, at, fmt.Errorf("read the log of %s: %w", id, err)
	}
	defer f.Close()
	at = max(at, l.cut[id])
	n, err := f.ReadAt(buf, at-l.cut[id])
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, at, fmt.Errorf("read the log of %s: %w", id, err)
	}
	return n, at + int64(n), nil
}

// Logs writes what a guest wrote, oldest first: the raw bytes, which come from
// the guest and must be escaped where a person sees them. With follow it goes
// on until ctx ends, which is no error, or the log is removed.
func (t *Tasks) Logs(ctx context.Context, name app.Name, follow bool, w io.Writer) error {
	id := string(name)
	if _, err := os.Stat(t.logs.path(id)); err != nil {
		return fmt.Errorf("read the log of %s: there is none: %w", name, err)
	}
	at, err := t.logs.readOld(id, w)
	if err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	for n := 0; ctx.Err() == nil; {
		n, at, err = t.logs.read(id, at, buf)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return fmt.Errorf("pass on the log of %s: %w", name, err)
			}
			continue
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(followEvery):
		}
	}
	return nil
}

// readOld copies log.1 and returns where the live file goes on from there.
func (l *logs) readOld(id string, w io.Writer) (int64, error) {
	l.mu.Lock()
	at := l.cut[id]
	f, err := os.Open(l.old(id))
	l.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		return at, nil
	}
	if err != nil {
		return at, fmt.Errorf("read the log of %s: %w", id, err)
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return at, fmt.Errorf("pass on the log of %s: %w", id, err)
	}
	return at, nil
}
