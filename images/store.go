package images

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"beamsandbox/reconcile/app"
)

// Config is what a Store is told once; Client, Root and Sandbox are required.
type Config struct {
	Client  *containerd.Client
	Root    string // releases, build logs, copies of dependencies: /var/lib/sandboxd/images
	Erlang  string // root folder of Erlang/OTP; "": the one whose erl is on PATH
	Rebar3  string // rebar3's escript; "": beside this program, else on PATH
	Sandbox Sandbox
	// GitAuth gives the credentials for a git address; nil: go-git's defaults.
	GitAuth func(address string) (transport.AuthMethod, error)
	// RegistryAuth gives the credentials for a registry's host, "" for none;
	// nil: images are pulled and pushed without any.
	RegistryAuth func(host string) (user, secret string, err error)

	// Builder is the image that builds run in: "registry.example/builder@sha256:…",
	// or an archive, "file:///…". "": one made of the machine's own files.
	Builder string

	Hex    []HexRepository // asked in this order; none: packages of Hex are refused
	Elixir string          // root folder of Elixir; "": the one whose elixir is on PATH, if any
	// HexSource is the source of Hex for mix, Debian's erlang-hex tarball;
	// "": erlang-hex.tar.gz beside this program, if it is there.
	HexSource string

	Mesh    Mesh          // nil: the host has no Macula
	Cache   int64         // bytes that all images together may hold, 0: no bound
	Memory  int64         // bytes that a build may use, 0: 1 GiB
	Disk    int64         // bytes that a build may write, 0: 4 GiB
	Timeout time.Duration // how long a build may take, 0: 10 minutes
	Log     *slog.Logger
}

// A Store makes images and keeps them in containerd: for each app the newest,
// what runs, and the last one that was well before it.
type Store struct {
	depot   depot
	root    string
	otp     otp
	rebar3  string
	sandbox Sandbox
	// builderFrom is the configured builder image's address, "" when it is made.
	builderFrom string
	gits        gits
	oci         ociHosts
	mesh        Mesh
	cache       int64
	hexes       hexRegistries
	elixir      elixir
	memory      int64
	disk        int64
	timeout     time.Duration
	log         *slog.Logger

	builderLock sync.Mutex
	hexLock     sync.Mutex // of the folder with Hex for mix
	planLock    sync.Mutex
	plans       map[string]builder // by kind, see planBuilder
	live        *live
	mu          sync.Mutex
	apps        map[app.Name]*sync.Mutex
}

// ErrOTP says that code for the host VM would be built by another release of
// Erlang/OTP than the host VM runs.
var ErrOTP = errors.New("another release of Erlang/OTP")

// kept is how many releases of one app are kept: the one in use and the one
// before it.
const kept = 2

// New looks for the machine's Erlang and rebar3 and opens a store.
func New(c Config) (*Store, error) {
	if c.Erlang == "" {
		root, err := FindErlang()
		if err != nil {
			return nil, err
		}
		c.Erlang = root
	}
	o, err := openOTP(c.Erlang)
	if err != nil {
		return nil, err
	}
	if err := checkBuilderAddress(c.Builder); err != nil {
		return nil, err
	}
	if c.Rebar3 == "" && c.Builder == "" {
		if c.Rebar3, err = findRebar3(); err != nil {
			return nil, err
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		depot: depot{c.Client}, root: c.Root, otp: o, rebar3: c.Rebar3, sandbox: c.Sandbox, gits: gits{c.GitAuth}, oci: ociHosts{c.RegistryAuth}, mesh: c.Mesh, cache: c.Cache,
		memory: c.Memory, disk: c.Disk, timeout: c.Timeout, log: c.Log, apps: map[app.Name]*sync.Mutex{},
		elixir: findElixir(elixir{root: c.Elixir, hex: c.HexSource}), builderFrom: c.Builder, plans: map[string]builder{}, live: newLive(),
	}
	if s.hexes, err = openHexes(c.Hex, s.path("hex")); err != nil {
		return nil, err
	}
	if s.disk == 0 {
		s.disk = 4 << 30
	}
	if s.memory == 0 {
		s.memory = 1 << 30
	}
	if s.timeout == 0 {
		s.timeout = 10 * time.Minute
	}
	// What a killed process left half done is of no use.
	if err := sweepWork(s.path("work")); err != nil {
		return nil, fmt.Errorf("clear unfinished builds: %w", err)
	}
	return s, nil
}

// path is a place below the store's own folder.
func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.root}, parts...)...)
}

