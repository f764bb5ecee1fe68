package runtime

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// locks is one lock per name: what concerns one guest goes one after the
// other, and guests do not wait for each other.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock waits for its turn at name, or for ctx.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		busy, held := l.held[name]
		if !held {
			if l.held == nil {
				l.held = map[string]chan struct{}{}
			}
			mine := make(chan struct{})
			l.held[name] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				delete(l.held, name)
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// grantFiles lowers want to what this process may give: raising a hard limit
// takes CAP_SYS_RESOURCE, which the daemon need not have.
func grantFiles(want uint64) uint64 {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		return want
	}
	return min(want, own.Max)
}

// maxName is containerd's limit for identifiers; it leaves room for what is put
// before an app's name of 64.
const maxName = 76

// checkName refuses names that are no plain file name: they name folders,
// control groups and containers.
func checkName(id string) error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
	}
	if id == "" || len(id) > maxName || strings.ContainsFunc(id, func(r rune) bool { return !plain(r) }) {
		return fmt.Errorf("use name %q: expected 1 to %d letters, digits, '_' or '-'", id, maxName)
	}
	return nil
}
