package reconcile_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/reconciletest"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

func TestPlanSaysWhatAPassWouldDo(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "old": guest("old", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		b.world.Repo.Commit(map[string]string{"apps/pulse/app.config": guest("pulse", "2.0.0", ""), "apps/new/app.config": embedded("new", "1.0.0", "")})
		steps, err := b.r.Plan(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range steps {
			got = append(got, s.Action+" "+s.App)
		}
		if want := []string{"remove old", "deploy new", "upgrade pulse"}; !slices.Equal(got, want) {
			t.Errorf("plan is %v, want %v", got, want)
		}
		b.wantPhase("old", status.Healthy) // nothing was done
	})
}

func TestSlowFollowersLoseEventsAndNotTheLoop(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		events := b.r.Subscribe(ctx)
		for range 60 {
			b.after(2 * time.Second)
			b.world.Exit("pulse", runtime.Exit{Status: 1})
			b.r.Trigger()
		}
		b.after(2 * time.Minute)
		b.wantPhase("pulse", status.Healthy)
		n := 0
		for range events {
			if n++; n == 256 {
				break
			}
		}
	})
}

func TestCommitsThatAreRefused(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		for _, tc := range []struct {
			name, want string
			files      map[string]string
		}{
			{"no apps folder", "apps/.keep", map[string]string{"README.md": "oops"}},
			{"cookie", "notes.txt holds the cluster's cookie", map[string]string{
				"apps/.keep": "", "notes.txt": "the cookie is " + reconciletest.ClusterCookie}},
		} {
			b.world.Repo.Commit(tc.files)
			b.r.Trigger()
			b.after(time.Second)
			h := b.r.Status()
			if !strings.Contains(h.Error, tc.want) || h.Settled || strings.Contains(h.Error, reconciletest.ClusterCookie) {
				t.Errorf("%s: error is %q", tc.name, h.Error)
			}
			b.wantPhase("pulse", status.Healthy)
		}
		b.world.Repo.Fail(errors.New("connection refused"))
		b.after(2 * time.Minute)
		if h := b.r.Status(); !strings.Contains(h.Error, "connection refused") {
			t.Errorf("error is %q", h.Error)
		}
		b.commit(nil)
		b.after(5 * time.Second)
		if h := b.r.Status(); h.Error != "" || len(h.Apps) > 0 {
			t.Errorf("an empty apps folder: %+v", h)
		}
	})
}

func TestDrainLeavesNothing(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "counter": embedded("counter", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.r.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		tasks, _ := b.world.Tasks.List(ctx)
		networks, _ := b.world.Networks.List(ctx)
		nodes, _ := b.world.Nodes.List(ctx)
		apps, _ := b.world.Embedded.List(ctx)
		images, _ := b.world.Images.List(ctx)
		if len(tasks)+len(networks)+len(nodes)+len(apps)+len(images) > 0 {
			t.Errorf("left: %v %v %v %v %v", tasks, networks, nodes, apps, images)
		}
		b.after(5 * time.Minute)
		if len(b.r.Status().Apps) > 0 {
			t.Error("a drained host deployed again")
		}
	})
}

func TestNewerCommitWhileTheOldOneIsBuilt(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.world.Images.Hook = func(ctx context.Context, _ string, _ app.Name) error {
			select {
			case <-time.After(30 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(10 * time.Second)
		b.wantPhase("pulse", status.Building)
		b.commit(map[string]string{"pulse": guest("pulse", "2.0.0", "")})
		b.after(31 * time.Second)
		if a := b.wantPhase("pulse", status.Healthy); a.Version != "2.0.0" {
			t.Errorf("runs %+v", a)
		}
		if d := b.diary(); slices.Index(d, "tasks: ensure pulse") != slices.IndexFunc(d, func(l string) bool { return strings.HasPrefix(l, "tasks: ensure") }) {
			t.Errorf("diary: %v", d)
		}
	})
}

func TestRemovedAndWantedAgain(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.world.Stuck("pulse", true)
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		b.commit(nil)
		b.after(2 * time.Second) // it takes its time to stop
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.after(20 * time.Second)
		b.wantPhase("pulse", status.Healthy)
	})
}

func TestFollowersSeeTheWay(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		ctx, cancel := context.WithCancel(context.Background())
		events := b.r.Subscribe(ctx)
		var kinds []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e := range events {
				kinds = append(kinds, e.Kind)
			}
		}()
		b.world.Exit("pulse", runtime.Exit{Status: 1})
		b.after(5 * time.Second)
		cancel()
		<-done
		for _, want := range []string{"exit", "error", "phase", "stage", "node_up"} {
			if !slices.Contains(kinds, want) {
				t.Errorf("no event %q in %v", want, kinds)
			}
		}
		synctest.Wait()
	})
}
