//go:build integration

package images_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"beamsandbox/images"
	"beamsandbox/netns"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime"
	"beamsandbox/runtime/stack"
)

// guests runs jobs behind the real walls: tasks of the test's own containerd,
// each in a sealed network namespace.
type guests struct {
	stack *stack.Stack
	tasks *runtime.Tasks
	nets  *netns.Host
	jobs  int
	image string // of the last job
}

func (g *guests) Run(ctx context.Context, job images.Job) (exit int, err error) {
	g.jobs++
	g.image = job.Image
	name := app.Name(strings.ReplaceAll(job.Name, "-", "_"))
	network, err := g.nets.Ensure(ctx, netns.Config{Name: name, Sealed: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, g.nets.Remove(context.WithoutCancel(ctx), name)) }()
	f, err := g.nets.Listen(ctx, name, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), job.ProxyPort))
	if err != nil {
		return 0, err
	}
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- job.Proxy(ctx, l) }()
	defer func() { cancel(); <-served }()
	return g.task(ctx, job, network.Path)
}

func (g *guests) task(ctx context.Context, job images.Job, path string) (int, error) {
	var mounts []runtime.JobMount
	for _, m := range job.Mounts {
		mounts = append(mounts, runtime.JobMount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	return g.tasks.RunJob(ctx, runtime.JobConfig{
		Name: job.Name, Image: job.Image, Args: job.Args, Env: job.Env, Dir: job.Dir, Mounts: mounts,
		Memory: job.Memory, Pids: job.Pids, NetNS: path, Timeout: job.Timeout, Log: job.Log,
	})
}

// rooms opens the parts that a build needs, all of them private to the test.
func rooms(t *testing.T) (*guests, images.Config) {
	t.Helper()
	bin, err := filepath.Abs("../bin")
	if err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp("/tmp", "img")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(run); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(run, 0o711); err != nil {
		t.Fatal(err)
	}
	s, err := stack.Open(t.Context(), stack.Config{Bin: bin, Root: t.TempDir(), RunDir: filepath.Join(run, "r")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	nets, err := netns.New(netns.Options{RunDir: filepath.Join(run, "n"), Pool: netip.MustParsePrefix("10.234.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	tasks := runtime.NewTasks(s, runtime.TasksConfig{
		StateDir: filepath.Join(run, "s"), LogDir: t.TempDir(), UIDBase: 1_200_000_000,
		CgroupParent: "/beamsandbox-images-test-" + filepath.Base(run),
	})
	t.Cleanup(func() {
		if err := tasks.Close(); err != nil {
			t.Error(err)
		}
	})
	g := &guests{stack: s, tasks: tasks, nets: nets}
	return g, images.Config{
		Client: s.Client(), Root: filepath.Join(t.TempDir(), "images"), Rebar3: filepath.Join(bin, "rebar3"), Sandbox: g,
		HexSource: filepath.Join(bin, "erlang-hex.tar.gz"),
	}
}

// commitAll commits everything in dir on branch main.
func commitAll(t *testing.T, dir string) {
	t.Helper()
	repo, err := git.PlainOpen(dir)
	if err != nil {
		repo, err = git.PlainInitWithOptions(dir, &git.PlainInitOptions{InitOptions: git.InitOptions{DefaultBranch: plumbing.Main}})
	}
	if err != nil {
		t.Fatal(err)
	}
	work, err := repo.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	if err := work.AddGlob("."); err != nil {
		t.Fatal(err)
	}
	who := &object.Signature{Name: "t", Email: "t@example.org", When: time.Unix(1, 0)}
	if _, err := work.Commit("c", &git.CommitOptions{Author: who}); err != nil {
		t.Fatal(err)
	}
}
