package images

import (
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/reconcile/app"
)

func file(path, content string) entry {
	return entry{path: path, mode: 0o644, size: int64(len(content)), open: holding(content)}
}

func link(path, target string) entry {
	return entry{path: path, mode: fs.ModeSymlink | 0o777, size: int64(len(target)), open: holding(target)}
}

func holding(s string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

func list(entries ...entry) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestExtract(t *testing.T) {
	dir := t.TempDir()
	err := extract(dir, list(file("rebar.config", "[]."), file("src/a.erl", "x"), link("src/b.erl", "a.erl"), link("up", "src/../rebar.config"), link("gone", "nothing")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "src", "b.erl"))
	if err != nil || string(got) != "x" {
		t.Errorf("read through a link = %q, %v", got, err)
	}
}

func TestExtractRefuses(t *testing.T) {
	long := entry{path: "a", mode: 0o644, size: 1, open: holding("longer than announced")}
	short := entry{path: "a", mode: 0o644, size: 9, open: holding("shorter")}
	for name, entries := range map[string][]entry{
		"parent":             {file("../evil", "x")},
		"parent inside":      {file("a/../../evil", "x")},
		"absolute":           {file("/etc/evil", "x")},
		"empty path":         {file("", "x")},
		"dot":                {file(".", "x")},
		"backslash":          {file(`a\b`, "x")},
		"nul":                {file("a\x00b", "x")},
		"git folder":         {file(".git/hooks/post-checkout", "x")},
		"git folder, case":   {file("sub/.GIT/config", "x")},
		"absolute link":      {link("a", "/etc/passwd")},
		"link out":           {link("a", "../x")},
		"link far out":       {link("a/b", "../../x")},
		"empty link":         {link("a", "")},
		"through a link":     {link("d", "."), file("d/a", "x"), file("a", "y")},
		"links that add up":  {file("p/q/r/f", "x"), link("p/q/r/s", "../../.."), link("t", "p/q/r/s/../..")},
		"device":             {{path: "null", mode: fs.ModeDevice | 0o666}},
		"pipe":               {{path: "fifo", mode: fs.ModeNamedPipe | 0o666}},
		"twice":              {file("a", "x"), file("a", "y")},
		"file over a folder": {file("a/b", "x"), file("a", "y")},
		"longer":             {long},
		"shorter":            {short},
		"too much":           {{path: "a", size: maxBytes + 1}},
	} {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			dir := filepath.Join(outside, "a", "b", "c")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := extract(dir, list(entries...)); err == nil {
				t.Fatal("extracted without complaint")
			}
			left, err := filepath.Glob(filepath.Join(outside, "evil"))
			if err != nil || len(left) > 0 {
				t.Errorf("it left %v outside", left)
			}
		})
	}
}

func TestExtractCountsFiles(t *testing.T) {
	many := func(yield func(entry, error) bool) {
		for yield(file("d", ""), nil) {
		}
	}
	x := extractor{files: maxFiles}
	for e := range many {
		if err := x.add(e); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("err = %v, want the bound on files", err)
		}
		return
	}
}

func TestPathSource(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("rebar.config", "[].")
	write("_build/default/x", "old")
	write(".git/config", "x")
	r := Recipe{Name: "a", Source: app.Source{Type: app.SourcePath, URL: dir}}
	resolve := func() string {
		t.Helper()
		revision, err := pathSource{}.resolve(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	first := resolve()
	write("_build/default/x", "new")
	if resolve() != first {
		t.Error("what a build leaves behind changes the revision")
	}
	to := t.TempDir()
	if err := (pathSource{}).extract(t.Context(), r, first, to); err != nil {
		t.Fatal(err)
	}
	var names []string
	for e, err := range folder(t.Context(), mustRoot(t, to)) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.path)
	}
	if diff := cmp.Diff([]string{"rebar.config"}, names); diff != "" {
		t.Errorf("copied (-want +got):\n%s", diff)
	}
	write("rebar.config", "[x].")
	if resolve() == first {
		t.Error("a changed file does not change the revision")
	}
	if err := (pathSource{}).extract(t.Context(), r, first, t.TempDir()); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
		t.Errorf("extract of an old revision: %v", err)
	}
}

func mustRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() }) //nolint:errcheck // opened to read
	return root
}
