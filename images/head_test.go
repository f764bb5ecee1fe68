package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"beamsandbox/reconcile/app"
)

// A branch is where its remote says; what does not move is asked for nothing.
func TestHead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "app")
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=x", "-c", "user.email=x@localhost"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	git("init", "-q", "-b", "main")
	git("commit", "-q", "--allow-empty", "-m", "one")
	git("tag", "v1")
	git("tag", "-a", "v2", "-m", "two")
	git("branch", "v1") // a tag of the same name goes before it
	git("branch", "next")
	one := git("rev-parse", "HEAD")
	s := &Store{}
	for ref, want := range map[string]string{"": one, "HEAD": one, "main": one, "next": one, "refs/heads/next": one, "v1": "", "v2": "", "refs/tags/v1": "", one: ""} {
		got, err := s.Head(t.Context(), app.Source{Type: app.SourceGit, URL: "file://" + dir, Ref: ref})
		if err != nil || got != want {
			t.Errorf("%q is at %q, %v, want %q", ref, got, err, want)
		}
	}
	git("commit", "-q", "--allow-empty", "-m", "two")
	if got, err := s.Head(t.Context(), app.Source{Type: app.SourceGit, URL: "file://" + dir, Ref: "main"}); err != nil || got == one || got != git("rev-parse", "HEAD") {
		t.Errorf("main moved to %q, %v", got, err)
	}
	if _, err := s.Head(t.Context(), app.Source{Type: app.SourceGit, URL: "file://" + dir, Ref: "gone"}); err == nil || !strings.Contains(err.Error(), "no such branch or tag any more") {
		t.Errorf("a branch that is gone: %v", err)
	}
	for _, src := range []app.Source{{Type: app.SourceHex}, {Type: app.SourceRelease, URL: "file:///x"}, {Type: app.SourceImage, URL: "x/y:1"}} {
		if got, err := s.Head(t.Context(), src); got != "" || err != nil {
			t.Errorf("%s: %q, %v", src.Type, got, err)
		}
	}
}
