package images

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/reconcile/app"
)

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPrepareMix(t *testing.T) {
	recipe := Recipe{Name: "shop", Version: "1.2.0"}
	for name, tt := range map[string]struct {
		files map[string]string
		want  project
	}{
		"plain":           {map[string]string{"mix.exs": "app: :shop"}, project{}},
		"releases":        {map[string]string{"mix.exs": "releases: [other: [], shop: []]"}, project{release: true, named: "shop"}},
		"one release":     {map[string]string{"mix.exs": "releases: [{:all, []}]"}, project{release: true}},
		"in a comment":    {map[string]string{"mix.exs": "# releases: [shop: []]"}, project{}},
		"git":             {map[string]string{"mix.exs": `{:a, git: "https://h/a.git", tag: "1"}, {:b, github: "o/b"}`}, project{remotes: []string{"https://h/a.git", "https://github.com/o/b.git"}}},
		"lock":            {map[string]string{"mix.exs": "", "mix.lock": `%{"c": {:git, "https://h/c", "abc", []}}`}, project{remotes: []string{"https://h/c"}}},
		"umbrella":        {map[string]string{"mix.exs": `apps_path: "apps"`, "apps/a/mix.exs": `{:d, git: "https://h/d"}`, "apps/none/x": ""}, project{remotes: []string{"https://h/d"}, env: []string{"MIX_EXS=" + umbrellaFile}}},
		"its own release": {map[string]string{"mix.exs": "apps_path: \"apps\",\n releases: [shop: []]", "apps/a/mix.exs": ""}, project{release: true, named: "shop"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := prepare(writeFiles(t, tt.files), recipe, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if got.tool.name != "mix" {
				t.Errorf("tool %s", got.tool.name)
			}
			got.tool = tool{}
			if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(project{}, tool{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPrepareChoosesTheTool(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		tool  string
		args  string
	}{
		"rebar3":               {map[string]string{"rebar.config": ""}, "rebar3", "/usr/bin/escript /usr/bin/rebar3 as prod release"},
		"rebar3 with deps":     {map[string]string{"rebar.config": "{deps, [a]}."}, "rebar3", "/usr/bin/sh -c"},
		"both":                 {map[string]string{"rebar.config": "", "mix.exs": ""}, "rebar3", "/usr/bin/escript"},
		"mix":                  {map[string]string{"mix.exs": "releases: [x: []]"}, "mix", "/usr/bin/mix do deps.get --only prod, release x --overwrite"},
		"no file but a source": {map[string]string{"src/x.app.src": ""}, "rebar3", "/usr/bin/escript"},
	} {
		p, err := prepare(writeFiles(t, tt.files), Recipe{Name: "x"}, io.Discard)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := strings.Join(p.tool.args(p), " "); p.tool.name != tt.tool || !strings.HasPrefix(got, tt.args) {
			t.Errorf("%s: %s: %s", name, p.tool.name, got)
		}
	}
	if _, err := prepare(writeFiles(t, map[string]string{"README": ""}), Recipe{Name: "x"}, io.Discard); err == nil {
		t.Error("a folder without a project was taken")
	}
	if _, err := prepare(writeFiles(t, map[string]string{"rebar.config": ""}), Recipe{Name: "x", Version: "1 0"}, io.Discard); err == nil {
		t.Error("a version with a blank was taken")
	}
}

func TestReleaseVersion(t *testing.T) {
	for want, r := range map[string]Recipe{
		"1.0.0": {Version: "1.0.0", Source: app.Source{Type: app.SourceHex, Ref: "2.0.0"}},
		"2.0.0": {Source: app.Source{Type: app.SourceHex, Ref: "2.0.0"}},
		"0.0.0": {Source: app.Source{Type: app.SourceGit, Ref: "main"}},
	} {
		if got := releaseVersion(r); got != want {
			t.Errorf("version of %+v = %s, want %s", r, got, want)
		}
	}
}
