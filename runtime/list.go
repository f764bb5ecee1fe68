package runtime

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"beamsandbox/reconcile/app"
)

// unknownStatus stands for the exit status of a guest whose end nobody saw: a
// container without a task, as after a reboot, after the death of its shim, or
// when it ended while containerd was down, which then clears the task away.
const unknownStatus = 255

// List reads every guest from containerd; one that ended while nobody watched
// is Stopped, with its Exit.
func (t *Tasks) List(ctx context.Context) ([]Task, error) {
	ctx = t.stack.Namespaced(ctx)
	client := t.stack.Client()
	all, err := client.ContainerService().List(ctx, fmt.Sprintf("labels.%q==%s", labelKind, kindGuest))
	if err != nil {
		return nil, fmt.Errorf("list guests: %w", err)
	}
	answer, err := client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", errdefs.Resolve(err))
	}
	processes := map[string]*tasktypes.Process{}
	for _, p := range answer.GetTasks() {
		processes[p.GetID()] = p
	}
	list := make([]Task, 0, len(all))
	for _, c := range all {
		list = append(list, t.withProcess(t.task(c), processes[c.ID]))
	}
	return list, nil
}

// find reads one guest.
func (t *Tasks) find(ctx context.Context, name app.Name) (Task, bool, error) {
	client := t.stack.Client()
	c, err := client.ContainerService().Get(ctx, string(name))
	if errdefs.IsNotFound(err) || err == nil && c.Labels[labelKind] != kindGuest {
		return Task{}, false, nil
	}
	if err != nil {
		return Task{}, false, fmt.Errorf("find %s: %w", name, err)
	}
	answer, err := client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: string(name)})
	if err != nil && !notThere(err) {
		return Task{}, false, fmt.Errorf("find the task of %s: %w", name, err)
	}
	return t.withProcess(t.task(c), answer.GetProcess()), true, nil
}

// task is what a container says of its guest.
func (t *Tasks) task(c containers.Container) Task {
	task := Task{
		Name: app.Name(c.ID), Digest: c.Labels[labelDigest], Started: c.CreatedAt,
		LogPath: t.logs.path(c.ID), CgroupDir: t.cgroups.dir("memory", t.group(c.ID)),
		Labels: map[string]string{},
	}
	for key, value := range c.Labels {
		if key, ok := strings.CutPrefix(key, labelUser); ok {
			task.Labels[key] = value
		}
	}
	return task
}

// withProcess adds what containerd says of the guest's process; nil: none.
func (t *Tasks) withProcess(task Task, p *tasktypes.Process) Task {
	switch p.GetStatus() {
	case tasktypes.Status_RUNNING, tasktypes.Status_PAUSED, tasktypes.Status_PAUSING:
		task.State, task.Pid = Running, p.GetPid()
	case tasktypes.Status_STOPPED:
		exit := t.exit(task.Name, p.GetExitStatus(), p.GetExitedAt().AsTime())
		task.State, task.Pid, task.Exit = Stopped, p.GetPid(), &exit
	default: // none, or one that was made and never started
		task.State, task.Exit = Stopped, &Exit{Status: unknownStatus}
	}
	return task
}

// exit says how a guest ended. The kernel's count of kills for memory is still
// there, since the control group goes only with the task. SIGKILL alone proves
// nothing, nor does a helper process that was killed while the guest lived on.
func (t *Tasks) exit(name app.Name, status uint32, at time.Time) Exit {
	exit := Exit{Status: status, At: at}
	exit.OOMKilled = status == 128+uint32(unix.SIGKILL) && t.oomKilled(string(name))
	return exit
}

// oomKilled reports whether the kernel killed anything of a guest or job for
// memory.
func (t *Tasks) oomKilled(id string) bool {
	kills, err := t.cgroups.oomKills(t.group(id))
	return err == nil && kills > 0
}

// forkFailed reports whether a guest or job wanted more processes than it may
// have.
func (t *Tasks) forkFailed(id string) bool {
	fails, err := t.cgroups.forkFails(t.group(id))
	return err == nil && fails > 0
}

func userLabels(labels map[string]string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for key, value := range labels {
			if !yield(labelUser+key, value) {
				return
			}
		}
	}
}

// notThere recognises the raw answer of a service.
func notThere(err error) bool { return errdefs.IsNotFound(grpcError(err)) }
