package runtime

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/containerd/containerd/api/services/tasks/v1"

	"beamsandbox/reconcile/app"
)

// Remove ends a guest and takes away all that is there of it, its log
// included. A guest that Remove ends is not reported by Watch.
func (t *Tasks) Remove(ctx context.Context, name app.Name) error {
	ctx = t.stack.Namespaced(ctx)
	unlock, err := t.names.lock(ctx, string(name))
	if err != nil {
		return fmt.Errorf("wait for the turn of %s: %w", name, err)
	}
	defer unlock()
	t.exits.mute(name)
	if err := t.discard(ctx, string(name)); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return errors.Join(t.logs.remove(string(name)), t.trim())
}

// trim removes the parent control group when nothing is left below it, and the
// sockets of dead shims; it leaves both alone while anything is starting.
func (t *Tasks) trim() error {
	if !t.parents.TryLock() {
		return nil
	}
	defer t.parents.Unlock()
	return errors.Join(t.cgroups.remove(t.cfg.CgroupParent), t.stack.SweepSockets())
}

// Signal sends sig to a guest's first process; SIGTERM stops a BEAM in order.
func (t *Tasks) Signal(ctx context.Context, name app.Name, sig syscall.Signal) error {
	_, err := t.stack.Client().TaskService().Kill(t.stack.Namespaced(ctx), &tasks.KillRequest{
		ContainerID: string(name), Signal: uint32(sig),
	})
	if err != nil {
		return fmt.Errorf("send %s to %s: %w", sig, name, grpcError(err))
	}
	return nil
}
