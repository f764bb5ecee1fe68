//go:build integration

package images_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"beamsandbox/images"
	"beamsandbox/reconcile/app"
)

// packed makes a gzipped tarball of a folder's files below prefix.
func packed(t *testing.T, dir, prefix string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p) // links are followed: a tarball holds files
		if err != nil {
			return err
		}
		info, err := os.Stat(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: prefix + rel, Mode: int64(info.Mode().Perm()), Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err := errors.Join(err, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// serveFile offers data over HTTP and returns the recipe of it.
func serveFile(t *testing.T, name app.Name, version string, data []byte) images.Recipe {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(data) // what did not arrive fails the checksum
	}))
	t.Cleanup(server.Close)
	sum := sha256.Sum256(data)
	return images.Recipe{Name: name, Version: version, Source: app.Source{
		Type: app.SourceRelease, URL: server.URL + "/" + string(name) + ".tar.gz", SHA256: hex.EncodeToString(sum[:]),
	}}
}

// builtRelease is a copy of a release that the store made, with the file that
// names its version: guests do without it.
func builtRelease(t *testing.T, root string, name app.Name) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(root, "releases", string(name), "*", "release"))
	if err != nil || len(all) != 1 {
		t.Fatalf("releases of %s: %v, %v", name, all, err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(all[0])); err != nil {
		t.Fatal(err)
	}
	erts, err := filepath.Glob(filepath.Join(dir, "erts-*"))
	if err != nil || len(erts) != 1 {
		t.Fatal(erts, err)
	}
	version := strings.TrimPrefix(filepath.Base(erts[0]), "erts-") + " 1.0.0"
	if err := os.WriteFile(filepath.Join(dir, "releases/start_erl.data"), []byte(version), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReleaseTarball(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	ensure(t, s, recipe("pulse", source(t, "pulse", nil)))
	dir := builtRelease(t, cfg.Root, "pulse")
	data := packed(t, dir, "./")
	jobs := g.jobs

	r := serveFile(t, "pulse", "1.0.0", data)
	i := ensure(t, s, r)
	if i.Revision != r.Source.SHA256 || g.jobs != jobs {
		t.Errorf("image %+v after %d jobs, want the checksum as revision and no build", i, g.jobs-jobs)
	}
	if got := erlang(t, g, i, `io:format("~p", [[A || {A, _, _} <- application:which_applications()]])`); !strings.Contains(got, "[pulse,stdlib,kernel]") {
		t.Errorf("the guest says %q", got)
	}
	again, took := found(t, s, r)
	if again.Digest != i.Digest || took > 100*time.Millisecond {
		t.Errorf("the second time took %v: %+v", took, again)
	}
	r.Source.SHA256 = strings.Repeat("0", 64)
	if _, err := s.Ensure(t.Context(), r); !errors.Is(err, images.ErrDigest) || strings.Contains(err.Error(), "\n") {
		t.Errorf("another checksum: %v", err)
	} else {
		t.Log(err)
	}
	r.Source.SHA256, r.Code, r.OTP = again.Revision, true, s.OTP()
	code := ensure(t, s, r)
	if len(code.CodePaths) != 1 || !strings.HasSuffix(code.CodePaths[0], "lib/pulse-1.0.0/ebin") {
		t.Errorf("code paths of a release: %v", code.CodePaths)
	}
	checkNewerSystem(t, s, dir)
	t.Run("as rebar3 tar makes it", func(t *testing.T) { checkRebarTar(t, g, cfg, s) })
}

// checkRebarTar: a tarball from rebar3 itself, with its scripts, and with a name
// and a cookie in its vm.args, which are not taken over.
func checkRebarTar(t *testing.T, g *guests, cfg images.Config, s *images.Store) {
	dir := strings.TrimPrefix(source(t, "", merged(appFiles("", "tarred", ""), map[string]string{
		"rebar.config":   `{relx, [{release, {tarred, "1.0.0"}, [tarred]}, {mode, prod}, {extended_start_script, true}, {vm_args, "config/vm.args"}]}.` + "\n",
		"config/vm.args": "-sname tarred\n-setcookie in-the-tarball\n+P 54321\n",
	})), "file://")
	rebar3, err := filepath.Abs("../bin/rebar3")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("escript", rebar3, "as", "prod", "tar")
	c.Dir, c.Env = dir, append(os.Environ(), "HOME="+t.TempDir(), "LANG=C.UTF-8")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("rebar3 as prod tar: %v\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "_build/prod/rel/tarred/tarred-1.0.0.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if names := namesIn(t, data); !slices.Contains(names, "bin/tarred") || !slices.Contains(names, "releases/1.0.0/vm.args") {
		t.Fatalf("the tarball holds no scripts: %v", names)
	}
	i := ensure(t, s, serveFile(t, "tarred", "1.0.0", data))
	got := erlang(t, g, i, `io:format("~p ~p ~p ~p", [tarred:say(), node(), erlang:get_cookie(), erlang:system_info(process_limit)])`)
	if !strings.Contains(got, "tarred nonode@nohost nocookie 65536") {
		t.Errorf("the guest says %q", got)
	}
	if log := buildLog(t, cfg, "tarred"); !strings.Contains(log, "took -sname -setcookie out of vm.args") || strings.Contains(log, "in-the-tarball") {
		t.Errorf("the log is %s", log)
	}
}

// namesIn lists what a gzipped tarball holds.
func namesIn(t *testing.T, data []byte) (out []string) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimPrefix(h.Name, "./"))
	}
}

// checkNewerSystem: a release whose emulator was made for a newer C library
// says so before it is started, when it would end without a word of what to do.
func checkNewerSystem(t *testing.T, s *images.Store, dir string) {
	t.Helper()
	newer, err := filepath.Glob("../build/debian/otp27/usr/lib/erlang/erts-*/bin/beam.smp")
	if err != nil || len(newer) != 1 {
		t.Fatalf("find the newer emulator: %v, %v: run make setup-test", newer, err)
	}
	old, err := filepath.Glob(filepath.Join(dir, "erts-*", "bin", "beam.smp"))
	if err != nil || len(old) != 1 {
		t.Fatal(old, err)
	}
	beam, err := os.ReadFile(newer[0])
	if err := errors.Join(err, os.WriteFile(old[0], beam, 0o755)); err != nil {
		t.Fatal(err)
	}
	_, err = s.Ensure(t.Context(), serveFile(t, "pulse", "1.0.0", packed(t, dir, "./")))
	if err == nil || !strings.Contains(err.Error(), "lacks version GLIBC_") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line with the version that is lacking", err)
	}
}
