package stack

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// openExternal connects to the machine's containerd.
func (s *Stack) openExternal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := os.Stat(s.cfg.Address); err != nil {
		return fmt.Errorf("use containerd at %s: no such socket: start it, or let sandboxd run its own", s.cfg.Address)
	}
	if s.cfg.RunDir != "" {
		if err := os.MkdirAll(s.cfg.RunDir, 0o711); err != nil {
			return fmt.Errorf("make the run directory: %w", err)
		}
	}
	if err := s.connect(ctx, s.cfg.Address); err != nil {
		return err
	}
	if !supported(s.version) {
		return fmt.Errorf("use containerd at %s: version %s is not supported: need 1.6, 1.7 or 2.x", s.cfg.Address, s.version)
	}
	return s.probe(ctx)
}

// supported reports whether version, as containerd prints it ("1.6.20~ds1",
// "v1.7.24", "2.4.2+unknown"), is one that the client's services work with.
func supported(version string) bool {
	major, rest, ok := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if !ok {
		return false
	}
	if major == "2" {
		return true
	}
	minor, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(minor)
	return err == nil && major == "1" && (n == 6 || n == 7)
}

func isNotFound(err error) bool { return errdefs.IsNotFound(err) }
