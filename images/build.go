package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	core "github.com/containerd/containerd/v2/core/images"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"beamsandbox/reconcile/app"
)

// A build is one recipe at one revision of its source.
type build struct {
	recipe   Recipe
	revision string
	digest   string // of everything the build reads
	reused   bool   // nothing was fetched or built
}

// buildFormat changes when the same inputs give another image than before.
const buildFormat = "1"

// builderPids is how many processes and threads a build may have.
const builderPids = 1024

// plan resolves the source and digests what the build will read.
func (s *Store) plan(ctx context.Context, r Recipe, f fetch) (build, error) {
	revision, err := f.resolve(ctx, r)
	if err != nil {
		return build{}, err
	}
	b, _, err := s.planBuilder()
	if err != nil {
		return build{}, err
	}
	inputs, err := json.Marshal([]any{buildFormat, r.digest(), revision, b.key, s.otp.release, s.otp.erts})
	if err != nil {
		return build{}, fmt.Errorf("digest the inputs: %w", err)
	}
	sum := sha256.Sum256(inputs)
	return build{recipe: r, revision: revision, digest: hex.EncodeToString(sum[:])}, nil
}

// cached finds what an earlier build of the same inputs left.
func (s *Store) cached(ctx context.Context, b build) (Image, bool, error) {
	if b.recipe.Code {
		r, err := readRecord(s.releaseDir(b))
		if err != nil || r.Build != b.digest {
			return Image{}, false, nil
		}
		b.reused = true
		i, err := s.code(b)
		return i, err == nil, err
	}
	labels := map[string]string{labelApp: string(b.recipe.Name), labelBuild: b.digest}
	i, ok, err := s.depot.find(ctx, labels)
	if err != nil || !ok || !s.depot.complete(ctx, i) {
		return Image{}, false, err
	}
	// The image in use must be the last that prune would remove.
	if err := s.use(ctx, i); err != nil {
		return Image{}, false, err
	}
	img, err := s.describe(ctx, i)
	img.Cached = true
	return img, err == nil, err
}

// releaseDir is where the build's release is kept.
func (s *Store) releaseDir(b build) string {
	return s.path("releases", string(b.recipe.Name), b.digest[:16])
}

// release leaves the build's release in its folder, built if need be.
func (s *Store) release(ctx context.Context, f fetch, b *build) error {
	dir := s.releaseDir(*b)
	if r, err := readRecord(dir); err == nil && r.Build == b.digest {
		b.reused = true
		return r.write()
	}
	work, err := s.workDir(b.recipe)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // New clears what is left
	rel, err := s.compile(ctx, f, *b, work)
	if err != nil {
		return err
	}
	r := record{
		Name: b.recipe.Name, Build: b.digest, Recipe: b.recipe.digest(), Revision: b.revision, Release: rel, Built: time.Now().UTC(),
		dir: filepath.Join(work, "out"),
	}
	if err := r.write(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("keep the release of %s: %w", b.recipe.Name, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("keep the release of %s: %w", b.recipe.Name, err)
	}
	if err := os.Rename(r.dir, dir); err != nil {
		return fmt.Errorf("keep the release of %s: %w", b.recipe.Name, err)
	}
	return nil
}

// workDir makes the folder of one build. Only root may enter the folder above
// it: what a builder writes keeps whatever mode the builder gave it.
func (s *Store) workDir(r Recipe) (string, error) {
	if err := os.MkdirAll(s.path("work"), 0o700); err != nil {
		return "", fmt.Errorf("make a folder to build %s in: %w", r.Name, err)
	}
	work, err := os.MkdirTemp(s.path("work"), string(r.Name)+"-")
	if err != nil {
		return "", fmt.Errorf("make a folder to build %s in: %w", r.Name, err)
	}
	for _, dir := range []string{"guest/src", "guest/home", "out/release"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return "", fmt.Errorf("make a folder to build %s in: %w", r.Name, err)
		}
	}
	return work, nil
}

// compile fetches the source below work, builds it in a builder guest and
// collects the release in work/out/release.
func (s *Store) compile(ctx context.Context, f fetch, b build, work string) (Release, error) {
	log, err := openLog(s.path("logs", string(b.recipe.Name), "build.log"))
	if err != nil {
		return Release{}, err
	}
	defer log.Close() //nolint:errcheck // a log cut short fails no build
	if b.recipe.prebuilt() {
		return s.unpackRelease(ctx, f, b, work, log)
	}
	guest := filepath.Join(work, "guest")
	if err := f.extract(ctx, b.recipe, b.revision, filepath.Join(guest, "src")); err != nil {
		return Release{}, fmt.Errorf("fetch %s: %w", b.recipe.Name, err)
	}
	note(log, "fetched %s at %s", address(b.recipe), b.revision)
	project, err := prepare(filepath.Join(guest, "src"), b.recipe, log)
	if err != nil {
		return Release{}, fmt.Errorf("prepare %s: %w", b.recipe.Name, err)
	}
	if err := s.run(ctx, b, guest, project, log); err != nil {
		return Release{}, err
	}
	rel, err := s.collect(guest, filepath.Join(work, "out", "release"), b.recipe, log)
	if err != nil {
		return Release{}, fmt.Errorf("take over the release of %s: %w; the build log is %s", b.recipe.Name, err, log.path)
	}
	return rel, nil
}

