//go:build integration

package images_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"beamsandbox/images"
	"beamsandbox/reconcile/app"
)

// TestSameBytes: the same source gives the same image to the byte, from files
// of another date and under another umask, with rebar3 and with mix.
func TestSameBytes(t *testing.T) {
	g, cfg := rooms(t)
	cfg.Hex = []images.HexRepository{configured(t, hexpm(t))}
	hello := t.TempDir()
	for name, text := range elixirApp("hello", `{:recon, "~> 2.5.1"}`, "") {
		p := filepath.Join(hello, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for name, from := range map[app.Name]string{"pulse": "../examples/apps/pulse", "hello": hello} {
		t.Run(string(name), func(t *testing.T) { sameBytes(t, g, cfg, name, from) })
	}
}

func sameBytes(t *testing.T, g *guests, cfg images.Config, name app.Name, from string) {
	var digests []string
	dir := filepath.Join(t.TempDir(), "source")
	for n, umask := range []int{0o022, 0o077} {
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(from))); err != nil {
			t.Fatal(err)
		}
		date(t, dir, time.Date(2001+20*n, 2, 3, 4, 5, 6, 0, time.UTC))
		cfg.Root = filepath.Join(t.TempDir(), "images")
		before := unix.Umask(umask)
		s := open(t, cfg)
		r := recipe(name, "")
		r.Source = app.Source{Type: app.SourcePath, URL: dir}
		i, err := s.Ensure(t.Context(), r)
		unix.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		if log := buildLog(t, cfg, string(name)); i.Cached || !strings.Contains(log, "beamsandbox: built: fetch ") {
			t.Errorf("build %d did not run (cached %v): %s", n, i.Cached, log)
		}
		digests = append(digests, i.Digest)
		dropImages(t, g, string(name))
	}
	if digests[0] != digests[1] {
		t.Errorf("the first build gave %s, the second %s", digests[0], digests[1])
	}
}

// date gives everything below dir one time of change.
func date(t *testing.T, dir string, when time.Time) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(p, when, when)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkShared: two apps have the machine's libraries and Erlang in common.
func checkShared(t *testing.T, s *images.Store, one, other string) {
	first, err := s.Inspect(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Inspect(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Layers) != 3 || len(second.Layers) != 3 || first.Layers[2] == second.Layers[2] {
		t.Fatalf("%s has layers %v, %s %v; want three each, and an own one", one, first.Layers, other, second.Layers)
	}
	if diff := cmp.Diff(first.Layers[:2], second.Layers[:2]); diff != "" {
		t.Errorf("base and system (-%s +%s):\n%s", one, other, diff)
	}
}
