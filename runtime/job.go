package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Ends of a job that are not its own doing.
var (
	ErrJobTimeout = errors.New("took longer than its time limit")
	ErrJobMemory  = errors.New("was killed at its memory limit")
	ErrJobPids    = errors.New("reached its limit of processes")
)

// The limits of a job that names none.
const (
	defaultJobPids     = 512
	defaultJobTmpBytes = 512 << 20
	defaultJobTimeout  = 15 * time.Minute
)

// JobConfig is one command in a builder guest: the walls of a guest, no longer
// than it runs.
type JobConfig struct {
	Name     string // unique while it runs: 1 to 72 letters, digits, '_' or '-'
	Image    string // containerd image name
	Args     []string
	Env      []string
	Dir      string // working directory inside, "": /
	Mounts   []JobMount
	Memory   int64         // bytes, 0: unlimited
	CPUs     int           // quota, 0: none
	Pids     int64         // 0: 512
	TmpBytes int64         // size of its /tmp, where it may run what it wrote, 0: 512 MiB
	NetNS    string        // path; "": a new one in which nothing answers
	Hostname string        // "": "builder"
	Timeout  time.Duration // 0: 15 minutes
	Log      io.Writer     // what it prints, both streams; nil: dropped
}

// JobMount shows a folder of the host to a job. What the job makes in a
// writable one belongs, on the host, to the owner of Source; keep Source below
// a folder that other users cannot enter, since a job may set any mode.
type JobMount struct {
	Source, Target string
	ReadOnly       bool
}

// jobID keeps jobs apart from guests.
func jobID(name string) string { return "job-" + name }

// RunJob runs c to its end and takes everything of it away again, except what
// it wrote into its mounts. It returns the command's exit status, or an error
// when there is none: one that wraps ErrJobTimeout, ErrJobMemory or ctx's.
func (t *Tasks) RunJob(ctx context.Context, c JobConfig) (exit int, err error) {
	if err := checkJob(c); err != nil {
		return 0, err
	}
	ctx = t.stack.Namespaced(ctx)
	unlock, err := t.names.lock(ctx, jobID(c.Name))
	if err != nil {
		return 0, fmt.Errorf("wait for the turn of job %s: %w", c.Name, err)
	}
	defer unlock()
	owners, err := t.owners(c)
	if err != nil {
		return 0, err
	}
	defer func() {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		undoErr := errors.Join(t.discard(undo, jobID(c.Name)), giveBack(owners), t.trim())
		if undoErr != nil {
			err = errors.Join(err, fmt.Errorf("clean up after job %s: %w", c.Name, undoErr))
		}
	}()
	if err := t.discard(ctx, jobID(c.Name)); err != nil {
		return 0, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, orDefault(c.Timeout, defaultJobTimeout), ErrJobTimeout)
	defer cancel()
	exit, err = t.runJob(limited, c)
	if err != nil && limited.Err() != nil {
		err = t.outOfTime(context.Cause(limited), c)
	}
	if err != nil {
		return 0, fmt.Errorf("run job %s: %w", c.Name, err)
	}
	return exit, nil
}

// outOfTime says how long the job had, and what may have kept it from its end.
func (t *Tasks) outOfTime(cause error, c JobConfig) error {
	if !errors.Is(cause, ErrJobTimeout) {
		return cause
	}
	cause = fmt.Errorf("%w of %s", cause, orDefault(c.Timeout, defaultJobTimeout))
	if t.forkFailed(jobID(c.Name)) {
		return fmt.Errorf("%w, and %w (%d)", cause, ErrJobPids, orDefault(c.Pids, defaultJobPids))
	}
	return cause
}

func checkJob(c JobConfig) error {
	if err := checkName(jobID(c.Name)); err != nil {
		return err
	}
	if len(c.Args) == 0 {
		return fmt.Errorf("run job %s: no command", c.Name)
	}
	for _, m := range c.Mounts {
		if !filepath.IsAbs(m.Source) || !filepath.IsAbs(m.Target) {
			return fmt.Errorf("run job %s: mount %s at %s: both must be absolute paths", c.Name, m.Source, m.Target)
		}
	}
	return nil
}

// runJob starts the job and waits for its end.
func (t *Tasks) runJob(ctx context.Context, c JobConfig) (int, error) {
	out := &serial{w: orDefault(c.Log, io.Discard)}
	defer out.close()
	task, ended, err := t.startJob(ctx, c, out)
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case status := <-ended:
		code, _, err := status.Result()
		if err != nil {
			return 0, fmt.Errorf("watch the task: %w", err)
		}
		if code != 0 && t.oomKilled(jobID(c.Name)) {
			return 0, fmt.Errorf("%w of %d MB", ErrJobMemory, c.Memory>>20)
		}
		if code != 0 && t.forkFailed(jobID(c.Name)) {
			return 0, fmt.Errorf("%w (%d)", ErrJobPids, orDefault(c.Pids, defaultJobPids))
		}
		task.IO().Wait()
		return int(code), nil
	}
}