// lock makes the calls for one app wait for each other.
func (s *Store) lock(name app.Name) (unlock func()) {
	s.mu.Lock()
	l := s.apps[name]
	if l == nil {
		l = new(sync.Mutex)
		s.apps[name] = l
	}
	s.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// OTP is the release of the machine's Erlang, "25": what images hold and
// what code is compiled by.
func (s *Store) OTP() string { return s.otp.release }

// Ensure returns the image, or the code folders, of what the recipe's source
// holds right now. It fetches and builds at most once for each state of the
// source: a branch costs one question to its remote, a commit none.
func (s *Store) Ensure(ctx context.Context, r Recipe) (Image, error) {
	return s.ensureSeen(ctx, r, nil)
}

// ensureSeen is Ensure with somebody who watches the build, if there is one.
func (s *Store) ensureSeen(ctx context.Context, r Recipe, seen func(*buildLog)) (Image, error) {
	i, err := s.ensure(ctx, r, seen)
	if err == nil && !i.Cached {
		s.bound(ctx, i.Ref)
	}
	return i, err
}

func (s *Store) ensure(ctx context.Context, r Recipe, seen func(*buildLog)) (Image, error) {
	if r.Code && r.OTP != "" && r.OTP != s.otp.release {
		return Image{}, fmt.Errorf("build %s for the host VM: %w: the host VM runs OTP %s, %s holds OTP %s; set erlang to the host VM's", r.Name, ErrOTP, r.OTP, s.otp.root, s.otp.release)
	}
	if r.Source.Type == app.SourceImage {
		return s.ensureImage(ctx, r)
	}
	f, err := s.fetchFor(r)
	if err != nil {
		return Image{}, err
	}
	defer s.lock(r.Name)()
	b, err := s.plan(ctx, r, f)
	if err != nil {
		if i, ok := s.last(ctx, r); ok {
			s.log.Warn("source does not answer, the last build is used", "app", r.Name, "revision", i.Revision, "err", err)
			return i, nil
		}
		return Image{}, fmt.Errorf("fetch %s: %w", r.Name, err)
	}
	if i, ok, err := s.cached(ctx, b); ok || err != nil {
		return i, err
	}
	i, err := s.make(ctx, f, b, seen)
	if err != nil {
		return Image{}, err
	}
	return i, s.prune(ctx, r.Name)
}

// last finds the newest build of the same recipe for when a git remote does
// not answer: a machine that boots without a network starts what it had.
func (s *Store) last(ctx context.Context, r Recipe) (Image, bool) {
	if r.Source.Type != app.SourceGit && r.Source.Type != app.SourceImage || ctx.Err() != nil {
		return Image{}, false
	}
	if r.Code {
		all, err := s.releases(r.Name)
		n := slices.IndexFunc(all, func(have record) bool { return have.Code && have.Recipe == r.digest() })
		if err != nil || n < 0 {
			return Image{}, false
		}
		return all[n].image(s.otp, true), true
	}
	i, ok, err := s.depot.find(ctx, map[string]string{labelApp: string(r.Name), labelRecipe: r.digest()})
	if err != nil || !ok || !s.depot.complete(ctx, i) || s.use(ctx, i) != nil {
		return Image{}, false
	}
	img, err := s.describe(ctx, i)
	return img, err == nil
}

// finish makes of a built release what the recipe asks for.
func (s *Store) finish(ctx context.Context, b build) (Image, error) {
	if b.recipe.Code {
		return s.code(b)
	}
	return s.image(ctx, b)
}

// Remove deletes the app's images, releases, logs and copies of dependencies;
// its newest image stays as a cache that List does not show. Snapshots of
// running guests stay until they are removed.
func (s *Store) Remove(ctx context.Context, name app.Name) error {
	if name == "" || name != app.Name(filepath.Base(string(name))) {
		return fmt.Errorf("remove images of %q: it is not the name of an app", name)
	}
	return errors.Join(s.remove(ctx, name), s.forget(ctx))
}

func (s *Store) remove(ctx context.Context, name app.Name) error {
	defer s.lock(name)()
	running, err := s.depot.running(ctx)
	if err != nil {
		return err
	}
	errs := []error{
		s.letGoOf(ctx, name, ""),
		s.discard(ctx, name, 1, true, func(ref string, newer int) bool { return newer == 0 || running[ref] }),
		s.retire(ctx, name),
	}
	for _, kind := range []string{"releases", "logs", "git", "locks"} {
		errs = append(errs, os.RemoveAll(s.path(kind, string(name))))
		_ = os.Remove(s.path(kind)) // it stays while another app has something there
	}
	return errors.Join(errs...)
}

// List returns what is kept, the newest of each app first: images by what
// containerd holds, code by the folders that are there.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	all, err := s.depot.list(ctx)
	if err != nil {
		return nil, err
	}
	var out []Image
	for _, i := range all {
		if i.Labels[labelApp] == "" || i.Labels[labelRemoved] != "" {
			continue
		}
		img, err := s.describe(ctx, i)
		if err != nil {
			return nil, err
		}
		out = append(out, img)
	}
	code, err := s.listCode()
	return append(out, code...), err
}

// prune removes an app's images that are not held, and all but its newest
// releases.
func (s *Store) prune(ctx context.Context, name app.Name) error {
	held, err := s.hold(ctx, name)
	if err != nil {
		return err
	}
	return s.discard(ctx, name, kept, false, func(ref string, _ int) bool { return held[ref] })
}

// discard removes the images of an app that keep does not want, by name and
// by how many newer ones there are, and all but the newest releases.
func (s *Store) discard(ctx context.Context, name app.Name, keepReleases int, wait bool, keep func(ref string, newer int) bool) error {
	all, err := s.depot.list(ctx)
	if err != nil {
		return err
	}
	var old []string
	newer := 0
	for _, i := range all {
		if i.Labels[labelApp] != string(name) {
			continue
		}
		if !keep(i.Name, newer) {
			old = append(old, i.Name)
		}
		newer++
	}
	releases, err := s.releases(name)
	if err != nil {
		return err
	}
	errs := []error{s.depot.remove(ctx, wait, old...)}
	for _, r := range releases[min(keepReleases, len(releases)):] {
		errs = append(errs, os.RemoveAll(r.dir))
	}
	return errors.Join(errs...)
}

// releases lists an app's built releases, the last used first.
func (s *Store) releases(name app.Name) ([]record, error) {
	dirs, err := filepath.Glob(s.path("releases", string(name), "*", recordFile))
	if err != nil {
		return nil, fmt.Errorf("list the releases of %s: %w", name, err)
	}
	var out []record
	for _, file := range dirs {
		r, err := readRecord(filepath.Dir(file))
		if err != nil {
			continue // unreadable: the next build replaces it
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b record) int { return b.used.Compare(a.used) })
	return out, nil
}
