package reconcile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"beamsandbox/reconcile"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/reconciletest"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

const pulseNode = "pulse@" + reconciletest.Hostname

// withFiles runs a world with one guest whose cookies are files.
func withFiles(t *testing.T, test func(b *bench, files *brittle)) {
	inWorld(t, func(b *bench) {
		files := &brittle{CookieFiles: reconcile.CookieFiles{Root: b.root, Configured: app.NewSecret(reconciletest.ClusterCookie),
			Getenv: func(string) string { return "" }}}
		b.files = files
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		b.wantPhase("pulse", status.Healthy)
		b.diary()
		test(b, files)
	})
}

// brittle are files that cannot be replaced for a while.
type brittle struct {
	reconcile.CookieFiles
	broken bool
	begun  func() // called after a rotation began, unless nil
}

func (f *brittle) Begin(name app.Name) (app.Secret, error) {
	s, err := f.CookieFiles.Begin(name)
	if f.begun != nil {
		f.begun()
	}
	return s, err
}

func (f *brittle) Commit(name app.Name) error {
	if f.broken {
		return errors.New("no space left on device")
	}
	return f.CookieFiles.Commit(name)
}

// agree checks that a node, the gateway and the file know one cookie, that it
// is not old, and returns it.
func (b *bench) agree(name app.Name, files *brittle, old string) string {
	b.Helper()
	if names, err := files.Pending(); err != nil || len(names) > 0 {
		b.Errorf("unfinished: %q, %v", names, err)
	}
	var member, next, kept app.Secret
	var node string
	var err error
	if name == "" {
		node = reconciletest.HostNode
		kept, err = files.Cluster()
	} else {
		node = pulseNode
		kept, err = files.Guest(name)
	}
	if err != nil {
		b.Error(err)
	}
	c, _ := b.world.Nodes.Config("pulse")
	if member, next = c.HostCookie, c.NextHostCookie; name != "" {
		member, next = c.Cookie, c.NextCookie
	}
	now := b.world.Knows(node)
	if now == old || member.Reveal() != now || kept.Reveal() != now || !next.Empty() {
		b.Errorf("%s knows %q (was %q), the gateway %q and %q, the file %q", node, now, old, member.Reveal(), next.Reveal(), kept.Reveal())
	}
	return now
}

// linkStayed checks that nothing was lost since the last look at the diary,
// and that a link which is lost now comes back.
func (b *bench) linkStayed() {
	b.Helper()
	for _, line := range b.diary() {
		if strings.HasSuffix(line, " down") || strings.Contains(line, "unregistered") || strings.HasPrefix(line, "tasks: ensure") {
			b.Errorf("the rotation did %q", line)
		}
	}
	b.world.Nodes.Cut("pulse")
	b.after(5 * time.Second)
	if a := b.wantPhase("pulse", status.Healthy); !a.Linked {
		b.Error("the link does not come back")
	}
	b.diary()
}

func (b *bench) rotate(name app.Name) status.Rotation {
	b.Helper()
	turn := func() (status.Rotation, error) { return b.r.RotateCookie(context.Background(), name) }
	if name == "" {
		turn = func() (status.Rotation, error) { return b.r.RotateCluster(context.Background()) }
	}
	got, err := turn()
	if err != nil {
		b.Fatal(err)
	}
	return got
}

func nodeOf(name app.Name) string {
	if name == "" {
		return reconciletest.HostNode
	}
	return pulseNode
}

func TestRotateCookies(t *testing.T) {
	for _, name := range []app.Name{"pulse", ""} {
		t.Run("of "+string(name), func(t *testing.T) {
			withFiles(t, func(b *bench, files *brittle) {
				old := b.world.Knows(nodeOf(name))
				for range 2 {
					if got := b.rotate(name); got.State != status.RotationDone || got.App != string(name) {
						t.Errorf("got %+v", got)
					}
					old = b.agree(name, files, old)
					b.linkStayed()
				}
				b.halt()
				b.start()
				b.after(5 * time.Second)
				b.wantPhase("pulse", status.Healthy)
				if now := b.world.Knows(nodeOf(name)); now != old {
					t.Error("a restart changed the cookie")
				}
			})
		})
	}
}

