package reconcile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

func TestBackoffDoublesAndStartsOver(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "other": guest("other", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		other := b.app("other").Pid
		for i, wait := range []time.Duration{1, 2, 4, 8} {
			b.world.Exit("pulse", runtime.Exit{Status: 137, OOMKilled: true})
			b.after(wait*time.Second - time.Millisecond)
			a := b.wantPhase("pulse", status.Backoff)
			if a.Reason != "oom_killed" || a.Restarts != i+1 || a.NextRetry.IsZero() {
				t.Errorf("after end %d: %+v", i+1, a)
			}
			b.after(time.Second)
			b.wantPhase("pulse", status.Healthy)
		}
		b.after(2 * time.Minute) // well for long enough
		b.world.Exit("pulse", runtime.Exit{Status: 139})
		b.after(999 * time.Millisecond)
		if a := b.wantPhase("pulse", status.Backoff); a.Reason != "signal_11" {
			t.Errorf("reason is %q", a.Reason)
		}
		b.after(time.Second)
		b.wantPhase("pulse", status.Healthy)
		b.world.Exit("pulse", runtime.Exit{Status: 1})
		b.after(time.Millisecond)
		if a := b.app("pulse"); a.Reason != "exit_status_1" {
			t.Errorf("reason is %q", a.Reason)
		}
		b.r.Trigger() // the operator does not want to wait
		b.after(time.Second)
		b.wantPhase("pulse", status.Healthy)
		if a := b.wantPhase("other", status.Healthy); a.Pid != other || a.Restarts != 0 {
			t.Errorf("the other guest was touched: %+v", a)
		}
	})
}

func TestHostVMGoesAndComes(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.world.Host.Set(false)
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "counter": embedded("counter", "1.0.0", "")})
		b.start()
		b.after(5 * time.Second)
		if a := b.wantPhase("pulse", status.Joining); !strings.Contains(a.Detail, "host VM") || a.Pid == 0 {
			t.Errorf("without a host VM: %+v", a)
		}
		b.wantPhase("counter", status.Pending)
		b.world.Host.Set(true)
		b.after(time.Second)
		pid := b.wantPhase("pulse", status.Healthy).Pid
		b.wantPhase("counter", status.Healthy)
		b.world.Host.Set(false)
		b.after(time.Second)
		b.wantPhase("pulse", status.Joining)
		b.diary()
		b.world.Host.Set(true)
		b.after(time.Second)
		if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid || !a.Linked {
			t.Errorf("after the host VM came back: %+v", a)
		}
		b.wantPhase("counter", status.Healthy)
		b.wantOrder("embedded: ensure counter")
	})
}

func TestGatewayRestart(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "other": guest("other", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		pid := b.app("pulse").Pid
		b.diary()
		b.world.Nodes.Restart()
		b.after(2 * time.Second)
		b.wantOrder("nodes: restarted", "nodes: ensure pulse", "nodes: pulse registered", "nodes: pulse up")
		if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid || !a.Linked {
			t.Errorf("after the gateway's restart: %+v", a)
		}
		b.wantPhase("other", status.Healthy)
	})
}

func TestRestartAdoptsWhatRuns(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "counter": embedded("counter", "1.0.0", ""), "dead": guest("dead", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		before := b.app("pulse")
		b.halt()
		b.world.Exit("dead", runtime.Exit{Status: 137, OOMKilled: true})
		b.diary()
		b.start()
		b.after(10 * time.Millisecond)
		if a := b.wantPhase("pulse", status.Healthy); a.Pid != before.Pid || a.Image != before.Image || a.Revision != before.Revision {
			t.Errorf("after the restart: %+v, before: %+v", a, before)
		}
		if a := b.wantPhase("dead", status.Backoff); a.Reason != "oom_killed" || a.Restarts != 1 {
			t.Errorf("a guest that died meanwhile: %+v", a)
		}
		for _, line := range b.diary() {
			if strings.HasSuffix(line, " pulse") || strings.HasPrefix(line, "embedded: ") {
				t.Errorf("the restart did %q", line)
			}
		}
		b.after(2 * time.Second)
		b.wantPhase("dead", status.Healthy)
		b.wantPhase("counter", status.Healthy)
	})
}