// prepare reads the project's configuration and adds what a release needs.
func prepare(dir string, r Recipe, log io.Writer) (project, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return project{}, fmt.Errorf("open the source: %w", err)
	}
	defer root.Close() //nolint:errcheck // opened to read
	p, err := readProject(root)
	if err != nil {
		return project{}, err
	}
	version := r.Version
	if version == "" {
		version = "0.0.0"
	}
	if !plain.MatchString(version) {
		return project{}, fmt.Errorf("version %.80q is not plain: use letters, digits, dots, + and -", version)
	}
	overlay := p.overlay(string(r.Name), version)
	if overlay == "" {
		return p, nil
	}
	f, err := root.OpenFile("rebar.config", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return project{}, fmt.Errorf("add a release to rebar.config: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteString(overlay); err != nil {
		return project{}, fmt.Errorf("add a release to rebar.config: %w", err)
	}
	note(log, "added to rebar.config:%s", strings.TrimRight(overlay, "\n"))
	return p, nil
}

// run is the build itself, in a guest that reaches the proxy and nothing else.
func (s *Store) run(ctx context.Context, b build, guest string, p project, log *buildLog) error {
	image, err := s.ensureBuilder(ctx)
	if err != nil {
		return err
	}
	name := string(b.recipe.Name)
	px := &proxy{
		name: name, source: b.recipe.Source.URL, log: log, allowed: map[string]bool{},
		mirror: mirror{dir: s.path("git", name), gits: s.gits, lock: new(sync.Mutex)},
	}
	px.allow(p.remotes...)
	exit, err := s.sandbox.Run(ctx, Job{
		Name: jobName(name, guest), Image: image.ref,
		Args:   []string{filepath.Join(s.otp.root, "bin", "escript"), "/" + rebarPath, "as", "prod", "release", "-d", "false", "-i", "true"},
		Env:    builderEnv(),
		Dir:    "/build/src",
		Mounts: []Mount{{Source: guest, Target: "/build"}},
		Memory: s.memory, Pids: builderPids, Timeout: s.timeout,
		ProxyPort: proxyPort, Proxy: px.serve, Log: log,
	})
	if err != nil {
		return fmt.Errorf("build %s: %w; the build log is %s", name, err, log.path)
	}
	if exit != 0 {
		return fmt.Errorf("build %s: rebar3 ended with status %d: %s; the build log is %s", name, exit, log.reason(px.refusals()), log.path)
	}
	return nil
}

// jobName is unique while the work folder exists, and short enough for a
// network namespace's name.
func jobName(app, guest string) string {
	work := filepath.Base(filepath.Dir(guest)) // "<app>-<random>"
	return app[:min(len(app), 40)] + strings.TrimPrefix(work, app)
}

func builderEnv() []string {
	return append([]string{
		"PATH=/usr/bin", "HOME=/build/home", "TMPDIR=/tmp", "LANG=C.UTF-8", "TERM=dumb", "TZ=UTC", "SOURCE_DATE_EPOCH=0",
		"REBAR_COLOR=none", fmt.Sprintf("HEX_CDN=http://127.0.0.1:%d/hex", proxyPort),
	}, gitEnv(proxyPort)...)
}

// collect finds the one release that the build made. The builder wrote these
// folders: they are opened step by step, and no link leads out of them.
func (s *Store) collect(guest, to string, r Recipe, log io.Writer) (Release, error) {
	root, err := os.OpenRoot(guest)
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
	return collect(from, to, s.otp, log)
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

// image makes the guest's image of a built release.
func (s *Store) image(ctx context.Context, b build) (Image, error) {
	r, err := readRecord(s.releaseDir(b))
	if err != nil {
		return Image{}, fmt.Errorf("read the release of %s: %w", b.recipe.Name, err)
	}
	layers, err := trees(r.release(), r.Release, s.otp)
	if err != nil {
		return Image{}, fmt.Errorf("make the image of %s: %w", b.recipe.Name, err)
	}
	release, err := json.Marshal(r.Release)
	if err != nil {
		return Image{}, fmt.Errorf("make the image of %s: %w", b.recipe.Name, err)
	}
	name := string(b.recipe.Name)
	config := v1.Config{User: "1000:1000", WorkingDir: "/" + appRoot, Labels: map[string]string{
		labelApp: name, labelRevision: b.revision, labelRelease: string(release),
	}}
	ref := refPrefix + name + ":" + b.digest[:12]
	labels := map[string]string{
		labelApp: name, labelBuild: b.digest, labelRevision: b.revision, labelSource: short(address(b.recipe)),
		labelRecipe: b.recipe.digest(),
	}
	if _, err := s.depot.write(ctx, ref, unpacked{layers, config, types.OCILayer}, labels); err != nil {
		return Image{}, fmt.Errorf("store the image of %s: %w", name, err)
	}
	i, ok, err := s.depot.find(ctx, labels)
	if err != nil || !ok {
		return Image{}, fmt.Errorf("find the image of %s again: %w", name, err)
	}
	img, err := s.describe(ctx, i)
	img.Cached = b.reused
	return img, err
}

// short keeps a label within containerd's bound of 4096 bytes.
func short(s string) string { return s[:min(len(s), 2048)] }

// describe reads an image back from containerd.
func (s *Store) describe(ctx context.Context, i core.Image) (Image, error) {
	config, err := s.depot.config(ctx, i)
	if err != nil {
		return Image{}, err
	}
	out := Image{
		Name: app.Name(i.Labels[labelApp]), Ref: i.Name, Digest: i.Target.Digest.String(), Revision: i.Labels[labelRevision],
		Cached: true, Built: i.CreatedAt,
	}
	if err := json.Unmarshal([]byte(config.Config.Labels[labelRelease]), &out.Release); err != nil {
		return Image{}, fmt.Errorf("read the release of image %s: %w", i.Name, err)
	}
	return out, nil
}
