//go:build integration

package integration

import (
	"errors"
	"os"
	"testing"
	"time"

	"beamsandbox/reconcile/status"
)

// TestSurroundingsGit: whatever becomes of the repository, it is said on one
// line, what runs goes on, and the next good commit is followed.
func TestSurroundingsGit(t *testing.T) {
	p := newPlace(t, "git")
	p.up()
	p.ask(map[string]string{"counter": p.counter("step => 1")})
	p.serve()
	p.healthy("counter")
	guest := p.pid("counter")
	dir := p.gitops.Dir
	trouble := func(name string, make, mend func() error, parts ...string) {
		t.Run(name, func(t *testing.T) {
			inner := *p
			inner.t = t
			must(t, make())
			inner.sync()
			inner.shows(append([]string{"error"}, parts...)...)
			if a := inner.daemon.App(t.Context(), "counter"); a.Phase != status.Healthy || !a.Linked {
				t.Errorf("counter is %s: %s", a.Phase, a.Detail)
			}
			must(t, mend())
			inner.sync()
			inner.healthy("counter")
			inner.same("counter", guest)
		})
	}
	rename := func(from, to string) func() error { return func() error { return os.Rename(from, to) } }
	trouble("remote away", rename(dir, dir+".away"), rename(dir+".away", dir), "fetch file://"+dir, "no such file")
	trouble("branch missing", func() error { return p.gitops.Git("branch", "-m", "main", "trunk") },
		func() error { return p.gitops.Git("branch", "-m", "trunk", "main") }, `there is no branch "main"`)
	trouble("empty", func() error {
		return errors.Join(rename(dir, dir+".full")(), os.Mkdir(dir, 0o755), p.gitops.Git("init", "-q", "-b", "main"))
	}, func() error {
		return errors.Join(os.RemoveAll(dir), rename(dir+".full", dir)())
	}, "the repository has no commit yet")
	undo := func() error { return p.gitops.Git("reset", "-q", "--hard", "HEAD~1") }
	trouble("cookie", func() error {
		return errors.Join(p.gitops.Write("notes/setup.txt", []byte("cookie: "+p.Cookie+"\n")), p.gitops.Commit("Note the cookie"))
	}, undo, "notes/setup.txt holds the cluster's cookie")
	trouble("no apps folder", func() error {
		return errors.Join(p.gitops.Write("apps", nil), p.gitops.Commit("Clean up"))
	}, undo, "apps", "counter")

	t.Run("force push", func(t *testing.T) {
		inner := *p
		inner.t = t
		must(t, p.gitops.Write("apps/counter/app.config", []byte(p.counter("step => 7"))))
		must(t, errors.Join(p.gitops.Git("checkout", "-q", "--orphan", "other"), p.gitops.Commit("Begin anew"),
			p.gitops.Git("branch", "-M", "other", "main")))
		inner.sync()
		head, err := p.gitops.Head()
		must(t, err)
		must(t, p.daemon.Await(within(t, 20*time.Second), "the new history is followed", func(h status.Host) bool {
			return h.Commit == head && h.Settled
		}))
		inner.healthy("counter")
		inner.same("counter", guest)
	})
	p.ask(nil)
	p.sync()
	p.healthy()
}