// TestRotationCutShort ends sandboxd after every step of a rotation: the next
// one finishes it, and no link is lost on the way.
func TestRotationCutShort(t *testing.T) {
	cut := errors.New("cut short")
	failing := func(verb string, nth int) func(b *bench, on bool) {
		return func(b *bench, on bool) {
			seen := 0
			hook := func(_ context.Context, v string, _ app.Name) error {
				if seen += strings.Count(v, verb); on && v == verb && seen >= nth {
					return cut
				}
				return nil
			}
			b.world.Nodes.Hook, b.world.Tasks.Hook = hook, hook
		}
	}
	deaf := func(node string) func(b *bench, on bool) {
		return func(b *bench, on bool) { b.world.Deaf(node, on) }
	}
	full := func(b *bench, on bool) { b.files.(*brittle).broken = on }
	for what, tc := range map[string]struct {
		name app.Name
		fail func(b *bench, on bool)
	}{
		"guest, gateway not told":                {"pulse", failing("rekey", 1)},
		"guest, it knows and its answer is lost": {"pulse", deaf(pulseNode)},
		"guest, its file is not written":         {"pulse", failing("set_cookie", 1)},
		"guest, gateway not told the end":        {"pulse", failing("rekey", 2)},
		"guest, not kept":                        {"pulse", full},
		"cluster, gateway not told":              {"", failing("rekey", 1)},
		"cluster, host knows, answer lost":       {"", deaf(reconciletest.HostNode)},
		"cluster, gateway not told the end":      {"", failing("rekey", 2)},
		"cluster, not kept":                      {"", full},
	} {
		t.Run(what, func(t *testing.T) {
			withFiles(t, func(b *bench, files *brittle) {
				old := b.world.Knows(nodeOf(tc.name))
				tc.fail(b, true)
				if got := b.rotate(tc.name); got.State != status.RotationPending {
					t.Errorf("got %+v", got)
				}
				b.halt()
				if names, err := files.Pending(); err != nil || !slices.Equal(names, []app.Name{tc.name}) {
					t.Errorf("unfinished: %q, %v", names, err)
				}
				tc.fail(b, false)
				b.wantAdmitted()
				b.start()
				b.after(30 * time.Second)
				b.wantPhase("pulse", status.Healthy)
				b.agree(tc.name, files, old)
				b.linkStayed()
			})
		})
	}
}

// wantAdmitted checks that the link stands and that the gateway would let it
// be made again, whichever cookie is in force.
func (b *bench) wantAdmitted() {
	b.Helper()
	for _, line := range b.diary() {
		if strings.HasSuffix(line, " down") {
			b.Errorf("the rotation did %q", line)
		}
	}
	if !b.world.Nodes.Admits("pulse") {
		b.Error("a link that is lost now would not come back")
	}
}

func TestRotationIsFinishedWithoutARestart(t *testing.T) {
	withFiles(t, func(b *bench, files *brittle) {
		old := b.world.Knows(pulseNode)
		b.world.Deaf(pulseNode, true)
		if got := b.rotate("pulse"); got.State != status.RotationPending || strings.Contains(got.Detail, b.world.Knows(pulseNode)) {
			t.Errorf("got %+v", got)
		}
		b.after(time.Minute)
		b.world.Nodes.Restart() // another gateway is told of both cookies
		b.after(5 * time.Second)
		if a := b.wantPhase("pulse", status.Healthy); !a.Linked {
			t.Error("the link does not come back in the middle of a rotation")
		}
		b.diary()
		b.world.Deaf(pulseNode, false)
		b.after(6 * time.Second)
		b.agree("pulse", files, old)
		b.linkStayed()
	})
}

// TestRefusedRotationIsUndone: the node's own words, which quote the cookie,
// are not shown.
func TestRefusedRotationIsUndone(t *testing.T) {
	for _, name := range []app.Name{"pulse", ""} {
		t.Run("of "+string(name), func(t *testing.T) {
			withFiles(t, func(b *bench, files *brittle) {
				old := b.world.Knows(nodeOf(name))
				b.world.Stubborn(nodeOf(name))
				got := b.rotate(name)
				if got.State != status.RotationFailed || !strings.Contains(got.Detail, "[redacted]") {
					t.Errorf("got %+v", got)
				}
				if now := b.agree(name, files, "another"); now != old {
					t.Errorf("the cookie is %q", now)
				}
				b.linkStayed()
			})
		})
	}
}

