//go:build integration

package images

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"beamsandbox/reconcile/app"
)

// fixed is a source that is always the same.
type fixed struct{ fstest.MapFS }

func (fixed) resolve(context.Context, Recipe) (string, error)          { return "1", nil }
func (f fixed) extract(_ context.Context, _ Recipe, _, d string) error { return os.CopyFS(d, f.MapFS) }

// planned are the digests of a build, by the builder that it may need, with
// the programs of path.
func planned(t *testing.T, path string) map[string]string {
	t.Helper()
	t.Setenv("PATH", path)
	bin, err := filepath.Abs("../bin")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Root: t.TempDir(), Rebar3: filepath.Join(bin, "rebar3"), HexSource: filepath.Join(bin, "erlang-hex.tar.gz")})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.plan(t.Context(), Recipe{Name: "x", Version: "1", Source: app.Source{Type: app.SourceGit}}, fixed{})
	if err != nil {
		t.Fatal(err)
	}
	return b.digests
}

// pathWithout links everything on PATH but some programs.
func pathWithout(t *testing.T, but ...string) string {
	t.Helper()
	dir := t.TempDir()
	skip := map[string]bool{}
	for _, name := range but {
		skip[name] = true
	}
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		all, err := os.ReadDir(from)
		if err != nil {
			continue
		}
		for _, d := range all {
			if !skip[d.Name()] {
				os.Symlink(filepath.Join(from, d.Name()), filepath.Join(dir, d.Name())) //nolint:errcheck // the first on PATH wins
			}
		}
	}
	return dir
}

// TestBuildKeys: what was built by one builder is not taken for what another
// one would build, and a builder that a source does not need is no part of its
// key.
func TestBuildKeys(t *testing.T) {
	path := os.Getenv("PATH")
	all := planned(t, path)
	if len(all) != 2 || all[erlangBuilder] == all[elixirBuilder] {
		t.Fatalf("digests %v, want one for each builder", all)
	}
	if again := planned(t, path); again[erlangBuilder] != all[erlangBuilder] || again[elixirBuilder] != all[elixirBuilder] {
		t.Errorf("the second time %v, the first %v", again, all)
	}
	for _, compiler := range []string{"gcc", "g++"} {
		t.Setenv("PATH", path)
		without := planned(t, pathWithout(t, compiler))
		if without[erlangBuilder] == all[erlangBuilder] || without[elixirBuilder] == all[elixirBuilder] {
			t.Errorf("without %s the digests are the same", compiler)
		}
	}
	t.Setenv("PATH", path)
	noElixir := planned(t, pathWithout(t, "elixir"))
	if len(noElixir) != 1 || noElixir[erlangBuilder] != all[erlangBuilder] {
		t.Errorf("without Elixir %v, want the first of %v", noElixir, all)
	}
}
