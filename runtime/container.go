package runtime

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"golang.org/x/sys/unix"

	"beamsandbox/runtime/stack"
)

// staleTask is how long containerd may take to forget a task without a shim.
const staleTask = 5 * time.Second

// containerConfig is one guest or job on its way to containerd.
type containerConfig struct {
	id, image, ociRuntime string
	walls                 walls
	labels                map[string]string
	// finish completes the walls once it is known what the image holds.
	finish func(*walls, []mount.Mount) error
}

// container makes the container and its snapshot of the image, which is
// unpacked on first use.
func (t *Tasks) container(ctx context.Context, c containerConfig) (containerd.Container, error) {
	image, err := t.unpacked(ctx, c.image)
	if err != nil {
		return nil, err
	}
	name := orDefault(c.ociRuntime, stack.OCIRuntime)
	container, err := t.stack.Client().NewContainer(ctx, c.id,
		containerd.WithSnapshotter(t.stack.Snapshotter()),
		containerd.WithRuntime(name, t.runtimeOptions(name, c.walls)),
		containerd.WithContainerLabels(c.labels),
		t.snapshot(c, image),
		t.withSpec(c),
	)
	if err != nil {
		return nil, fmt.Errorf("make container %s: %w", c.id, err)
	}
	return container, nil
}

// runtimeOptions gives the guest's user its own output: BEAM may open it anew.
func (t *Tasks) runtimeOptions(name string, w walls) any {
	if name != stack.OCIRuntime {
		return t.stack.RuntimeOptions(name)
	}
	options, ok := t.stack.RuntimeOptions(name).(*runcoptions.Options)
	if !ok {
		options = &runcoptions.Options{}
	}
	options.IoUid, options.IoGid = w.uid(), w.uid()
	return options
}

// Prepare unpacks an image, so that Ensure finds it ready: while a new version
// is made ready, the old one still runs.
func (t *Tasks) Prepare(ctx context.Context, image string) error {
	_, err := t.unpacked(t.stack.Namespaced(ctx), image)
	return err
}

// unpacked is the image of that name, with its snapshots made.
func (t *Tasks) unpacked(ctx context.Context, name string) (containerd.Image, error) {
	image, err := t.stack.Client().GetImage(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("use image %s: not in containerd's store: build it again", name)
	}
	if err != nil {
		return nil, fmt.Errorf("use image %s: %w", name, err)
	}
	return image, t.unpack(ctx, image)
}

// unpack makes the image's snapshots, once for all that start at once.
func (t *Tasks) unpack(ctx context.Context, image containerd.Image) error {
	unlock, err := t.images.lock(ctx, image.Name())
	if err != nil {
		return fmt.Errorf("wait for image %s: %w", image.Name(), err)
	}
	defer unlock()
	done, err := image.IsUnpacked(ctx, t.stack.Snapshotter())
	if err != nil {
		return fmt.Errorf("look for the snapshots of %s: %w", image.Name(), err)
	}
	if done {
		return nil
	}
	if err := image.Unpack(ctx, t.stack.Snapshotter()); err != nil {
		return fmt.Errorf("unpack image %s: %w", image.Name(), err)
	}
	return nil
}

// snapshot makes the guest's file system, its owners shifted into its range.
func (t *Tasks) snapshot(c containerConfig, image containerd.Image) containerd.NewContainerOpts {
	var opts []snapshots.Opt
	if c.walls.userNS {
		opts = append(opts, containerd.WithRemapperLabels(0, c.walls.uidBase, 0, c.walls.uidBase, uidSpan))
	}
	return containerd.WithNewSnapshot(c.id, image, opts...)
}

// withSpec writes the OCI configuration, after a look at what the image holds.
func (t *Tasks) withSpec(c containerConfig) containerd.NewContainerOpts {
	return func(ctx context.Context, client *containerd.Client, to *containers.Container) error {
		mounts, err := client.SnapshotService(to.Snapshotter).Mounts(ctx, to.SnapshotKey)
		if err != nil {
			return fmt.Errorf("find the files of image %s: %w", c.image, err)
		}
		w := c.walls
		if err := c.finish(&w, mounts); err != nil {
			return err
		}
		to.Spec, err = typeurl.MarshalAny(w.spec())
		if err != nil {
			return fmt.Errorf("write the OCI configuration: %w", err)
		}
		return nil
	}
}

