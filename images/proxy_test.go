package images

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// repository makes a git repository of these files, committed on top of each
// other, and returns its file address and the commits.
func repository(t *testing.T, dir string, commits ...map[string]string) (address string, hashes []string) {
	t.Helper()
	repo, err := git.PlainInitWithOptions(dir, &git.PlainInitOptions{InitOptions: git.InitOptions{DefaultBranch: plumbing.Main}})
	if err != nil {
		t.Fatal(err)
	}
	work, err := repo.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	for _, files := range commits {
		for name, content := range files {
			p := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := work.Add(name); err != nil {
				t.Fatal(err)
			}
		}
		who := &object.Signature{Name: "t", Email: "t@example.org", When: time.Unix(1, 0)}
		h, err := work.Commit("c", &git.CommitOptions{Author: who, AllowEmptyCommits: true})
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, h.String())
	}
	return "file://" + dir, hashes
}

// serve starts a proxy for an app whose source is local, and returns what
// git needs in its environment to go through it.
func serve(t *testing.T, source string, allowed ...string) (p *proxy, base string, env []string) {
	t.Helper()
	p = &proxy{
		name: "a", source: source, log: io.Discard, allowed: map[string]bool{},
		mirror: mirror{dir: t.TempDir(), lock: new(sync.Mutex)},
	}
	p.allow(allowed...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	env = append(gitEnv(uint16(l.Addr().(*net.TCPAddr).Port)), "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir())
	return p, "http://" + l.Addr().String(), env
}

func runGit(t *testing.T, env []string, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Env, cmd.Dir = env, dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestProxyServesDeclaredRepositories(t *testing.T) {
	inner, _ := repository(t, t.TempDir(), map[string]string{"rebar.config": "[]."})
	outer, hashes := repository(t, t.TempDir(),
		map[string]string{"rebar.config": `{deps, [{inner, {git, "` + inner + `", {branch, "main"}}}]}.`},
		map[string]string{"src/a.erl": "-module(a)."})
	_, _, env := serve(t, "file:///src", outer)
	to := t.TempDir()

	if out, err := runGit(t, env, to, "clone", "-q", inner, "early"); err == nil {
		t.Errorf("a repository that nothing declared yet was served:\n%s", out)
	}
	if out, err := runGit(t, env, to, "clone", "-q", outer, "outer"); err != nil {
		t.Fatalf("clone what is declared: %v\n%s", err, out)
	}
	if out, err := runGit(t, env, filepath.Join(to, "outer"), "rev-parse", "HEAD", "HEAD~1"); err != nil || out != hashes[1]+"\n"+hashes[0]+"\n" {
		t.Errorf("history = %q, %v; want %v", out, err, hashes)
	}
	if out, err := runGit(t, env, to, "clone", "-q", inner, "inner", "-b", "main", "--single-branch"); err != nil {
		t.Errorf("clone what a dependency declares: %v\n%s", err, out)
	}
	if out, err := runGit(t, env, filepath.Join(to, "outer"), "fetch", "-q", "origin"); err != nil {
		t.Errorf("fetch again: %v\n%s", err, out)
	}
}

func TestProxyFollowsTheRemote(t *testing.T) {
	dir := t.TempDir()
	remote, _ := repository(t, dir, map[string]string{"rebar.config": "[]."})
	_, _, env := serve(t, remote, remote)
	to := t.TempDir()
	if out, err := runGit(t, env, to, "clone", "-q", remote, "r"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	_, hashes := repository(t, dir, map[string]string{"new": "1"}, map[string]string{"newer": "2"})
	if out, err := runGit(t, env, filepath.Join(to, "r"), "fetch", "-q", "origin", "+main:refs/remotes/origin/main"); err != nil {
		t.Fatalf("fetch a rewritten branch: %v\n%s", err, out)
	}
	if out, err := runGit(t, env, filepath.Join(to, "r"), "rev-parse", "origin/main"); err != nil || strings.TrimSpace(out) != hashes[1] {
		t.Errorf("origin/main = %q, %v; want %s", out, err, hashes[1])
	}
}

func TestProxyRefuses(t *testing.T) {
	here, _ := repository(t, t.TempDir(), map[string]string{"a": "b"})
	p, base, _ := serve(t, "https://git.example/app.git", here, "ssh://git@other.example/x", "https://git.example/dep")
	for path, want := range map[string]string{
		"/https/evil.example/x/info/refs?service=git-upload-pack":                           "declares it",
		"/http/169.254.169.254/x/info/refs?service=git-upload-pack":                         "declares it",
		"/file" + strings.TrimPrefix(here, "file:/") + "/info/refs?service=git-upload-pack": "own folders",
		"/ssh/git@other.example/x/info/refs?service=git-upload-pack":                        "ssh is only used",
		"/https/git.example/dep/info/refs?service=git-receive-pack":                         "refuses",
		"/https/git.example/dep/HEAD":                                                       "refuses",
		"/hex/packages/cowboy":                                                              "it is not configured",
		"/":                                                                                 "refuses",
	} {
		response, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusForbidden || !strings.Contains(string(body), want) {
			t.Errorf("GET %s = %d %q, %v; want 403 with %q", path, response.StatusCode, body, err, want)
		}
	}
	if got := p.refused; len(got) != 8 {
		t.Errorf("%d refusals were noted, want 8: %q", len(got), got)
	}
}

func TestProxySurvivesNonsense(t *testing.T) {
	here, hashes := repository(t, t.TempDir(), map[string]string{"a": "b"})
	_, base, _ := serve(t, here, here)
	path := base + "/file" + strings.TrimPrefix(here, "file:/") + "/git-upload-pack"
	for _, body := range []string{
		"", "zzzz", "0032want " + hashes[0] + "\n", "ffff", "0000", "0009done\n",
		"0032want 0000000000000000000000000000000000000000\n00000009done\n",
		"000cdeepen 1", "0010want nothing\n",
	} {
		response, err := http.Post(path, "application/x-git-upload-pack-request", strings.NewReader(body))
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
}
