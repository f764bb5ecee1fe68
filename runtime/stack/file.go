package stack

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lock keeps two daemons from starting one containerd twice. The lock is let
// go by the kernel when its holder dies.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open containerd's lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

func connects(socket string) bool {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// traversable checks that everyone may pass through path and the folders above
// it: the root of a guest's user namespace is nobody outside, and the OCI
// runtime walks there as that user.
func traversable(path string) error {
	for dir := path; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("check run directory %s: %w", path, err)
		}
		if info.Mode()&0o001 == 0 {
			return fmt.Errorf("use run directory %s: guests cannot pass through %s: chmod o+x it", path, dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// SweepSockets removes the sockets of shims that died without containerd
// clearing up after them. Call it only while no task is being made: a shim's
// socket refuses connections for a moment before it listens.
func (s *Stack) SweepSockets() error {
	if s.proc == nil {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(s.cfg.RunDir, socketDir, "*"))
	if err != nil {
		return fmt.Errorf("list the sockets of shims: %w", err)
	}
	for _, path := range paths {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
			continue
		}
		if !errors.Is(err, unix.ECONNREFUSED) {
			continue
		}
		if err := remove(path); err != nil {
			return err
		}
	}
	return nil
}

// lastLine is the last line of a log, for an error a person reads.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "no log"
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "no log"
	}
	buf := make([]byte, min(info.Size(), 4096))
	n, _ := f.ReadAt(buf, info.Size()-int64(len(buf))) // a short read still holds the end
	lines := bytes.Split(bytes.TrimSpace(buf[:n]), []byte("\n"))
	return string(lines[len(lines)-1])
}