// layers yields the folders that mounts put together.
func layers(mounts []mount.Mount) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, m := range mounts {
			if m.Type == "bind" && !yield(m.Source) {
				return
			}
			for _, option := range m.Options {
				lower, ok := strings.CutPrefix(option, "lowerdir=")
				for dir := range strings.SplitSeq(lower, ":") {
					if ok && !yield(dir) {
						return
					}
				}
			}
		}
	}
}

// startTask creates and starts the container's process; its pid.
func startTask(ctx context.Context, c containerd.Container, io cio.Creator) (uint32, error) {
	task, err := newTask(ctx, c, io)
	if err != nil {
		return 0, fmt.Errorf("make the task: %w", err)
	}
	if err := task.Start(ctx); err != nil {
		return 0, fmt.Errorf("start the task: %w", err)
	}
	return task.Pid(), nil
}

// newTask creates the task. For a moment after its shim was killed, containerd
// still holds a guest's old task although it says that there is none.
func newTask(ctx context.Context, c containerd.Container, io cio.Creator) (containerd.Task, error) {
	patience := time.After(staleTask)
	for {
		task, err := c.NewTask(ctx, io)
		if !errdefs.IsAlreadyExists(err) {
			return task, err
		}
		select {
		case <-patience:
			return nil, err
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// discard takes away whatever there is of a guest or job, save its log.
func (t *Tasks) discard(ctx context.Context, id string) error {
	if err := t.discardContainer(ctx, id); err != nil {
		return err
	}
	snapshotter := t.stack.Client().SnapshotService(t.stack.Snapshotter())
	if err := ignoreNotFound(snapshotter.Remove(ctx, id)); err != nil {
		return fmt.Errorf("remove the snapshot of %s: %w", id, err)
	}
	if err := t.cgroups.clear(ctx, t.group(id)); err != nil {
		return fmt.Errorf("end what is left of %s: %w", id, err)
	}
	return errors.Join(t.state(id).remove(), t.cgroups.remove(t.group(id)))
}

func (t *Tasks) discardContainer(ctx context.Context, id string) error {
	c, err := t.stack.Client().LoadContainer(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load container %s: %w", id, err)
	}
	if err := t.killTask(ctx, c); err != nil {
		return fmt.Errorf("end %s: %w", id, err)
	}
	if err := ignoreNotFound(c.Delete(ctx)); err != nil {
		return fmt.Errorf("delete container %s: %w", id, err)
	}
	return nil
}

// killTask ends the container's task, if any, and its shim.
func (t *Tasks) killTask(ctx context.Context, c containerd.Container) error {
	task, err := c.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		t.deleteShim(ctx, c.ID())
		return nil
	}
	if err != nil {
		return fmt.Errorf("find its task: %w", err)
	}
	exit, err := task.Wait(ctx)
	if err != nil {
		return fmt.Errorf("watch its task: %w", err)
	}
	if err := task.Kill(ctx, unix.SIGKILL, containerd.WithKillAll); err != nil && !gone(err) {
		return fmt.Errorf("kill its task: %w", err)
	}
	select {
	case <-exit:
	case <-ctx.Done():
		return fmt.Errorf("wait for its end: %w", ctx.Err())
	}
	if _, err := task.Delete(ctx); err != nil && !gone(err) {
		return fmt.Errorf("delete its task: %w", err)
	}
	return nil
}

// deleteShim ends a shim without a task: what is left when the creation of a
// task is cut short, as by our own end. containerd lists no task then, and
// still refuses a new one of that name. A shim that has died makes this fail
// and is forgotten by containerd itself; a name that stays taken is told by
// the next creation.
func (t *Tasks) deleteShim(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, staleTask)
	defer cancel()
	_, _ = t.stack.Client().TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
}

// gone reports errors that mean there is nothing left to end.
func gone(err error) bool {
	return errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err)
}
