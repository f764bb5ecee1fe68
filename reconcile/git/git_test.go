package git

import (
	"errors"
	"io/fs"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// upstream is a repository that a test writes to.
type upstream struct {
	t    *testing.T
	dir  string
	repo *gogit.Repository
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	dir := t.TempDir()
	repo, err := gogit.PlainInitWithOptions(dir, &gogit.PlainInitOptions{
		InitOptions: gogit.InitOptions{DefaultBranch: plumbing.Main},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &upstream{t: t, dir: dir, repo: repo}
}

// commit writes files (an empty text removes one) and returns the new hash.
func (u *upstream) commit(files map[string]string) string {
	u.t.Helper()
	tree, err := u.repo.Worktree()
	if err != nil {
		u.t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(u.dir, name)
		if text == "" {
			if _, err := tree.Remove(name); err != nil {
				u.t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			u.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			u.t.Fatal(err)
		}
		if _, err := tree.Add(name); err != nil {
			u.t.Fatal(err)
		}
	}
	h, err := tree.Commit("change", &gogit.CommitOptions{Author: &object.Signature{Name: "a", Email: "a@b", When: time.Now()}})
	if err != nil {
		u.t.Fatal(err)
	}
	return h.String()
}

func open(t *testing.T, cfg Config) *Repo {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "store")
	}
	r, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fetch(t *testing.T, r *Repo) Commit {
	t.Helper()
	c, err := r.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantFile(t *testing.T, c Commit, name, text string) {
	t.Helper()
	got, err := fs.ReadFile(c.Tree, name)
	if err != nil || string(got) != text {
		t.Errorf("%s holds %q, %v; want %q", name, got, err, text)
	}
}

func TestFetchFollowsTheBranch(t *testing.T) {
	u := newUpstream(t)
	first := u.commit(map[string]string{"apps/pulse/app.config": "one"})
	for _, tc := range []struct{ name, url, branch string }{
		{"path", u.dir, "main"},
		{"file url", "file://" + u.dir, "main"},
		{"head", u.dir, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := fetch(t, open(t, Config{URL: tc.url, Branch: tc.branch}))
			if c.Hash != first {
				t.Errorf("hash is %s, want %s", c.Hash, first)
			}
			wantFile(t, c, "apps/pulse/app.config", "one")
			if err := fstest.TestFS(c.Tree, "apps/pulse/app.config"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFetchSeesNewCommitsAndForcePushes(t *testing.T) {
	u := newUpstream(t)
	first := u.commit(map[string]string{"a": "one"})
	r := open(t, Config{URL: u.dir, Branch: "main"})
	fetch(t, r)
	u.commit(map[string]string{"a": "two"})
	wantFile(t, fetch(t, r), "a", "two")
	ref := plumbing.NewHashReference(plumbing.Main, plumbing.NewHash(first))
	if err := u.repo.Storer.SetReference(ref); err != nil {
		t.Fatal(err)
	}
	c := fetch(t, r)
	wantFile(t, c, "a", "one")
	if c.Hash != first {
		t.Errorf("after a force push the hash is %s, want %s", c.Hash, first)
	}
}

func TestStoreIsKeptAndRebuilt(t *testing.T) {
	u := newUpstream(t)
	u.commit(map[string]string{"a": "one", "b/c": "two"})
	store := filepath.Join(t.TempDir(), "store")
	fetch(t, open(t, Config{URL: u.dir, Branch: "main", Dir: store}))
	offline := open(t, Config{URL: "/nonexistent/repo", Branch: "main", Dir: store})
	if last, err := offline.Last(t.Context()); err != nil {
		t.Error(err)
	} else {
		wantFile(t, last, "a", "one")
	}
	damage(t, store)
	c := fetch(t, open(t, Config{URL: u.dir, Branch: "main", Dir: store}))
	wantFile(t, c, "a", "one")
	wantFile(t, c, "b/c", "two")
}

// damage overwrites every object of a store.
func damage(t *testing.T, store string) {
	t.Helper()
	hits := 0
	err := filepath.WalkDir(filepath.Join(store, "objects"), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		hits++
		if err := os.Chmod(p, 0o600); err != nil {
			return err
		}
		return os.WriteFile(p, []byte("junk"), 0o600)
	})
	if err != nil || hits == 0 {
		t.Fatalf("damaged %d objects: %v", hits, err)
	}
}

func TestFetchErrorsAreOneClearLine(t *testing.T) {
	empty, full := newUpstream(t), newUpstream(t)
	full.commit(map[string]string{"a": strings.Repeat("x", 100), "b": "y"})
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"empty repository", Config{URL: empty.dir, Branch: "main"}, "no commit yet"},
		{"missing branch", Config{URL: full.dir, Branch: "prod"}, `no branch "prod"`},
		{"not a repository", Config{URL: t.TempDir(), Branch: "main"}, "not a git repository"},
		{"no folder", Config{URL: "/nonexistent/repo", Branch: "main"}, "no such file"},
		{"large file", Config{URL: full.dir, Branch: "main", MaxFile: 50}, "a has 100 bytes, at most 50"},
		{"many files", Config{URL: full.dir, Branch: "main", MaxFiles: 1}, "more than 1 files"},
		{"many bytes", Config{URL: full.dir, Branch: "main", MaxTotal: 100}, "more than 100 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := open(t, tc.cfg).Fetch(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, tc.want)
			}
		})
	}
}

func TestOpenRefusesWhatLeaks(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"password", Config{URL: "https://u:hunter2@git.example/x.git", Dir: "/d"}, "put a token into a file"},
		{"no known hosts", Config{URL: "git@git.example:x.git", Dir: "/d"}, "known_hosts"},
		{"token over http", Config{URL: "http://git.example/x.git", TokenFile: "/t", Dir: "/d"}, "use https"},
		{"git protocol", Config{URL: "git://git.example/x.git", Dir: "/d"}, "use https or ssh"},
		{"empty", Config{}, "set repo_url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Open(tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestLinksAndSubmodulesAreRefused(t *testing.T) {
	u := newUpstream(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(u.dir, "link")); err != nil {
		t.Fatal(err)
	}
	tree, _ := u.repo.Worktree()
	if _, err := tree.Add("link"); err != nil {
		t.Fatal(err)
	}
	u.commit(map[string]string{"a": "one"})
	c := fetch(t, open(t, Config{URL: u.dir, Branch: "main"}))
	if _, err := c.Tree.Open("link"); !errors.Is(err, ErrLink) {
		t.Errorf("opening a link gave %v", err)
	}
	entries, err := fs.ReadDir(c.Tree, ".")
	if err != nil || len(entries) != 2 || entries[1].Type()&fs.ModeSymlink == 0 {
		t.Errorf("entries are %v, %v", entries, err)
	}
	if _, err := c.Tree.Open("a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening below a file gave %v", err)
	}
}

// TestFetchOverHTTP talks to git's own smart HTTP server.
func TestFetchOverHTTP(t *testing.T) {
	u := newUpstream(t)
	u.commit(map[string]string{"a": "zero"})
	u.commit(map[string]string{"a": "one"})
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatalf("git is needed for this test: %v", err)
	}
	srv := httptest.NewServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + u.dir, "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	})
	defer srv.Close()
	store := filepath.Join(t.TempDir(), "store")
	r := open(t, Config{URL: srv.URL + "/.git", Branch: "main", Dir: store})
	wantFile(t, fetch(t, r), "a", "one")
	u.commit(map[string]string{"a": "two", "b": "new"})
	u.commit(map[string]string{"a": "three"})
	c := fetch(t, r)
	wantFile(t, c, "a", "three")
	wantFile(t, c, "b", "new")
	// One commit of depth, and nothing of what was before it.
	commits := 0
	st, err := r.store()
	if err != nil {
		t.Fatal(err)
	}
	iter, err := st.IterEncodedObjects(plumbing.CommitObject)
	if err != nil {
		t.Fatal(err)
	}
	if err := iter.ForEach(func(plumbing.EncodedObject) error { commits++; return nil }); err != nil {
		t.Fatal(err)
	}
	if commits != 2 {
		t.Errorf("the store holds %d commits, want the two that were fetched", commits)
	}
	if _, err := open(t, Config{URL: srv.URL + "/.git", Branch: "none"}).Fetch(t.Context()); err == nil ||
		!strings.Contains(err.Error(), `no branch "none"`) {
		t.Errorf("a missing branch over http gave %v", err)
	}
}

func TestDirDigestFollowsContent(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hash := func() string {
		c, err := Dir{Path: dir}.Fetch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c.Hash
	}
	write("apps/a/app.config", "one")
	first := hash()
	write("_build/x", "built")
	if hash() != first {
		t.Error("a build changed the digest")
	}
	write("apps/a/app.config", "two")
	if hash() == first {
		t.Error("a change of a file did not change the digest")
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	c, err := Dir{Path: dir}.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Tree.Open("out/passwd"); !errors.Is(err, ErrLink) {
		t.Errorf("opening through a link gave %v", err)
	}
}
