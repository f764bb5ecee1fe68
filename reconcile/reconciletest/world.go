package reconciletest

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing/fstest"
	"time"

	"beamsandbox/images"
	"beamsandbox/netns"
	"beamsandbox/reconcile"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/git"
	"beamsandbox/runtime"
)

// HostNode and Hostname are what guests of a World find.
const (
	HostNode = "demo_web@myhost"
	Hostname = "myhost"
)

// World is a host in memory: rooms, a host VM, a repository and cookies that
// behave towards each other like the real ones. A guest whose gateway member
// is missing exits; one that boots registers its name; the host VM connects
// to registered guests; init:stop ends them.
type World struct {
	Images   *Room[images.Recipe, images.Image]
	Networks *Networks
	Nodes    *Nodes
	Tasks    *Tasks
	Embedded *Room[runtime.EmbeddedConfig, runtime.EmbeddedApp]
	Host     *HostVM
	Repo     *Repo
	Cookies  *Cookies
	Diary    *Diary

	guests guests
	known  known
}

// NewWorld returns an empty host whose host VM is up.
func NewWorld() *World {
	w := &World{Diary: &Diary{}, Repo: &Repo{}, Cookies: &Cookies{}}
	w.known.set(HostNode, ClusterCookie)
	w.guests.boot = 100 * time.Millisecond
	w.Images = &Room[images.Recipe, images.Image]{Kind: "images", Diary: w.Diary,
		Name: func(r images.Recipe) app.Name { return r.Name }, Make: makeImage}
	w.Networks = &Networks{world: w}
	w.Networks.Room = &Room[netns.Config, netns.Network]{Kind: "networks", Diary: w.Diary,
		Name: func(c netns.Config) app.Name { return c.Name }, Make: w.Networks.make,
		Change: w.Networks.change}
	w.Embedded = &Room[runtime.EmbeddedConfig, runtime.EmbeddedApp]{Kind: "embedded", Diary: w.Diary,
		Name: func(c runtime.EmbeddedConfig) app.Name { return c.Name }, Make: makeEmbedded}
	w.Nodes = newNodes(w)
	w.Tasks = newTasks(w)
	w.Host = &HostVM{world: w, up: true}
	w.Embedded.Hook = func(context.Context, string, app.Name) error { return w.Host.reachable() }
	return w
}

// Rooms are the rooms of the world as the reconciler takes them.
func (w *World) Rooms() reconcile.Rooms {
	return reconcile.Rooms{Images: w.Images, Networks: w.Networks, Nodes: w.Nodes, Tasks: w.Tasks, Embedded: embedded{w}}
}

// embedded is the room of the host VM, which can only be asked while it is up.
type embedded struct{ w *World }

func (e embedded) Ensure(ctx context.Context, c runtime.EmbeddedConfig) (runtime.EmbeddedApp, error) {
	return e.w.Embedded.Ensure(ctx, c)
}

func (e embedded) Remove(ctx context.Context, n app.Name) error { return e.w.Embedded.Remove(ctx, n) }

func (e embedded) List(ctx context.Context) ([]runtime.EmbeddedApp, error) {
	if err := e.w.Host.reachable(); err != nil {
		return nil, err
	}
	return e.w.Embedded.List(ctx)
}

func makeImage(r images.Recipe) images.Image {
	img := images.Image{Name: r.Name, Ref: fmt.Sprintf("local/%s:%s", r.Name, r.Version), Revision: "rev-" + r.Version,
		Release: images.Release{Name: string(r.Name), Version: r.Version, ERTS: "13.1.5", Root: "/app"}}
	if r.Code {
		img.Ref, img.CodePaths = "", []string{"/code/" + string(r.Name)}
	}
	return img
}

func makeEmbedded(c runtime.EmbeddedConfig) runtime.EmbeddedApp {
	return runtime.EmbeddedApp{Name: c.Name, Version: c.Version, Digest: c.Digest, Running: true, CodePaths: c.CodePaths}
}

// Networks is the netns room in memory.
type Networks struct {
	*Room[netns.Config, netns.Network]
	world *World
	mu    sync.Mutex
	last  byte
}

func (n *Networks) make(c netns.Config) netns.Network {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last += 2
	return netns.Network{Name: c.Name, Path: "/run/netns/" + string(c.Name), Link: "bs-" + string(c.Name),
		Host: netip.AddrFrom4([4]byte{10, 231, 0, n.last}), Guest: netip.AddrFrom4([4]byte{10, 231, 0, n.last + 1}), Flows: c.Flows}
}

func (n *Networks) change(_, c netns.Config) netns.Network {
	s := n.world.Networks.items[c.Name] // Ensure holds the lock
	s.state.Flows = c.Flows
	return s.state
}

// Listen returns a file that stands for a socket.
func (n *Networks) Listen(context.Context, app.Name, netip.AddrPort) (*os.File, error) {
	return os.Open(os.DevNull)
}

// Drops returns one counter.
func (n *Networks) Drops(_ context.Context, name app.Name) ([]netns.Drops, error) {
	if _, ok := n.Get(name); !ok {
		return nil, fs.ErrNotExist
	}
	return []netns.Drops{{Rule: "guest-egress", Packets: 3, Bytes: 180}, {Rule: "spoofed"}}, nil
}

// Repo is a repository in memory.
type Repo struct {
	mu    sync.Mutex
	count int
	tree  fstest.MapFS
	err   error
}

// Commit makes files (by path) the newest commit.
func (r *Repo) Commit(files map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	r.err = nil
	r.tree = fstest.MapFS{}
	for name, text := range files {
		r.tree[filepath.ToSlash(name)] = &fstest.MapFile{Data: []byte(text), Mode: 0o444}
	}
}

// Fail makes Fetch fail until the next Commit.
func (r *Repo) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Fetch returns the newest commit.
func (r *Repo) Fetch(ctx context.Context) (git.Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return git.Commit{}, r.err
	}
	return git.Commit{Hash: fmt.Sprintf("%040x", r.count), When: time.Now(), Tree: r.tree}, ctx.Err()
}

// Last returns the newest commit also when Fetch fails.
func (r *Repo) Last(context.Context) (git.Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return git.Commit{Hash: fmt.Sprintf("%040x", r.count), When: time.Now(), Tree: r.tree}, nil
}
