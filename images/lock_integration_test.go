//go:build integration

package images_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"beamsandbox/images"
	"beamsandbox/images/hex/hextest"
	"beamsandbox/reconcile/app"
)

// A locking is a tool with its lock file and a project that needs recon.
type locking struct {
	file    string
	project func(name, requirement string) map[string]string
}

var lockings = map[string]locking{
	"rebar3": {"rebar.lock", func(name, requirement string) map[string]string {
		return merged(appFiles("", name, ", recon"), map[string]string{"rebar.config": `{deps, [{recon, "` + requirement + `"}]}.` + "\n"})
	}},
	"mix": {"mix.lock", func(name, requirement string) map[string]string {
		return elixirApp(name, `{:recon, "`+requirement+`"}`, "")
	}},
}

// TestLockFiles: a lock file in the source decides, whatever is newer; without
// one the versions of the last build stay.
func TestLockFiles(t *testing.T) {
	_, cfg := rooms(t)
	registry := hexpm(t)
	cfg.Hex = []images.HexRepository{configured(t, registry)}
	s := open(t, cfg)
	kept := map[string]images.Recipe{} // of sources that outlive the first part
	for tool, l := range lockings {
		kept[tool] = codeOf(t, "loose_"+tool, l.project("loose_"+tool, "~> 2.5.1"))
	}
	for tool, l := range lockings {
		t.Run(tool, func(t *testing.T) {
			name := func(part string) string { return part + "_" + tool }
			holds(t, s, codeOf(t, name("pinned"), l.project(name("pinned"), "2.5.1")), "recon-2.5.1")
			locked := l.project(name("locked"), "~> 2.5.1")
			locked[l.file] = keptLock(t, cfg, name("pinned"))
			holds(t, s, codeOf(t, name("locked"), locked), "recon-2.5.1")
			if log := buildLog(t, cfg, name("locked")); strings.Contains(log, "of the last build") {
				t.Errorf("the source's own lock file was replaced: %s", log)
			}
			holds(t, s, kept[tool], "recon-2.5.6")
		})
	}
	publish(t, registry, hextest.Package{Name: "recon", Version: "2.5.9", Files: fstest.MapFS{
		"src/recon.app.src": {Data: []byte(`{application, recon, [{description, "h"}, {vsn, "2.5.9"}, {applications, [kernel, stdlib]}]}.`)},
	}})
	if err := os.RemoveAll(filepath.Join(cfg.Root, "releases")); err != nil {
		t.Fatal(err)
	}
	for tool, r := range kept {
		holds(t, s, r, "recon-2.5.6")
		if log := buildLog(t, cfg, string(r.Name)); !strings.Contains(log, "took "+lockings[tool].file+" of the last build") {
			t.Errorf("the lock file of the last build was not taken: %s", log)
		}
		fresh := codeOf(t, "fresh_"+tool, lockings[tool].project("fresh_"+tool, "~> 2.5.1"))
		holds(t, s, fresh, "recon-2.5.9")
	}
}

// codeOf is the recipe of a project as code, for which no image is packed.
func codeOf(t *testing.T, name string, files map[string]string) images.Recipe {
	t.Helper()
	r := recipe(app.Name(name), source(t, "", files))
	r.Code = true
	return r
}

// holds: the recipe is built, not found, and its release holds an application.
func holds(t *testing.T, s *images.Store, r images.Recipe, want string) {
	t.Helper()
	i := ensure(t, s, r)
	if got := " " + strings.Join(i.Release.Apps, " ") + " "; i.Cached || !strings.Contains(got, " "+want+" ") {
		t.Errorf("%s (cached %v) holds%s, want %s", r.Name, i.Cached, got, want)
	}
}

// keptLock is the lock file that the one build of an app left.
func keptLock(t *testing.T, cfg images.Config, name string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(cfg.Root, "locks", name, "*.lock"))
	if err != nil || len(all) != 1 {
		t.Fatalf("lock files of %s: %v, %v", name, all, err)
	}
	text, err := os.ReadFile(all[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
