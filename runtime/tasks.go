package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"

	"beamsandbox/reconcile/app"
	"beamsandbox/runtime/stack"
)

// Labels of our containers; the caller's own carry labelUser.
const (
	labelKind   = "beamsandbox/kind" // kindGuest or kindJob
	labelDigest = "beamsandbox/digest"
	labelUID    = "beamsandbox/uid" // start of the range of user ids
	labelUser   = "beamsandbox.app/"

	kindGuest = "guest"
	kindJob   = "job"
)

// undoTimeout bounds the cleaning up after a step that failed.
const undoTimeout = 30 * time.Second

// The limits of a guest whose Privileges leave them at zero.
const (
	defaultPids     = 1024
	defaultFiles    = 65536
	defaultTmpBytes = 64 << 20
)

// TasksConfig says where Tasks keeps things. StateDir and LogDir are needed.
type TasksConfig struct {
	StateDir     string // folder for cookies and configuration; a tmpfs is mounted for each guest
	LogDir       string // LogDir/<name>/log holds what the guest writes
	UIDBase      uint32 // first user id of the guests' ranges, 0: DefaultUIDBase
	CgroupParent string // "": DefaultCgroupParent
	LogBytes     int64  // size at which a log is rotated, 0: 8 MiB
	Log          *slog.Logger
}

// Defaults of TasksConfig.
const (
	DefaultUIDBase      = 231_072_000
	DefaultCgroupParent = "/beamsandbox"
	defaultLogBytes     = 8 << 20
)

