// Package stack brings the containerd that guests run under: our own, pinned
// and private, or the machine's.
//
// Our own is a process in a session of its own with a private root, state and
// socket. It outlives the daemon that started it: the next Open finds it by its
// pid file, its command line, its version and its configuration, and adopts it.
// Guests outlive both, since each hangs on its own shim.
package stack

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// DefaultNamespace is the containerd namespace that is used when none is given.
const DefaultNamespace = "beamsandbox"

// OCIRuntime is the containerd runtime that tasks use when policy names none.
const OCIRuntime = "io.containerd.runc.v2"

// maxSocketPath keeps containerd.sock.ttrpc below the 107 bytes that unix(7)
// allows for a socket path.
const maxSocketPath = 80

// openTimeout bounds how long a containerd may take until it answers.
const openTimeout = 30 * time.Second

// Config says which containerd to use.
type Config struct {
	Bin       string // folder of our containerd, containerd-shim-runc-v2 and runc
	Root      string // images, snapshots and metadata: kept over a reboot
	RunDir    string // state, sockets and pid file: lost with a reboot; a short path
	Address   string // socket of the machine's containerd; "": our own
	Namespace string // "": DefaultNamespace
	Log       *slog.Logger
}

// Stack is a containerd that answers.
type Stack struct {
	cfg         Config
	client      *containerd.Client
	version     string
	snapshotter string
	remaps      bool

	proc *daemon // nil: the machine's
	stop context.CancelFunc
	done sync.WaitGroup
}

// Open returns a running stack. It starts or adopts our own containerd, or
// connects to the one at cfg.Address, which must be 1.6, 1.7 or 2.x.
func Open(ctx context.Context, cfg Config) (*Stack, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = DefaultNamespace
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Stack{cfg: cfg}
	var err error
	if cfg.Address == "" {
		err = s.openOwn(ctx)
	} else {
		err = s.openExternal(ctx)
	}
	if err != nil {
		_ = s.closeClient() // err tells more
		return nil, err
	}
	return s, nil
}

// Client speaks to containerd, in our namespace.
func (s *Stack) Client() *containerd.Client { return s.client }

// Version is what containerd says of itself, "2.4.2+unknown".
func (s *Stack) Version() string { return s.version }

// Snapshotter is the one that guests' file systems are made with.
func (s *Stack) Snapshotter() string { return s.snapshotter }

// UserNS reports whether guests can have a user namespace of their own: the
// snapshotter shifts the owners of files by itself (containerd 2.0, kernel
// 5.19) and the kernel's limit lets them be made. Else each has a uid of its own.
func (s *Stack) UserNS() bool { return s.remaps }

// RunDir is the folder for state that a reboot may lose.
func (s *Stack) RunDir() string { return s.cfg.RunDir }

// Namespaced returns ctx for calls that take the namespace from it.
func (s *Stack) Namespaced(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, s.cfg.Namespace)
}

// RuntimeOptions are the options of the OCI runtime called name: for runc our
// own binary and state folder, unless the machine's containerd is used.
func (s *Stack) RuntimeOptions(name string) any {
	if s.proc == nil || name != OCIRuntime {
		return nil
	}
	return &runcoptions.Options{
		BinaryName: filepath.Join(s.cfg.Bin, "runc"),
		Root:       filepath.Join(s.cfg.RunDir, "runc"),
	}
}

// Close lets go of containerd and leaves it running, with its guests.
func (s *Stack) Close() error {
	if s.stop != nil {
		s.stop()
	}
	s.done.Wait()
	return s.closeClient()
}

// Stop ends the containerd that is ours and waits until it is gone; guests and
// their shims live on. The machine's containerd is only let go of.
func (s *Stack) Stop(ctx context.Context) error {
	err := s.Close()
	if s.proc == nil {
		return err
	}
	return s.proc.end(ctx)
}

func (s *Stack) closeClient() error {
	if s.client == nil {
		return nil
	}
	return s.client.Close()
}