// startJob makes and starts the job's task, which prints to out.
func (t *Tasks) startJob(ctx context.Context, c JobConfig, out io.Writer) (containerd.Task, <-chan containerd.ExitStatus, error) {
	t.parents.RLock()
	defer t.parents.RUnlock()
	container, err := t.jobContainer(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	task, err := newTask(ctx, container, cio.NewCreator(
		cio.WithStreams(nil, out, out), cio.WithFIFODir(filepath.Join(string(t.state(jobID(c.Name))), "io")),
	))
	if err != nil {
		return nil, nil, fmt.Errorf("make the task: %w", err)
	}
	// Not under ctx: at its end the task is killed, and Wait answers then.
	ended, err := task.Wait(context.WithoutCancel(ctx))
	if err != nil {
		return nil, nil, fmt.Errorf("watch the task: %w", err)
	}
	if err := task.Start(ctx); err != nil {
		return nil, nil, fmt.Errorf("start the task: %w", err)
	}
	return task, ended, nil
}

// jobContainer makes the container of a job.
func (t *Tasks) jobContainer(ctx context.Context, c JobConfig) (containerd.Container, error) {
	id := jobID(c.Name)
	base, release, err := t.uids.take(ctx, t.usedRanges)
	if err != nil {
		return nil, err
	}
	defer release()
	w, err := t.jobWalls(c, base)
	if err != nil {
		return nil, err
	}
	if err := t.state(id).fill(etcFiles(w.hostname), w.uid()); err != nil {
		return nil, err
	}
	if !w.userNS {
		if err := lend(c.Mounts, w.uid()); err != nil {
			return nil, err
		}
	}
	return t.container(ctx, containerConfig{
		id: id, image: c.Image, walls: w,
		labels: map[string]string{labelKind: kindJob, labelUID: strconv.FormatUint(uint64(base), 10)},
		finish: func(*walls, []mount.Mount) error { return nil },
	})
}

func (t *Tasks) jobWalls(c JobConfig, base uint32) (walls, error) {
	w := walls{
		args: c.Args, env: c.Env, dir: orDefault(c.Dir, "/"), hostname: orDefault(c.Hostname, "builder"),
		netNS: c.NetNS, cgroup: t.group(jobID(c.Name)), uidBase: base, userNS: t.stack.UserNS(),
		memory: c.Memory, memSwap: t.cgroups.swapLimited(), cpus: c.CPUs, pids: orDefault(c.Pids, defaultJobPids),
		files: grantFiles(defaultFiles), tmpBytes: orDefault(c.TmpBytes, defaultJobTmpBytes), tmpExec: true,
		unified: t.cgroups.unified,
	}
	w.mounts = t.state(jobID(c.Name)).etcMounts()
	for _, m := range c.Mounts {
		mount, err := w.show(m)
		if err != nil {
			return walls{}, err
		}
		w.mounts = append(w.mounts, mount)
	}
	return w, nil
}

// show binds a folder of the host. A writable one is mounted with its owner's
// id exchanged for the job's (mount_setattr(2), MOUNT_ATTR_IDMAP), so that the
// job owns what is there and the host's owner keeps it.
func (w walls) show(m JobMount) (specs.Mount, error) {
	var st unix.Stat_t
	if err := unix.Stat(m.Source, &st); err != nil {
		return specs.Mount{}, fmt.Errorf("show %s: %w", m.Source, &os.PathError{Op: "stat", Path: m.Source, Err: err})
	}
	mount := specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source, Options: []string{"bind", "nosuid", "nodev"}}
	if m.ReadOnly {
		mount.Options = append(mount.Options, "ro")
	}
	if !w.userNS {
		return mount, nil // lent instead, see lend
	}
	mount.UIDMappings = []specs.LinuxIDMapping{{ContainerID: st.Uid, HostID: w.uid(), Size: 1}}
	mount.GIDMappings = []specs.LinuxIDMapping{{ContainerID: st.Gid, HostID: w.uid(), Size: 1}}
	return mount, nil
}

// SweepJobs takes away the jobs that a killed daemon left behind. Call it
// before the first RunJob.
func (t *Tasks) SweepJobs(ctx context.Context) error {
	ctx = t.stack.Namespaced(ctx)
	all, err := t.stack.Client().ContainerService().List(ctx, fmt.Sprintf("labels.%q==%s", labelKind, kindJob))
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	var errs []error
	for _, c := range all {
		errs = append(errs, t.discard(ctx, c.ID))
	}
	return errors.Join(errors.Join(errs...), t.trim())
}

// serial makes one writer of a job's two streams. Once closed it drops what
// still comes: the job's log is the caller's again.
type serial struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *serial) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w = io.Discard
}

func (s *serial) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}
