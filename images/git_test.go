package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

func TestGitSource(t *testing.T) {
	dir := t.TempDir()
	address, hashes := repository(t, dir, map[string]string{"f": "1"}, map[string]string{"f": "2"}, map[string]string{"f": "3"})
	repo, err := git.PlainOpen(dir)
	if err != nil {
		t.Fatal(err)
	}
	who := &object.Signature{Name: "t", Email: "t@example.org", When: time.Unix(2, 0)}
	if _, err := repo.CreateTag("v2", plumbing.NewHash(hashes[1]), &git.CreateTagOptions{Tagger: who, Message: "two"}); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]int{"": 2, "main": 2, "refs/heads/main": 2, "v2": 1, "refs/tags/v2": 1, hashes[0]: 0} {
		r := Recipe{Name: "a"}
		r.Source.URL, r.Source.Ref = address, ref
		g := gitSource{}
		revision, err := g.resolve(t.Context(), r)
		if err != nil {
			t.Errorf("resolve %q: %v", ref, err)
			continue
		}
		if revision != hashes[want] {
			t.Errorf("resolve %q = %s, want %s", ref, revision, hashes[want])
			continue
		}
		to := filepath.Join(t.TempDir(), "src")
		if err := os.Mkdir(to, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := g.extract(t.Context(), r, revision, to); err != nil {
			t.Errorf("extract %q: %v", ref, err)
			continue
		}
		if got, err := os.ReadFile(filepath.Join(to, "f")); err != nil || string(got) != string(rune('1'+want)) {
			t.Errorf("%q: f = %q, %v", ref, got, err)
		}
	}
}

func TestGitSourceErrors(t *testing.T) {
	address, _ := repository(t, t.TempDir(), map[string]string{"f": "1"})
	for name, tt := range map[string]struct{ address, ref, want string }{
		"no such ref":    {address, "nope", `resolve "nope"`},
		"no such repo":   {"file:///nonexistent/r.git", "main", "/nonexistent/r.git"},
		"no such commit": {address, strings.Repeat("ab", 20), "no branch or tag leads to it"},
	} {
		r := Recipe{Name: "a"}
		r.Source.URL, r.Source.Ref = tt.address, tt.ref
		revision, err := gitSource{}.resolve(t.Context(), r)
		if err == nil {
			to := filepath.Join(t.TempDir(), "src")
			if err := os.Mkdir(to, 0o755); err != nil {
				t.Fatal(err)
			}
			err = gitSource{}.extract(t.Context(), r, revision, to)
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: err = %v, want one line with %q", name, err, tt.want)
		}
	}
}

func TestStripUser(t *testing.T) {
	for in, want := range map[string]string{
		"https://me:secret@h/x": "https://h/x", "https://h/x": "https://h/x", "git@h:x": "git@h:x", "/a/b": "/a/b",
		"https://me:sec ret%zz@h/x": "https://(unreadable address)",
	} {
		if got := stripUser(in); got != want {
			t.Errorf("stripUser(%q) = %q, want %q", in, got, want)
		}
	}
}