// Tasks is the room of running guests: containerd tasks, one per app, each in
// a container named like the app.
type Tasks struct {
	stack   *stack.Stack
	cfg     TasksConfig
	cgroups hierarchy
	uids    uids
	names   locks
	images  locks
	exits   exits
	logs    logs

	parents sync.RWMutex // held to read while something starts below CgroupParent
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

// NewTasks returns the room over s. Close ends its goroutines and leaves the
// guests running.
func NewTasks(s *stack.Stack, cfg TasksConfig) *Tasks {
	if cfg.UIDBase == 0 {
		cfg.UIDBase = DefaultUIDBase
	}
	if cfg.CgroupParent == "" {
		cfg.CgroupParent = DefaultCgroupParent
	}
	if cfg.LogBytes == 0 {
		cfg.LogBytes = defaultLogBytes
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(s.Namespaced(context.Background()))
	t := &Tasks{stack: s, cfg: cfg, cgroups: machineCgroups(), uids: uids{base: cfg.UIDBase}, ctx: ctx, stop: stop}
	t.logs.dir, t.logs.limit = cfg.LogDir, cfg.LogBytes
	t.running.Go(func() { t.logs.rotate(ctx, cfg.Log) })
	return t
}

// Close stops watching; guests run on.
func (t *Tasks) Close() error {
	t.stop()
	t.running.Wait()
	return nil
}

// Ensure makes a guest run as c says. One that runs with c's digest is left as
// it is; one with another digest, or that ended, is replaced.
func (t *Tasks) Ensure(ctx context.Context, c Config) (Task, error) {
	if err := checkName(string(c.Name)); err != nil {
		return Task{}, err
	}
	ctx = t.stack.Namespaced(ctx)
	unlock, err := t.names.lock(ctx, string(c.Name))
	if err != nil {
		return Task{}, fmt.Errorf("wait for the turn of %s: %w", c.Name, err)
	}
	defer unlock()
	have, found, err := t.find(ctx, c.Name)
	if err != nil {
		return Task{}, err
	}
	if found && have.State == Running && have.Digest == c.Digest {
		t.follow(have.Name, have.Pid)
		return have, nil
	}
	// What ends here is no news, and what a killed attempt left goes first.
	t.exits.mute(c.Name)
	if err := t.discard(ctx, string(c.Name)); err != nil {
		return Task{}, err
	}
	task, err := t.create(ctx, c)
	if err != nil {
		return Task{}, joinUndo(err, t.trim())
	}
	return task, nil
}

// create starts a guest; whatever it made is undone, last first, on an error.
func (t *Tasks) create(ctx context.Context, c Config) (task Task, err error) {
	t.parents.RLock()
	defer t.parents.RUnlock()
	base, release, err := t.uids.take(ctx, t.usedRanges)
	if err != nil {
		return Task{}, err
	}
	defer release()
	defer func() {
		if err != nil {
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
			defer cancel()
			t.exits.mute(c.Name)
			err = joinUndo(err, t.discard(undo, string(c.Name)))
		}
	}()
	w := t.guestWalls(c, base)
	if err := t.state(string(c.Name)).fill(guestFiles(c), w.uid()); err != nil {
		return Task{}, fmt.Errorf("start %s: %w", c.Name, err)
	}
	if err := t.logs.open(string(c.Name)); err != nil {
		return Task{}, err
	}
	container, err := t.container(ctx, containerConfig{
		id: string(c.Name), image: c.Image, ociRuntime: c.Privileges.OCIRuntime, walls: w,
		labels: t.guestLabels(c, base),
		finish: func(w *walls, mounts []mount.Mount) error { return t.prepare(c, w, mounts) },
	})
	if err != nil {
		return Task{}, fmt.Errorf("start %s: %w", c.Name, err)
	}
	pid, err := startTask(ctx, container, cio.LogFile(t.logs.path(string(c.Name))))
	if err != nil {
		return Task{}, fmt.Errorf("start %s: %w", c.Name, err)
	}
	t.follow(c.Name, pid)
	info, err := container.Info(ctx, containerd.WithoutRefreshedMetadata)
	if err != nil {
		return Task{}, fmt.Errorf("start %s: %w", c.Name, err)
	}
	task = t.task(info)
	task.State, task.Pid = Running, pid
	return task, nil
}

func joinUndo(err, undo error) error {
	if undo == nil {
		return err
	}
	return fmt.Errorf("%w (and could not undo it: %w)", err, undo)
}

// guestWalls are the limits of c. Privileges left at zero get the defaults,
// and nothing asks for more open files than this process may grant.
func (t *Tasks) guestWalls(c Config, base uint32) walls {
	p := c.Privileges
	w := walls{
		dir: "/", hostname: c.Hostname, netNS: c.NetNS, cgroup: t.group(string(c.Name)),
		uidBase: base, userNS: p.UserNS && t.stack.UserNS(),
		memory: int64(c.VM.MemoryLimit) << 20, memSwap: t.cgroups.swapLimited(), cpus: c.VM.SchedulerLimit,
		pids: orDefault(p.Pids, defaultPids), files: grantFiles(orDefault(p.OpenFiles, defaultFiles)),
		tmpBytes: orDefault(p.TmpBytes, defaultTmpBytes), unified: t.cgroups.unified,
	}
	state := t.state(string(c.Name))
	w.mounts = append(state.etcMounts(), state.bind("home", guestHome), state.bind("run", guestRun))
	return w
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// guestFiles are the files of c's state folder.
func guestFiles(c Config) []guestFile {
	return append(append(etcFiles(c.Hostname), tlsFiles(c)...),
		guestFile{path: "run/" + guestConfig, data: envConfig(c.Name, c.Env), owned: true},
		guestFile{path: "home/" + cookieFile, data: []byte(c.Cookie.Reveal()), owned: true},
	)
}

func (t *Tasks) guestLabels(c Config, base uint32) map[string]string {
	labels := map[string]string{
		labelKind: kindGuest, labelDigest: c.Digest, labelUID: strconv.FormatUint(uint64(base), 10),
	}
	maps.Insert(labels, userLabels(c.Labels))
	return labels
}

// Relabel replaces the digest and the caller's labels of a guest, which runs on.
func (t *Tasks) Relabel(ctx context.Context, name app.Name, digest string, labels map[string]string) error {
	ctx = t.stack.Namespaced(ctx)
	unlock, err := t.names.lock(ctx, string(name))
	if err != nil {
		return fmt.Errorf("wait for the turn of %s: %w", name, err)
	}
	defer unlock()
	store := t.stack.Client().ContainerService()
	c, err := store.Get(ctx, string(name))
	if err != nil {
		return fmt.Errorf("relabel %s: %w", name, err)
	}
	maps.DeleteFunc(c.Labels, func(key, _ string) bool { return strings.HasPrefix(key, labelUser) })
	maps.Insert(c.Labels, userLabels(labels))
	c.Labels[labelDigest] = digest
	if _, err := store.Update(ctx, c, "labels"); err != nil {
		return fmt.Errorf("relabel %s: %w", name, err)
	}
	return nil
}

// Memory is what a guest uses in bytes, without file pages that the kernel can
// drop at once.
func (t *Tasks) Memory(_ context.Context, name app.Name) (uint64, error) {
	n, err := t.cgroups.memory(t.group(string(name)))
	if err != nil {
		return 0, fmt.Errorf("measure the memory of %s: %w", name, err)
	}
	return n, nil
}

// CPU is the CPU time that a guest has used since it started.
func (t *Tasks) CPU(_ context.Context, name app.Name) (time.Duration, error) {
	d, err := t.cgroups.cpu(t.group(string(name)))
	if err != nil {
		return 0, fmt.Errorf("measure the CPU time of %s: %w", name, err)
	}
	return d, nil
}

// group is the control group of a guest or job, the same in every hierarchy.
func (t *Tasks) group(id string) string { return filepath.Join(t.cfg.CgroupParent, id) }

func (t *Tasks) state(id string) stateDir { return stateDir(filepath.Join(t.cfg.StateDir, id)) }

func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
