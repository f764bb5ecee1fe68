//go:build integration

package images_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	core "github.com/containerd/containerd/v2/core/images"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"beamsandbox/images"
	"beamsandbox/reconcile/app"
)

// source makes a git repository out of a folder of the examples, or of files.
func source(t *testing.T, example string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if example != "" {
		if err := os.CopyFS(dir, os.DirFS(filepath.Join("../examples/apps", example))); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, dir, files)
	return "file://" + dir
}

// commit writes files and commits everything in dir.
func commit(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	commitAll(t, dir)
}

func recipe(name app.Name, address string) images.Recipe {
	return images.Recipe{Name: name, Version: "1.0.0", Source: app.Source{Type: app.SourceGit, URL: address, Ref: "main"}}
}

func open(t *testing.T, cfg images.Config) *images.Store {
	t.Helper()
	s, err := images.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ensure(t *testing.T, s *images.Store, r images.Recipe) images.Image {
	t.Helper()
	i, err := s.Ensure(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// found is what is there already, and how long finding it takes: the least of
// a few times, since the machine does other things, too.
func found(t *testing.T, s *images.Store, r images.Recipe) (i images.Image, took time.Duration) {
	t.Helper()
	took = time.Hour
	for range 5 {
		start := time.Now()
		if i = ensure(t, s, r); !i.Cached {
			t.Errorf("it was made again: %+v", i)
		}
		took = min(took, time.Since(start))
	}
	return i, took
}

// erlang runs an expression in the image, started as a guest is.
func erlang(t *testing.T, g *guests, i images.Image, expression string) string {
	t.Helper()
	root, vsn := i.Release.Root, i.Release.Version
	bin := root + "/erts-" + i.Release.ERTS + "/bin"
	var out bytes.Buffer
	exit, err := g.task(t.Context(), images.Job{
		Name: "try-" + string(i.Name), Image: i.Ref, Dir: root, Log: &out, Memory: 256 << 20, Pids: 256, Timeout: time.Minute,
		Env: []string{"ROOTDIR=" + root, "BINDIR=" + bin, "EMU=beam", "PROGNAME=erl", "HOME=/tmp"},
		Args: []string{bin + "/erlexec", "-noinput", "-boot", root + "/releases/" + vsn + "/start", "-boot_var", "ERTS_LIB_DIR", root + "/lib", "-boot_var", "RELEASE_LIB", root + "/lib",
			"-config", root + "/releases/" + vsn + "/sys", "-args_file", root + "/releases/" + vsn + "/vm.args", "-eval", expression + ", halt()."},
	}, "")
	if err != nil || exit != 0 {
		t.Fatalf("run %s in the image: exit %d, %v\n%s", expression, exit, err, out.String())
	}
	return out.String()
}

func TestStore(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	pulse := source(t, "pulse", nil)

	start := time.Now()
	first := ensure(t, s, recipe("pulse", pulse))
	t.Logf("cold, with the builder: %v", time.Since(start))

	t.Run("boots", func(t *testing.T) {
		got := erlang(t, g, first, `io:format("~p ~p", [[A || {A, _, _} <- application:which_applications()], pulse_beat:count() > 0])`)
		if !strings.Contains(got, "[pulse,stdlib,kernel] true") {
			t.Errorf("the guest says %q", got)
		}
	})
	t.Run("cached", func(t *testing.T) {
		jobs, start := g.jobs, time.Now()
		again := ensure(t, s, recipe("pulse", pulse))
		t.Logf("cached: %v", time.Since(start))
		if !again.Cached || g.jobs != jobs {
			t.Errorf("the second Ensure ran %d jobs, cached %v", g.jobs-jobs, again.Cached)
		}
		if diff := cmp.Diff(first, again, cmpopts.IgnoreFields(images.Image{}, "Cached")); diff != "" {
			t.Errorf("another image (-first +second):\n%s", diff)
		}
	})
	t.Run("by commit, without its remote", func(t *testing.T) {
		r := recipe("pulse", pulse)
		r.Source.Ref = first.Revision
		byCommit := ensure(t, s, r)
		moved := strings.TrimPrefix(pulse, "file://")
		if err := os.Rename(moved, moved+"-gone"); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := os.Rename(moved+"-gone", moved); err != nil {
				t.Fatal(err)
			}
		}()
		if again := ensure(t, s, r); !again.Cached || again.Digest != byCommit.Digest {
			t.Errorf("a known commit was not cached: %+v", again)
		}
		if again := ensure(t, s, recipe("pulse", pulse)); again.Digest != first.Digest {
			t.Errorf("the branch of a remote that is down gave %+v, want what was built last", again)
		}
		unknown := recipe("pulse", pulse)
		unknown.Version = "2.0.0"
		if i, err := s.Ensure(t.Context(), unknown); err == nil {
			t.Errorf("a recipe that was never built, from a remote that is down, gave %+v", i)
		}
	})
	t.Run("size", func(t *testing.T) { checkSize(t, g, first) })
	t.Run("same commit, same digest", func(t *testing.T) { sameDigest(t, g, cfg, pulse, first) })
	t.Run("counter", func(t *testing.T) { checkCounter(t, g, s) })
	t.Run("shared layers", func(t *testing.T) { checkShared(t, s, "pulse", "counter") })
	t.Run("list", func(t *testing.T) { checkList(t, s) })
	t.Run("remove", func(t *testing.T) { checkRemove(t, g, cfg, s) })
	t.Run("comes back", func(t *testing.T) { comesBack(t, g, s, pulse, first) })
}

// sameDigest builds once more with nothing kept from the first time.
func sameDigest(t *testing.T, g *guests, cfg images.Config, address string, first images.Image) {
	cfg.Root = filepath.Join(t.TempDir(), "other")
	s := open(t, cfg)
	dropImages(t, g, "pulse")
	jobs, start := g.jobs, time.Now()
	again := ensure(t, s, recipe("pulse", address))
	t.Logf("build with the builder there: %v", time.Since(start))
	if g.jobs == jobs || again.Digest != first.Digest {
		t.Errorf("built again (%d jobs): digest %s, first %s", g.jobs-jobs, again.Digest, first.Digest)
	}
}

// dropImages deletes an app's images behind the store's back.
func dropImages(t *testing.T, g *guests, name string) {
	t.Helper()
	ctx, store := g.stack.Namespaced(t.Context()), g.stack.Client().ImageService()
	all, err := store.List(ctx, "labels.\"beamsandbox.app\"=="+name)
	if err != nil || len(all) == 0 {
		t.Fatalf("images of %s: %v, %v", name, all, err)
	}
	for _, i := range all {
		if err := store.Delete(ctx, i.Name, core.SynchronousDelete()); err != nil {
			t.Fatal(err)
		}
	}
}

func checkSize(t *testing.T, g *guests, i images.Image) {
	ctx := g.stack.Namespaced(t.Context())
	image, err := g.stack.Client().GetImage(ctx, i.Ref)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := core.Manifest(ctx, image.ContentStore(), image.Target(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var packed, unpacked int64
	for _, l := range manifest.Layers {
		blob, err := content.ReadBlob(ctx, image.ContentStore(), l)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(blob))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, z)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("layer %.1f MB, unpacked %.1f MB", float64(l.Size)/1e6, float64(n)/1e6)
		packed, unpacked = packed+l.Size, unpacked+n
	}
	t.Logf("image %.1f MB, unpacked %.1f MB", float64(packed)/1e6, float64(unpacked)/1e6)
	if packed > 15e6 || unpacked > 30e6 {
		t.Errorf("the image is %d bytes, %d unpacked: more than a guest needs", packed, unpacked)
	}
}

// The counter names no release, and runs in the host VM as well.
func checkCounter(t *testing.T, g *guests, s *images.Store) {
	r := recipe("counter", source(t, "counter", nil))
	r.Code, r.OTP = true, s.OTP()
	code := ensure(t, s, r)
	if len(code.CodePaths) != 1 || code.Ref != "" {
		t.Fatalf("code = %+v, want one folder and no image", code)
	}
	for _, name := range []string{"counter.app", "counter.beam"} {
		if _, err := os.Stat(filepath.Join(code.CodePaths[0], name)); err != nil {
			t.Error(err)
		}
	}
	jobs := g.jobs
	if again := ensure(t, s, r); !again.Cached || g.jobs != jobs {
		t.Error("the same code was built twice")
	}
	r.Code = false
	image := ensure(t, s, r)
	if g.jobs != jobs {
		t.Error("moving into a guest built the same source again")
	}
	if got := erlang(t, g, image, `io:format("~p", [counter:value()])`); !strings.Contains(got, "0") {
		t.Errorf("the counter says %q", got)
	}
	r.Code, r.OTP = true, "99"
	if _, err := s.Ensure(t.Context(), r); !errors.Is(err, images.ErrOTP) {
		t.Errorf("code for OTP 99: %v, want ErrOTP", err)
	}
}

func checkList(t *testing.T, s *images.Store) {
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[app.Name]int{}
	for _, i := range all {
		got[i.Name]++
	}
	if diff := cmp.Diff(map[app.Name]int{"pulse": 1, "counter": 2}, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func checkRemove(t *testing.T, g *guests, cfg images.Config, s *images.Store) {
	for _, name := range []app.Name{"pulse", "counter", "never_there"} {
		if err := s.Remove(t.Context(), name); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
	}
	if err := s.Remove(t.Context(), "../etc"); err == nil {
		t.Error("a name that leads out of the folder was taken")
	}
	all, err := s.List(t.Context())
	if err != nil || len(all) != 0 {
		t.Errorf("list after removal = %v, %v", all, err)
	}
	var left []string
	err = filepath.WalkDir(cfg.Root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left = append(left, p)
		}
		return err
	})
	if err != nil || len(left) != 0 {
		t.Errorf("files left: %v, %v", left, err)
	}
	kept, err := g.stack.Client().ImageService().List(g.stack.Namespaced(t.Context()))
	if err != nil || len(kept) != 3 {
		t.Errorf("images left: %v, %v; want the builder and the newest of two apps", kept, err)
	}
}

// comesBack: an app that was removed starts from what it left.
func comesBack(t *testing.T, g *guests, s *images.Store, address string, first images.Image) {
	jobs := g.jobs
	again := ensure(t, s, recipe("pulse", address))
	if !again.Cached || g.jobs != jobs || again.Digest != first.Digest {
		t.Errorf("a removed app came back as %+v after %d jobs, want what it left", again, g.jobs-jobs)
	}
	all, err := s.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Ref != again.Ref {
		t.Errorf("list = %v, %v; want the app that came back", all, err)
	}
}

func TestGitDependencies(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	deep := source(t, "", map[string]string{
		"rebar.config": "", "src/deep.app.src": `{application, deep, [{vsn, "0.3.0"}, {applications, [kernel, stdlib, crypto]}]}.`,
		"src/deep.erl": "-module(deep).\n-export([say/0]).\nsay() -> binary:encode_hex(crypto:hash(sha, <<>>)).\n",
	})
	dep := source(t, "", map[string]string{
		"rebar.config":    `{deps, [{deep, {git, "` + deep + `", {branch, "main"}}}]}.`,
		"src/dep.app.src": `{application, dep, [{vsn, "0.2.0"}, {applications, [kernel, stdlib, deep]}]}.`,
	})
	address := source(t, "", map[string]string{
		"rebar.config":    `{deps, [{dep, ".*", {git, "` + dep + `", {branch, "main"}}}]}.`,
		"src/top.app.src": `{application, top, [{vsn, "1.0.0"}, {applications, [kernel, stdlib, dep]}]}.`,
	})
	i := ensure(t, s, recipe("top", address))
	checkSize(t, g, i)
	if got := erlang(t, g, i, `io:format("~s", [deep:say()])`); !strings.Contains(got, "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709") {
		t.Errorf("the dependency's dependency says %q", got)
	}
}

func TestBuildFailures(t *testing.T) {
	_, cfg := rooms(t)
	s := open(t, cfg)
	app1 := `{application, bad, [{vsn, "1.0.0"}, {applications, [kernel, stdlib]}]}.`
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"broken code":  {map[string]string{"rebar.config": "", "src/bad.app.src": app1, "src/bad.erl": "-module(bad).\nx("}, "src/bad.erl"},
		"hex":          {map[string]string{"rebar.config": "{deps, [cowboy]}.", "src/bad.app.src": app1}, "Package not found in any repo: cowboy"},
		"no rebar":     {map[string]string{"README": "x"}, "neither rebar.config nor mix.exs"},
		"broken terms": {map[string]string{"rebar.config": "{deps, [}."}, "rebar.config"},
		"foreign host": {map[string]string{"rebar.config": `{deps, [{x, {git, "ssh://git@nowhere.invalid/x", "main"}}]}.`, "src/bad.app.src": app1}, "ssh is only used"},
		"other app":    {map[string]string{"rebar.config": "", "src/else.app.src": strings.Replace(app1, "bad", "else", 1)}, "bad"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Ensure(t.Context(), recipe("bad", source(t, "", tt.files)))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("err = %v, want one line with %q", err, tt.want)
			}
			t.Log(err)
		})
	}
	mesh := images.Recipe{Name: "x", Source: app.Source{Type: app.SourceMesh, MCID: "mcid1-x"}}
	if _, err := s.Ensure(t.Context(), mesh); !errors.Is(err, images.ErrMesh) {
		t.Errorf("mesh without Macula: %v, want ErrMesh", err)
	}
	all, err := s.List(context.Background())
	if err != nil || len(all) != 0 {
		t.Errorf("failed builds left %v, %v", all, err)
	}
}

func TestNewCommitKeepsThePreviousImage(t *testing.T) {
	_, cfg := rooms(t)
	s := open(t, cfg)
	address := source(t, "counter", nil)
	dir := strings.TrimPrefix(address, "file://")
	revisions := map[string]bool{}
	for _, text := range []string{"one", "two", "three"} {
		commit(t, dir, map[string]string{"README.md": text})
		revisions[ensure(t, s, recipe("counter", address)).Revision] = true
	}
	all, err := s.List(t.Context())
	if err != nil || len(revisions) != 3 || len(all) != 2 {
		t.Errorf("%d revisions, %d images, %v; want 3 and 2", len(revisions), len(all), err)
	}
}
