package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// builderPids is how many processes and threads a build may have.
const builderPids = 1024

// compile fetches the source into the work folder, builds it in a builder
// guest and collects the release. It settles which builder b needs, and returns
// what the build took from outside.
func (s *Store) compile(ctx context.Context, f fetch, b *build, w work) (Release, []Dependency, error) {
	log := b.log
	log.enter(stepFetch)
	if b.recipe.prebuilt() {
		rel, err := s.unpackRelease(ctx, f, *b, w.dir, log)
		return rel, nil, err
	}
	note(log, "fetch %s", address(b.recipe))
	if err := f.extract(ctx, b.recipe, b.revision, w.src()); err != nil {
		return Release{}, nil, fmt.Errorf("fetch %s: %w", w.name, err)
	}
	project, err := s.prepare(*b, w, log)
	if err != nil {
		return Release{}, nil, fmt.Errorf("prepare %s: %w", w.name, err)
	}
	b.digest = b.digests[project.tool.builder]
	log.enter(stepResolve)
	note(log, "build %s with %s", b.revision, project.tool.name)
	px := s.proxy(*b, log)
	if h, ok := f.(hexSource); ok {
		own, err := h.own(ctx, b.recipe)
		if err != nil {
			return Release{}, nil, fmt.Errorf("fetch %s: %w", w.name, err)
		}
		px.took(own)
	}
	if err := s.run(ctx, w, project, px, log); err != nil {
		return Release{}, nil, fmt.Errorf("build %s: %w; the build log is %s", w.name, err, log.path)
	}
	log.enter(stepCheck)
	rel, err := s.collect(w, b.recipe, log)
	if err != nil {
		return Release{}, nil, fmt.Errorf("take over the release of %s: %w; the build log is %s", w.name, err, log.path)
	}
	lock, err := s.keepLock(*b, w, project.tool)
	return rel, settled(px.resolved(), lock), errors.Join(err, trimHexCache(s.path("hex", "tarballs"), maxHexCache))
}

// prepare makes the source ready for its tool.
func (s *Store) prepare(b build, w work, log io.Writer) (project, error) {
	p, err := prepare(w.src(), b.recipe, log)
	if err != nil {
		return project{}, err
	}
	if p.tool.builder == elixirBuilder && s.elixir.root == "" && s.builderFrom == "" {
		return project{}, errNoElixir
	}
	if p.tool.builder == elixirBuilder && s.elixir.hex == "" {
		return project{}, errNoHex
	}
	if err := s.furnish(filepath.Join(w.guest, "home")); err != nil {
		return project{}, err
	}
	p.locked, err = s.restoreLock(b, w, p.tool, log)
	return p, err
}

// proxy is the builder's way out.
func (s *Store) proxy(b build, log io.Writer) *proxy {
	name := string(b.recipe.Name)
	return &proxy{
		name: name, source: b.recipe.Source.URL, log: log, allowed: map[string]bool{}, hexes: s.hexes,
		mirror: mirror{dir: s.path("git", name), gits: s.gits, lock: new(sync.Mutex)},
	}
}

// run is the build itself, in a guest that reaches the proxy and nothing else.
func (s *Store) run(ctx context.Context, w work, p project, px *proxy, log *buildLog) error {
	image, err := s.ensureBuilder(ctx, p.tool.builder)
	if err != nil {
		return err
	}
	mounts := []Mount{{Source: w.guest, Target: "/build"}}
	if p.tool.builder == elixirBuilder {
		dir, err := s.ensureHex(ctx, image, log)
		if err != nil {
			return err
		}
		mounts = append(mounts, Mount{Source: dir, Target: "/" + archivesPath, ReadOnly: true})
	}
	px.allow(p.remotes...)
	exit, err := s.sandbox.Run(ctx, Job{
		Name: w.job(), Image: image.ref, Args: p.tool.args(p), Env: append(builderEnv(), p.env...), Dir: "/build/src",
		Mounts: mounts, Memory: s.memory, Pids: builderPids, Timeout: s.timeout,
		ProxyPort: proxyPort, Proxy: px.serve, Log: log,
	})
	if full := w.full(); full && (err != nil || exit != 0) {
		return fmt.Errorf("it filled its disk of %d MB: %w", w.disk>>20, errors.Join(ErrDisk, err))
	}
	if err != nil {
		return err
	}
	if exit != 0 {
		return fmt.Errorf("%s ended with status %d: %s", p.tool.name, exit, px.trouble(log.lastWords()))
	}
	return nil
}

// ErrDisk says that a build wrote more than it may.
var ErrDisk = errors.New("no space left for this build")

// builderEnv is the environment of every build. Mix and Hex keep what they
// make in the home that goes with the build.
func builderEnv() []string {
	return append([]string{
		"PATH=/usr/bin", "HOME=/build/home", "TMPDIR=/tmp", "LANG=C.UTF-8", "TERM=dumb", "TZ=UTC", "SOURCE_DATE_EPOCH=0",
		"REBAR_COLOR=none", fmt.Sprintf("HEX_CDN=http://127.0.0.1:%d/hex/hexpm", proxyPort),
		"MIX_ENV=prod", "MIX_HOME=/build/home/.mix", "HEX_HOME=/build/home/.hex", "MIX_ARCHIVES=/" + archivesPath,
		"MIX_REBAR3=/" + rebarPath,
	}, gitEnv(proxyPort)...)
}

// collect finds the one release that the build made. The builder wrote these
// folders: they are opened step by step, and no link leads out of them.
func (s *Store) collect(w work, r Recipe, log io.Writer) (Release, error) {
	root, err := os.OpenRoot(w.guest)
	if err != nil {
		return Release{}, err
	}
	defer root.Close() //nolint:errcheck // opened to read
	const dir = "src/_build/prod/rel"
	name, err := releaseName(root, dir, string(r.Name))
	if err != nil {
		return Release{}, err
	}
	from, err := root.OpenRoot(dir + "/" + name)
	if err != nil {
		return Release{}, err
	}
	defer from.Close() //nolint:errcheck // opened to read
	return collect(from, w.release(), s.otp, log)
}

// releaseName is the app's own name when there is such a release, else that
// of the only one.
func releaseName(root *os.Root, dir, app string) (string, error) {
	all, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return "", fmt.Errorf("look for a release: %w", err)
	}
	for _, d := range all {
		if d.Name() == app {
			return app, nil
		}
	}
	if len(all) != 1 {
		return "", fmt.Errorf("look for a release: there are %d, and none is called %s", len(all), app)
	}
	return all[0].Name(), nil
}
