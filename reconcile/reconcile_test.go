package reconcile_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/reconciletest"
	"beamsandbox/reconcile/status"
)

func TestGuestWalksTheCorridor(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", `, env => #{http_port => 8080}, health => #{type => http, port => 8080}`)})
		b.start()
		b.after(time.Second)
		a := b.wantPhase("pulse", status.Healthy)
		b.wantOrder("images: ensure pulse", "networks: ensure pulse", "nodes: ensure pulse", "tasks: ensure pulse",
			"nodes: pulse registered", "nodes: pulse up")
		var stages []string
		for _, s := range a.Stages {
			stages = append(stages, s.Name)
		}
		want := []string{"image", "network", "gateway", "task", "joined", "verified", "healthy"}
		if !slices.Equal(stages, want) {
			t.Errorf("stages are %v, want %v", stages, want)
		}
		if a.Node != "pulse@myhost" || !a.Linked || a.Pid == 0 || a.Health != "http 200" || a.Address == "" {
			t.Errorf("status is %+v", a)
		}
		if h := b.r.Status(); !h.Settled || !h.HostUp || h.HostOTP != "25" || h.Error != "" {
			t.Errorf("host is %+v", h)
		}
		b.after(10 * time.Second)
		if a := b.app("pulse"); a.Memory == 0 || a.Drops["guest-egress"] != 3 {
			t.Errorf("counters are not shown: %+v", a)
		}
	})
}

func TestNothingChangesWithoutACommit(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "counter": embedded("counter", "1.0.0", "")})
		b.start()
		b.after(10 * time.Minute)
		b.wantPhase("pulse", status.Healthy)
		b.wantPhase("counter", status.Healthy)
		b.diary()
		b.after(time.Hour)
		if d := b.diary(); len(d) > 0 {
			t.Errorf("an hour of nothing did %v", d)
		}
	})
}

func TestDependenciesStartFirstAndStopLast(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{
			"web": guest("web", "1.0.0", ", depends_on => [db]"),
			"db":  guest("db", "1.0.0", ""),
		})
		b.start()
		b.after(5 * time.Second)
		b.wantPhase("web", status.Healthy)
		b.wantOrder("tasks: ensure db", "nodes: db up", "tasks: ensure web")
		b.commit(nil)
		b.after(5 * time.Second)
		b.wantOrder("guest web: init:stop", "tasks: remove web", "nodes: remove web", "networks: remove web",
			"guest db: init:stop", "tasks: remove db")
		if apps := b.r.Status().Apps; len(apps) > 0 {
			t.Errorf("still shown: %+v", apps)
		}
	})
}

func TestOneBrokenAppHidesNoOther(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{
			"bad": "#{name => bad,\n  version => }.", "pulse": guest("pulse", "1.0.0", ""),
			"a": guest("a", "1.0.0", ", depends_on => [b]"), "b": guest("b", "1.0.0", ", depends_on => [a]"),
		})
		b.start()
		b.after(5 * time.Second)
		b.wantPhase("pulse", status.Healthy)
		bad := b.wantPhase("bad", status.Broken)
		if !strings.Contains(bad.Detail, "apps/bad/app.config:2:") {
			t.Errorf("detail is %q, want file:line:column", bad.Detail)
		}
		if a := b.wantPhase("a", status.Failed); a.Reason != "cycle" || !strings.Contains(a.Detail, "a -> b -> a") {
			t.Errorf("cycle is shown as %+v", a)
		}
		// A running app whose file breaks goes on, and takes the mended file.
		pid := b.app("pulse").Pid
		b.commit(map[string]string{"pulse": "#{name => "})
		b.after(5 * time.Second)
		if a := b.wantPhase("pulse", status.Broken); a.Pid != pid || !a.Linked {
			t.Errorf("a broken file touched what runs: %+v", a)
		}
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.after(5 * time.Second)
		if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid {
			t.Errorf("the mended file restarted the guest: %+v", a)
		}
	})
}

func TestUpgradeBuildsBeforeItStops(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		pid := b.app("pulse").Pid
		b.diary()
		b.commit(map[string]string{"pulse": guest("pulse", "1.1.0", "")})
		b.after(5 * time.Second)
		b.wantOrder("images: ensure pulse", "guest pulse: init:stop", "tasks: ensure pulse", "nodes: pulse up")
		if a := b.wantPhase("pulse", status.Healthy); a.Version != "1.1.0" || a.Pid == pid || a.Restarts != 0 {
			t.Errorf("after the upgrade: %+v", a)
		}
	})
}

func TestFailedBuildKeepsTheOldVersion(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		pid := b.app("pulse").Pid
		tries := 0
		b.world.Images.Hook = func(context.Context, string, app.Name) error {
			tries++
			return errors.New("no such tag")
		}
		b.commit(map[string]string{"pulse": guest("pulse", "1.1.0", "")})
		b.after(time.Second)
		a := b.wantPhase("pulse", status.Healthy)
		if a.Pid != pid || a.Version != "1.0.0" || a.Reason != "build_failed" || !strings.Contains(a.Detail, "no such tag") {
			t.Errorf("after the failed build: %+v", a)
		}
		b.after(16 * time.Second) // tries at 0, 5 and 15 s
		if tries != 3 {
			t.Errorf("built %d times in 17 s, want 3", tries)
		}
		// A newer commit ends the retries at once.
		b.world.Images.Hook = nil
		b.commit(map[string]string{"pulse": guest("pulse", "1.2.0", "")})
		b.after(5 * time.Second)
		if a := b.wantPhase("pulse", status.Healthy); a.Version != "1.2.0" || a.Reason != "" {
			t.Errorf("after the good commit: %+v", a)
		}
	})
}

func TestReconfigureInPlace(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ", env => #{greeting => hello, old => 1}")})
		b.start()
		b.after(time.Second)
		pid := b.app("pulse").Pid
		b.diary()
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ", env => #{greeting => goodbye}")})
		b.after(time.Second)
		b.wantOrder("guest pulse: application:set_env/3", "tasks: relabel pulse")
		if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid {
			t.Errorf("the guest was restarted: %+v", a)
		}
	})
}

func TestMoveBothWays(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"counter": embedded("counter", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		if a := b.wantPhase("counter", status.Healthy); a.Isolation != "embedded" || a.Node != reconciletest.HostNode {
			t.Errorf("embedded: %+v", a)
		}
		b.diary()
		b.commit(map[string]string{"counter": guest("counter", "1.0.0", "")})
		b.after(5 * time.Second)
		b.wantOrder("images: ensure counter", "embedded: remove counter", "tasks: ensure counter", "nodes: counter up")
		if a := b.wantPhase("counter", status.Healthy); a.Isolation != "vm" || a.Pid == 0 {
			t.Errorf("in a guest: %+v", a)
		}
		b.commit(map[string]string{"counter": embedded("counter", "1.0.0", "")})
		b.after(5 * time.Second)
		b.wantOrder("images: ensure counter", "guest counter: init:stop", "tasks: remove counter",
			"nodes: remove counter", "networks: remove counter", "embedded: ensure counter")
		if a := b.wantPhase("counter", status.Healthy); a.Isolation != "embedded" || a.Pid != 0 || a.Address != "" {
			t.Errorf("embedded again: %+v", a)
		}
	})
}
