package stage

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// TakeTurn waits for other runs on this machine: node names at the port mapper
// and ports on loopback are the machine's.
func TakeTurn() (func(), error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "beamsandbox-test.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("wait for other test runs: %w", err)
	}
	return func() { f.Close() }, nil
}