func TestRestartAdoptsDespiteASickDependency(t *testing.T) {
	inWorld(t, func(b *bench) {
		apps := map[string]string{"web": guest("web", "1.0.0", ", depends_on => [db]"), "db": guest("db", "1.0.0", "")}
		b.commit(apps)
		b.start()
		b.after(2 * time.Second)
		pid := b.wantPhase("web", status.Healthy).Pid
		b.halt()
		b.world.Mute("db", true)
		b.world.Exit("db", runtime.Exit{Status: 1})
		b.start()
		b.after(5 * time.Second)
		b.wantPhase("db", status.Joining)
		if a := b.wantPhase("web", status.Healthy); a.Pid != pid {
			t.Errorf("web is %+v", a)
		}
	})
}

func TestControlConnectionIsLostAndLinksStay(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		b.diary()
		b.world.Host.Blink()
		b.after(10 * time.Minute)
		b.wantPhase("pulse", status.Healthy)
		if d := b.diary(); len(d) > 0 {
			t.Errorf("a lost control connection did %v", d)
		}
	})
}

func TestRestartWhileTheRepositoryIsAway(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		pid := b.app("pulse").Pid
		b.halt()
		b.world.Repo.Fail(errors.New("connection refused"))
		b.start()
		b.after(time.Second)
		if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid {
			t.Errorf("pulse is %+v", a)
		}
		if h := b.r.Status(); !strings.Contains(h.Error, "connection refused") || h.Settled {
			t.Errorf("host is %+v", h)
		}
		b.world.Exit("pulse", runtime.Exit{Status: 1})
		b.after(5 * time.Second)
		b.wantPhase("pulse", status.Healthy)
	})
}

func TestHistoryMayBeLost(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		b.world.Exit("pulse", runtime.Exit{Status: 1})
		b.after(5 * time.Second)
		pid := b.wantPhase("pulse", status.Healthy).Pid
		b.halt()
		file := filepath.Join(b.root, "history.json")
		if data, err := os.ReadFile(file); err != nil || !strings.Contains(string(data), "exit_status_1") {
			t.Errorf("history holds %s, %v", data, err)
		}
		if err := os.WriteFile(file, []byte("junk"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.start()
		b.after(time.Second)
		if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid {
			t.Errorf("the guest was restarted: %+v", a)
		}
	})
}

func TestOrphansAreRemoved(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "gone": guest("gone", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		b.halt()
		b.world.Repo.Commit(map[string]string{"apps/pulse/app.config": guest("pulse", "1.0.0", "")})
		if err := b.world.Tasks.Remove(context.Background(), "gone"); err != nil {
			t.Fatal(err)
		}
		b.diary()
		b.start()
		b.after(time.Second)
		b.wantOrder("nodes: remove gone", "networks: remove gone")
		b.wantPhase("pulse", status.Healthy)
	})
}

func TestStuckGuestIsKilledAfterTheGrace(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.world.Stuck("pulse", true)
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		b.commit(nil)
		b.after(9 * time.Second)
		b.wantPhase("pulse", status.Stopping)
		b.after(2 * time.Second)
		b.wantOrder("guest pulse: init:stop", "tasks: remove pulse", "nodes: remove pulse", "networks: remove pulse")
		if apps := b.r.Status().Apps; len(apps) > 0 {
			t.Errorf("still shown: %+v", apps)
		}
	})
}

func TestApplicationThatTheReleaseDidNotStart(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.world.Idle("pulse", true)
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		b.wantPhase("pulse", status.Healthy)
		b.wantOrder("guest pulse: ensure_all_started")
	})
}

func TestFailingHealthCheck(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ", health => #{type => http, port => 8080, interval => 1000}")})
		b.start()
		b.after(time.Second)
		pid := b.wantPhase("pulse", status.Healthy).Pid
		b.world.HTTPStatus("pulse", 503)
		b.after(2 * time.Second)
		b.wantPhase("pulse", status.Healthy)
		b.after(time.Second)
		if a := b.wantPhase("pulse", status.Unhealthy); !strings.Contains(a.Health, "503") || a.Pid != pid {
			t.Errorf("unhealthy: %+v", a)
		}
		b.world.HTTPStatus("pulse", 200)
		b.after(time.Second)
		b.wantPhase("pulse", status.Healthy)
		b.world.HTTPStatus("pulse", 503)
		b.after(7 * time.Second)
		b.world.HTTPStatus("pulse", 200)
		b.after(3 * time.Second)
		if a := b.wantPhase("pulse", status.Healthy); a.Pid == pid || a.Restarts != 1 {
			t.Errorf("a sick guest was not started again: %+v", a)
		}
	})
}
