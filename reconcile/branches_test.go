package reconcile_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beamsandbox/images"
	"beamsandbox/reconcile"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/reconciletest"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

// remotes are git repositories whose branches are at head, for a room of
// images that builds what they hold.
type remotes struct {
	*reconciletest.Room[images.Recipe, images.Image]
	mu    sync.Mutex
	head  string
	asked int
	bad   []string // revisions that do not build
	built string   // the last one that did, which serves while the remote is away
}

func (r *remotes) set(head string, bad ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head, r.bad = head, bad
}

func (r *remotes) Head(_ context.Context, src app.Source) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if src.Ref == "v1" {
		return "", nil
	}
	if r.head == "" {
		return "", errors.New("connection refused")
	}
	return r.head, nil
}

func (r *remotes) Ensure(ctx context.Context, c images.Recipe) (images.Image, error) {
	i, err := r.Room.Ensure(ctx, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.bad, r.head) {
		return images.Image{}, errors.New(r.head + " does not build")
	}
	r.built = cmp.Or(r.head, r.built)
	i.Revision, i.Ref = r.built, "local/"+string(c.Name)+":"+r.built
	if c.Code {
		i.CodePaths = []string{"/code/" + string(c.Name) + "-" + r.built}
	}
	return i, err
}

// inRemotes is inWorld with branches that move.
func inRemotes(t *testing.T, test func(b *bench, r *remotes)) {
	inWorld(t, func(b *bench) {
		r := &remotes{Room: b.world.Images, head: "aaa"}
		b.rooms = func(rooms reconcile.Rooms) reconcile.Rooms {
			rooms.Images = r
			return rooms
		}
		test(b, r)
	})
}

func TestBranchThatMoves(t *testing.T) {
	inRemotes(t, func(b *bench, r *remotes) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "counter": embedded("counter", "1.0.0", ""),
			"fixed": strings.Replace(guest("fixed", "1.0.0", ""), `.git">>`, `.git">>, ref => <<"v1">>`, 1)})
		b.start()
		b.after(10 * time.Second)
		pid, fixed := b.wantPhase("pulse", status.Healthy).Pid, b.wantPhase("fixed", status.Healthy).Pid
		b.after(5 * time.Minute)
		if n := r.asked; n < 10 || n > 20 {
			t.Errorf("three sources were asked %d times in 5 minutes", n)
		}
		r.set("bbb")
		b.after(90 * time.Second)
		for name, was := range map[string]uint32{"pulse": pid, "counter": 0} {
			if a := b.wantPhase(name, status.Healthy); a.Revision != "bbb" || a.Pid == was && was != 0 {
				t.Errorf("%s is at %s, pid %d, before %d", name, a.Revision, a.Pid, was)
			}
		}
		apps, _ := b.world.Embedded.List(t.Context())
		if len(apps) != 1 || apps[0].CodePaths[0] != "/code/counter-bbb" {
			t.Errorf("the host VM runs %+v", apps)
		}
		if a := b.app("fixed"); a.Pid != fixed {
			t.Errorf("a tag does not move, pid %d became %d", fixed, a.Pid)
		}
		pid = b.app("pulse").Pid
		b.after(5 * time.Minute)
		if a := b.app("pulse"); a.Pid != pid || a.Restarts != 0 {
			t.Errorf("it was started again: %+v", a)
		}
	})
}

// What ends again and again is mended by the next commit: it is not the image
// that ended which is started again.
func TestBranchThatMendsACrash(t *testing.T) {
	inRemotes(t, func(b *bench, r *remotes) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(10 * time.Second)
		for range 12 {
			b.world.Exit("pulse", runtime.Exit{Status: 1})
			b.after(time.Until(b.app("pulse").NextRetry) + time.Second)
		}
		b.world.Exit("pulse", runtime.Exit{Status: 1})
		b.after(time.Second)
		b.wantPhase("pulse", status.Backoff)
		r.set("bbb")
		b.r.Trigger()
		b.after(10 * time.Second)
		if a := b.wantPhase("pulse", status.Healthy); a.Revision != "bbb" {
			t.Errorf("it runs at %s", a.Revision)
		}
	})
}

// A commit that does not build replaces nothing, is tried less and less often,
// also over a restart of the daemon, and the next one is tried at once.
func TestBranchThatBreaks(t *testing.T) {
	inRemotes(t, func(b *bench, r *remotes) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(10 * time.Second)
		pid := b.app("pulse").Pid
		broken := func(revision string) {
			t.Helper()
			b.after(90 * time.Second)
			if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid || a.Revision != "aaa" || !strings.Contains(a.Detail, revision+" does not build") {
				t.Errorf("pid %d (was %d), at %s: %s", a.Pid, pid, a.Revision, a.Detail)
			}
		}
		r.set("bbb", "bbb", "ccc")
		broken("bbb")
		r.set("ccc", "bbb", "ccc")
		broken("ccc")
		b.halt()
		b.start()
		broken("ccc")
		r.set("") // the remote is away
		b.after(2 * time.Minute)
		if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid {
			t.Errorf("pid %d became %d", pid, a.Pid)
		}
		r.set("aaa", "bbb")
		b.after(90 * time.Second)
		if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid || a.Detail != "" {
			t.Errorf("it moved back: pid %d (was %d), %s", a.Pid, pid, a.Detail)
		}
		r.set("ddd", "bbb")
		b.after(90 * time.Second)
		if a := b.wantPhase("pulse", status.Healthy); a.Pid == pid || a.Revision != "ddd" || a.Detail != "" {
			t.Errorf("the mended one: %+v", a)
		}
	})
}