// connect makes the client, waits until containerd answers and asks what it is.
func (s *Stack) connect(ctx context.Context, address string) error {
	if s.client == nil {
		client, err := containerd.New(address, containerd.WithDefaultNamespace(s.cfg.Namespace), containerd.WithTimeout(time.Second))
		if err != nil {
			return fmt.Errorf("connect to containerd at %s: %w", address, err)
		}
		s.client = client
	}
	// A connection that failed is otherwise tried again only after a pause.
	if conn, ok := s.client.Conn().(interface{ ResetConnectBackoff() }); ok {
		conn.ResetConnectBackoff()
	}
	v, err := s.client.Version(ctx)
	if err != nil {
		return fmt.Errorf("ask containerd at %s for its version: %w", address, err)
	}
	s.version = v.Version
	return nil
}

// probe chooses the snapshotter: overlayfs where the file system carries it,
// else plain copies.
func (s *Stack) probe(ctx context.Context) error {
	for _, name := range []string{"overlayfs", "native"} {
		caps, err := s.client.GetSnapshotterCapabilities(ctx, name)
		if err != nil || !s.snapshotterWorks(ctx, name) {
			continue
		}
		s.snapshotter = name
		s.remaps = slices.Contains(caps, "remap-ids") && makesUserNamespaces(maxUserNamespaces)
		if !s.remaps {
			s.cfg.Log.Warn("guests get user ids of their own, but no user namespace", "snapshotter", name, "limit", maxUserNamespaces)
		}
		return nil
	}
	return fmt.Errorf("choose a snapshotter of containerd at %s: neither overlayfs nor native is loaded", s.address())
}

func (s *Stack) snapshotterWorks(ctx context.Context, name string) bool {
	_, err := s.client.SnapshotService(name).Usage(ctx, "beamsandbox-probe")
	return isNotFound(err)
}

func (s *Stack) address() string {
	if s.cfg.Address != "" {
		return s.cfg.Address
	}
	return filepath.Join(s.cfg.RunDir, "containerd.sock")
}

// openOwn adopts or starts our containerd and keeps it running.
func (s *Stack) openOwn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := s.prepare(); err != nil {
		return err
	}
	s.proc = &daemon{
		bin: s.cfg.Bin, dir: s.cfg.RunDir, config: filepath.Join(s.cfg.RunDir, "containerd.toml"),
		log: filepath.Join(s.cfg.Root, "containerd.log"), socket: s.address(),
	}
	if err := s.proc.ensure(ctx, render(s.cfg), s.answers); err != nil {
		return err
	}
	if err := s.probe(ctx); err != nil {
		return err
	}
	watch, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.done.Go(func() { s.keep(watch) })
	return nil
}

func (s *Stack) answers(ctx context.Context) (string, error) {
	err := s.connect(ctx, s.address())
	return s.version, err
}

// prepare checks what a person can get wrong before anything is started.
func (s *Stack) prepare() error {
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "runc"} {
		path := filepath.Join(s.cfg.Bin, name)
		if info, err := os.Stat(path); err != nil || info.Mode()&0o111 == 0 {
			return fmt.Errorf("find %s: not an executable file: run make build", path)
		}
	}
	if len(s.address()) > maxSocketPath {
		return fmt.Errorf("use run directory %s: socket paths would be too long for unix(7): choose a shorter one", s.cfg.RunDir)
	}
	for _, dir := range []string{s.cfg.Root, s.cfg.RunDir} {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("use directory %q: must be an absolute path", dir)
		}
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("make a directory of containerd: %w", err)
		}
	}
	return traversable(s.cfg.RunDir)
}

// keep starts our containerd again whenever it ends, until ctx does.
func (s *Stack) keep(ctx context.Context) {
	for {
		if err := s.proc.wait(ctx); err != nil {
			return // ctx ended
		}
		s.cfg.Log.Warn("containerd ended; starting it again", "pid", s.proc.pid, "log", s.proc.log)
		if !s.restart(ctx) {
			return
		}
	}
}

// restart tries until containerd answers again; false when ctx ended.
func (s *Stack) restart(ctx context.Context) bool {
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 10*time.Second) {
		try, cancel := context.WithTimeout(ctx, openTimeout)
		err := s.proc.ensure(try, render(s.cfg), s.answers)
		cancel()
		if err == nil {
			s.cfg.Log.Info("containerd answers again", "pid", s.proc.pid)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.cfg.Log.Error("start containerd again", "err", err, "retry_in", delay)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(delay):
		}
	}
}
