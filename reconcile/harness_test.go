package reconcile_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"beamsandbox/policy"
	"beamsandbox/reconcile"
	"beamsandbox/reconcile/reconciletest"
	"beamsandbox/reconcile/status"
	"beamsandbox/reconcile/telemetry"
)

// bench is a reconciler over a world in memory, inside a synctest bubble.
type bench struct {
	*testing.T
	world *reconciletest.World
	r     *reconcile.Reconciler
	root  string
	files reconcile.Cookies                     // nil: those of the world
	host  reconcile.HostVM                      // nil: that of the world
	rooms func(reconcile.Rooms) reconcile.Rooms // nil: those of the world
	tls   reconcile.TLS
	later time.Duration // what certificates take the time for

	observe func(telemetry.Event) // what the reconciler tells, nil: nobody
	stop    context.CancelFunc
	done    chan struct{}
}

// inWorld runs test in a bubble with a reconciler that is not started yet.
func inWorld(t *testing.T, test func(b *bench)) {
	t.Helper()
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, world: reconciletest.NewWorld(), root: root}
		test(b)
		b.halt()
	})
}

// start starts a reconciler, or starts it again after halt.
func (b *bench) start() {
	cfg := reconcile.Config{HostNode: reconciletest.HostNode, Hostname: reconciletest.Hostname, Root: b.root, TLS: b.tls, Observe: b.observe}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(b.Output(), nil))
	}
	cookies, rooms := b.files, b.world.Rooms()
	if cookies == nil {
		cookies = b.world.Cookies
	}
	if b.rooms != nil {
		rooms = b.rooms(rooms)
	}
	host := b.host
	if host == nil {
		host = b.world.Host
	}
	b.r = reconcile.New(cfg, rooms, host, b.world.Repo, cookies, policy.Rules{}, log)
	ctx, cancel := context.WithCancel(context.Background())
	b.stop, b.done = cancel, make(chan struct{})
	go func(r *reconcile.Reconciler, done chan struct{}) {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			b.Errorf("run: %v", err)
		}
	}(b.r, b.done)
	synctest.Wait()
}

// halt ends the reconciler as a signal to the daemon does.
func (b *bench) halt() {
	if b.stop != nil {
		b.stop()
		<-b.done
		b.stop = nil
	}
}

// commit pushes apps (name to text of app.config) and has them looked at.
func (b *bench) commit(apps map[string]string) {
	files := map[string]string{"apps/.keep": "", "README.md": "apps"}
	for name, text := range apps {
		files["apps/"+name+"/app.config"] = text
	}
	b.world.Repo.Commit(files)
	if b.r != nil {
		b.r.Trigger()
	}
	synctest.Wait()
}

// after lets d pass and everything come to rest.
func (b *bench) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) app(name string) status.App {
	b.Helper()
	for _, a := range b.r.Status().Apps {
		if a.Name == name {
			return a
		}
	}
	return status.App{}
}

func (b *bench) wantPhase(name string, p status.Phase) status.App {
	b.Helper()
	a := b.app(name)
	if a.Phase != p {
		b.Errorf("%s is %q (%s: %s), want %q", name, a.Phase, a.Reason, a.Detail, p)
	}
	return a
}

// diary returns what was done since the last call, without the words in skip.
func (b *bench) diary() []string { return b.world.Diary.Take() }

// wantOrder checks that lines appear in this order, others between them.
func (b *bench) wantOrder(lines ...string) {
	b.Helper()
	all := b.diary()
	rest := all
	for _, l := range lines {
		i := slices.Index(rest, l)
		if i < 0 {
			b.Errorf("%q does not follow in:\n%s", l, strings.Join(all, "\n"))
			return
		}
		rest = rest[i+1:]
	}
}

// guest is the app.config of an isolated app.
func guest(name, version, more string) string {
	return fmt.Sprintf(`#{name => %s, version => <<"%s">>, source => #{type => git, url => <<"https://git.example/%s.git">>},
  isolation => vm %s}.`, name, version, name, more)
}

func embedded(name, version, more string) string {
	return fmt.Sprintf(`#{name => %s, version => <<"%s">>, source => #{type => git, url => <<"https://git.example/%s.git">>} %s}.`,
		name, version, name, more)
}
