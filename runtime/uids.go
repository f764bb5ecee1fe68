package runtime

import (
	"context"
	"fmt"
	"strconv"
	"sync"
)

// maxUID is the last user id that every runc takes; older ones refuse those
// that do not fit in 31 bits.
const maxUID = 1<<31 - 1

// uids hands out ranges of uidSpan user ids, one to each guest and job. A
// range is taken while a container's label names it; between the choice and
// the container, it is held here.
type uids struct {
	base uint32
	mu   sync.Mutex
	held map[uint32]bool
}

// take returns the start of the lowest range that neither used (which reads
// the labels) nor a pending caller has, and a function that lets go of it.
func (u *uids) take(ctx context.Context, used func(context.Context) (map[uint32]bool, error)) (uint32, func(), error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken, err := used(ctx)
	if err != nil {
		return 0, nil, err
	}
	for base := u.base; base <= maxUID-uidSpan; base += uidSpan {
		if taken[base] || u.held[base] {
			continue
		}
		if u.held == nil {
			u.held = map[uint32]bool{}
		}
		u.held[base] = true
		return base, func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			delete(u.held, base)
		}, nil
	}
	return 0, nil, fmt.Errorf("choose user ids: every range from %d up is taken", u.base)
}

// usedRanges reads the labels of all containers of the namespace.
func (t *Tasks) usedRanges(ctx context.Context) (map[uint32]bool, error) {
	all, err := t.stack.Client().ContainerService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	used := map[uint32]bool{}
	for _, c := range all {
		if base, err := strconv.ParseUint(c.Labels[labelUID], 10, 32); err == nil {
			used[uint32(base)] = true
		}
	}
	return used, nil
}