// TestRotationOfAGuestThatDoesNotRun is finished when it does.
func TestRotationOfAGuestThatDoesNotRun(t *testing.T) {
	withFiles(t, func(b *bench, files *brittle) {
		old := b.world.Knows(pulseNode)
		b.world.Mute("pulse", true)
		b.world.Exit("pulse", runtime.Exit{Status: 1})
		b.after(5 * time.Second)
		if got := b.rotate("pulse"); got.State != status.RotationPending {
			t.Errorf("got %+v", got)
		}
		b.after(time.Minute)
		b.world.Mute("pulse", false)
		b.world.Exit("pulse", runtime.Exit{Status: 1})
		b.after(20 * time.Second)
		b.wantPhase("pulse", status.Healthy)
		b.agree("pulse", files, old)
		b.diary()
		b.linkStayed()
		if _, err := files.Begin("pulse"); err != nil {
			t.Fatal(err)
		}
		b.world.Deaf(pulseNode, true)
		b.commit(nil) // an app that is removed leaves nothing
		b.after(20 * time.Second)
		if left, _ := filepath.Glob(filepath.Join(b.root, "cookies", "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestWhatCannotBeRotated(t *testing.T) {
	withFiles(t, func(b *bench, files *brittle) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "counter": embedded("counter", "1.0.0", "")})
		b.after(time.Second)
		for name, want := range map[app.Name]string{"counter": "embedded", "nobody": "no app nobody"} {
			if _, err := b.r.RotateCookie(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		b.world.Host.Set(false)
		if _, err := b.r.RotateCluster(t.Context()); err == nil || !strings.Contains(err.Error(), "host VM") {
			t.Errorf("without a host VM: %v", err)
		}
		if names, _ := files.Pending(); len(names) > 0 {
			t.Errorf("begun: %q", names)
		}
	})
}

func TestCommitWithTheNextCookieIsRefused(t *testing.T) {
	withFiles(t, func(b *bench, files *brittle) {
		next, err := files.Begin("")
		if err != nil {
			t.Fatal(err)
		}
		b.world.Deaf(reconciletest.HostNode, true) // it stays unfinished
		b.world.Repo.Commit(map[string]string{"apps/.keep": "", "notes": "it is " + next.Reveal()})
		b.r.Trigger()
		b.after(time.Second)
		if h := b.r.Status(); !strings.Contains(h.Error, "notes holds the cluster's cookie") || strings.Contains(h.Error, next.Reveal()) {
			t.Errorf("host is %+v", h)
		}
	})
}

func TestClusterCookieAfterARotation(t *testing.T) {
	root, env := t.TempDir(), map[string]string{"ERLANG_COOKIE": "WRITTENBYTHEOPERATOR"}
	open := func() reconcile.CookieFiles {
		return reconcile.CookieFiles{Root: root, Getenv: func(k string) string { return env[k] }}
	}
	is := func(want app.Secret) {
		t.Helper()
		if got, err := open().Cluster(); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got.Reveal(), err, want.Reveal())
		}
	}
	turn := func() app.Secret {
		t.Helper()
		next, err := open().Begin("")
		again, _ := open().Begin("")
		if err != nil || again != next {
			t.Errorf("began %v twice: %v", next == again, err)
		}
		if err := open().Commit(""); err != nil {
			t.Error(err)
		}
		info, err := os.Stat(filepath.Join(root, "cookie"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		return next
	}
	is(app.NewSecret("WRITTENBYTHEOPERATOR"))
	first := turn()
	is(first)
	is(turn()) // the old one is still written, and counts as the newest
	env["ERLANG_COOKIE"] = "ANOTHERBYTHEOPERATOR"
	is(app.NewSecret("ANOTHERBYTHEOPERATOR")) // he has chosen one himself
	if !open().Outside() {
		t.Error("the environment is not seen")
	}
	delete(env, "ERLANG_COOKIE")
	kept := turn()
	is(kept)
	if next, err := open().Next(""); err != nil || !next.Empty() {
		t.Errorf("next is %v, %v", next, err)
	}
}

// TestRotationOutlivesWhoAsked: who asked for a rotation may go away in the
// middle of it.
func TestRotationOutlivesWhoAsked(t *testing.T) {
	withFiles(t, func(b *bench, files *brittle) {
		b.world.Peer("a@elsewhere")
		for _, name := range []app.Name{"", "pulse"} {
			ctx, cancel := context.WithCancel(context.Background())
			files.begun = cancel
			turn := b.r.RotateCluster
			if name != "" {
				turn = func(ctx context.Context) (status.Rotation, error) { return b.r.RotateCookie(ctx, name) }
			}
			if got, err := turn(ctx); err != nil || got.State != status.RotationDone {
				t.Errorf("rotation of %q: %+v, %v", name, got, err)
			}
			b.agree(name, files, "another")
		}
	})
}
