package reconcile_test

import (
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/reconcile"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// quarantined is a bench with pulse running and then kept off.
func quarantined(t *testing.T, test func(b *bench)) {
	inWorld(t, func(b *bench) {
		b.start()
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.after(time.Minute)
		b.wantPhase("pulse", status.Healthy)
		b.diary()
		b.world.Nodes.Quarantine("pulse", true)
		b.after(time.Second)
		test(b)
	})
}

func (b *bench) wantQuarantined() {
	b.Helper()
	a := b.wantPhase("pulse", status.Quarantined)
	if a.Reason != "quarantined" || a.Pid != 0 || a.Quarantine == nil || a.Quarantine.Rule != "forged" ||
		!strings.Contains(a.Detail, "5 times within ten minutes, last for breaking rule forged; 'sandboxctl quarantine lift pulse'") {
		b.Errorf("pulse is %+v", a)
	}
	if _, runs := b.world.Tasks.Get("pulse"); runs {
		b.Error("its task still runs")
	}
}

func TestQuarantinedGuestIsStoppedForGood(t *testing.T) {
	quarantined(t, func(b *bench) {
		b.wantQuarantined()
		if !b.r.Status().Settled {
			b.Error("the host is not settled")
		}
		b.r.Trigger() // no sync lifts it
		b.after(time.Hour)
		b.wantQuarantined()
		steps, err := b.r.Plan(b.Context())
		if err != nil || len(steps) != 1 || steps[0].Action != "keep" || !strings.Contains(steps[0].Why, "quarantined at") {
			b.Errorf("plan is %+v, %v", steps, err)
		}
		b.world.Nodes.Restart()
		b.after(time.Minute)
		b.wantQuarantined()
	})
}

func TestQuarantineSurvivesTheDaemon(t *testing.T) {
	quarantined(t, func(b *bench) {
		b.halt()
		b.start()
		b.after(time.Minute)
		b.wantQuarantined()
	})
}

// The daemon was away when the gateway decided: the guest still runs.
func TestQuarantineThatNobodyTold(t *testing.T) {
	for name, away := range map[string]bool{"the event is missed": false, "the daemon was away": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(b *bench) {
				b.start()
				b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
				b.after(time.Minute)
				if away {
					b.halt()
				}
				b.world.Nodes.Quarantine("pulse", false)
				if away {
					b.start()
				}
				b.after(20 * time.Second) // the repository is not looked at meanwhile
				b.wantQuarantined()
			})
		})
	}
}

func TestQuarantineIsLifted(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(b *bench)
		want status.Phase
	}{
		"by the operator":    {func(b *bench) { must(b, b.r.Lift(b.Context(), "pulse")) }, status.Healthy},
		"by another version": {func(b *bench) { b.commit(map[string]string{"pulse": guest("pulse", "1.0.1", "")}) }, status.Healthy},
		"not by other env":   {func(b *bench) { b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ", env => #{a => 1}")}) }, status.Quarantined},
		"not by other limits": {func(b *bench) {
			b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ", vm_config => #{memory_limit => 64}")})
		}, status.Quarantined},
		"not into the host VM":    {func(b *bench) { b.commit(map[string]string{"pulse": embedded("pulse", "1.0.0", "")}) }, status.Quarantined},
		"other code may go there": {func(b *bench) { b.commit(map[string]string{"pulse": embedded("pulse", "1.0.1", "")}) }, status.Healthy},
		"not by coming back": {func(b *bench) {
			b.commit(nil)
			b.after(time.Minute)
			b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		}, status.Quarantined},
	} {
		t.Run(name, func(t *testing.T) {
			quarantined(t, func(b *bench) {
				tc.do(b)
				b.after(time.Minute)
				a := b.wantPhase("pulse", tc.want)
				if (a.Quarantine != nil) != (tc.want == status.Quarantined) {
					b.Errorf("quarantine %+v", a.Quarantine)
				}
			})
		})
	}
}

func must(b *bench, err error) {
	b.Helper()
	if err != nil {
		b.Error(err)
	}
}

func TestLiftOfWhatIsNotQuarantined(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.start()
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.after(time.Minute)
		for name, want := range map[app.Name]string{"pulse": "pulse is not quarantined", "nobody": "no app nobody on this host"} {
			if err := b.r.Lift(b.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
				b.Errorf("lift %s: %v", name, err)
			}
		}
	})
}

func TestPlanOfAQuarantinedApp(t *testing.T) {
	spec := app.Spec{Name: "pulse", Version: "1.0.0", Isolation: app.VM}
	have := map[app.Name]reconcile.Have{"pulse": {Isolation: app.VM, Quarantine: &distribution.Quarantine{Build: spec.BuildDigest(), Rule: "forged"}}}
	for version, want := range map[string]reconcile.Action{"1.0.0": reconcile.Keep, "1.0.1": reconcile.Deploy} {
		spec.Version = version
		steps := reconcile.Plan(app.Set{Specs: map[app.Name]app.Spec{"pulse": spec}}, have)
		if len(steps) != 1 || steps[0].Action != want {
			t.Errorf("%s: %+v", version, steps)
		}
	}
}
