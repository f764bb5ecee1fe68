//go:build integration

package images_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"beamsandbox/images"
	"beamsandbox/netns"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime/stack"
)

// guests runs jobs in containers of the test's own containerd, each in a
// sealed network namespace.
type guests struct {
	stack *stack.Stack
	nets  *netns.Host
	jobs  int
}

func (g *guests) Run(ctx context.Context, job images.Job) (exit int, err error) {
	g.jobs++
	name := app.Name(strings.ReplaceAll(job.Name, "-", "_"))
	network, err := g.nets.Ensure(ctx, netns.Config{Name: name, Sealed: true})
	if err != nil {
		return 0, err
	}
	defer g.nets.Remove(context.WithoutCancel(ctx), name)
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
	return g.container(g.stack.Namespaced(ctx), job, network.Path)
}

func (g *guests) container(ctx context.Context, job images.Job, path string) (int, error) {
	image, err := g.stack.Client().GetImage(ctx, job.Image)
	if err != nil {
		return 0, err
	}
	if err := image.Unpack(ctx, g.stack.Snapshotter()); err != nil {
		return 0, err
	}
	opts := []oci.SpecOpts{
		oci.WithImageConfig(image), oci.WithProcessArgs(job.Args...), oci.WithEnv(job.Env), oci.WithProcessCwd(job.Dir),
		oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: path}), // "": a new one
		oci.WithUIDGID(1000, 1000), oci.WithCapabilities(nil), oci.WithMemoryLimit(uint64(job.Memory)), oci.WithPidsLimit(job.Pids),
	}
	for _, m := range job.Mounts {
		opts = append(opts, oci.WithMounts([]specs.Mount{{Type: "bind", Source: m.Source, Destination: m.Target, Options: []string{"rbind", "rw"}}}))
	}
	c, err := g.stack.Client().NewContainer(ctx, job.Name, containerd.WithNewSnapshot(job.Name, image), containerd.WithNewSpec(opts...),
		containerd.WithRuntime("io.containerd.runc.v2", g.stack.RuntimeOptions("io.containerd.runc.v2")))
	if err != nil {
		return 0, err
	}
	defer c.Delete(context.WithoutCancel(ctx), containerd.WithSnapshotCleanup)
	task, err := c.NewTask(ctx, cio.NewCreator(cio.WithStreams(nil, job.Log, job.Log)))
	if err != nil {
		return 0, err
	}
	defer task.Delete(context.WithoutCancel(ctx), containerd.WithProcessKill)
	done, err := task.Wait(ctx)
	if err != nil {
		return 0, err
	}
	if err := task.Start(ctx); err != nil {
		return 0, err
	}
	select {
	case status := <-done:
		task.IO().Wait()
		return int(status.ExitCode()), status.Error()
	case <-time.After(job.Timeout):
		return 0, fmt.Errorf("run %s: time is up", job.Name)
	}
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
	t.Cleanup(func() { os.RemoveAll(run) })
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
	g := &guests{stack: s, nets: nets}
	return g, images.Config{
		Client: s.Client(), Root: filepath.Join(t.TempDir(), "images"), Rebar3: filepath.Join(bin, "rebar3"), Sandbox: g,
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
