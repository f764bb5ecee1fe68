package distribution

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
)

// sameProgram says whether a process runs the program at path as it is
// installed now, also where it has been replaced since the process began.
func sameProgram(pid int, path string) (bool, error) {
	// The link leads to the file that was run, even if it has no name any more.
	running := fmt.Sprintf("/proc/%d/exe", pid)
	a, err := os.Stat(running)
	if err != nil {
		return false, fmt.Errorf("find the program of process %d: %w", pid, err)
	}
	b, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	if os.SameFile(a, b) {
		return true, nil
	}
	if a.Size() != b.Size() {
		return false, nil
	}
	one, err := sumOf(running)
	if err != nil {
		return false, err
	}
	other, err := sumOf(path)
	return one == other, err
}

func sumOf(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, fmt.Errorf("read %s: %w", path, err)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
