package reconcile_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"beamsandbox/images"
	"beamsandbox/reconcile"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

// retiring is a room of images that has something to say of a version.
type retiring struct {
	reconcile.Room[images.Recipe, images.Image]
	version string
	notes   []string
}

func (r retiring) Ensure(ctx context.Context, c images.Recipe) (images.Image, error) {
	i, err := r.Room.Ensure(ctx, c)
	if c.Version == r.version {
		i.Notes = r.notes
	}
	return i, err
}

// noting has the bench's images of a version come with notes.
func (b *bench) noting(version string, notes ...string) {
	b.rooms = func(r reconcile.Rooms) reconcile.Rooms {
		r.Images = retiring{r.Images, version, notes}
		return r
	}
}

// TestNotes: what there is to know of a build is told, and it runs, for as
// long as it runs: also by a daemon that only found it running.
func TestNotes(t *testing.T) {
	for isolation, config := range map[app.Isolation]func(name, version, more string) string{app.VM: guest, app.Embedded: embedded} {
		t.Run(string(isolation), func(t *testing.T) {
			inWorld(t, func(b *bench) {
				const note = `recon 2.5.2 is retired: security: "take 2.5.6"`
				b.noting("2.5.2", note)
				b.commit(map[string]string{"recon": config("recon", "2.5.2", "")})
				b.start()
				for _, when := range []string{"deployed", "found", "found again"} {
					b.after(time.Second)
					if a := b.wantPhase("recon", status.Healthy); !slices.Equal(a.Notes, []string{note}) || a.Reason != "" {
						t.Errorf("when %s: notes %q, reason %q", when, a.Notes, a.Reason)
					}
					b.halt()
					b.start()
				}
				b.commit(map[string]string{"recon": config("recon", "2.5.6", "")})
				b.after(time.Minute)
				if a := b.wantPhase("recon", status.Healthy); a.Notes != nil || a.Version != "2.5.6" {
					t.Errorf("%s has notes %q", a.Version, a.Notes)
				}
			})
		})
	}
}

// TestNotesOfAReconfiguredGuest: another env changes nothing about the build.
func TestNotesOfAReconfiguredGuest(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.noting("1.0.0", "one", "two")
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ", env => #{a => 1}")})
		b.start()
		b.after(time.Second)
		pid := b.wantPhase("pulse", status.Healthy).Pid
		for range 2 {
			b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ", env => #{a => 2}")})
			b.after(time.Second)
			if a := b.wantPhase("pulse", status.Healthy); a.Pid != pid || !slices.Equal(a.Notes, []string{"one", "two"}) {
				t.Errorf("pid %d, then %d with notes %q", pid, a.Pid, a.Notes)
			}
			b.halt()
			b.start()
		}
	})
}

// TestTooManyNotes: a label of containerd holds so much; what does not fit is
// left out whole.
func TestTooManyNotes(t *testing.T) {
	inWorld(t, func(b *bench) {
		var notes []string
		for i := range 100 {
			notes = append(notes, fmt.Sprintf("%d %s", i, strings.Repeat("x", 95)))
		}
		b.noting("1.0.0", notes...)
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		b.start()
		b.after(time.Second)
		if a := b.wantPhase("pulse", status.Healthy); !slices.Equal(a.Notes, notes) {
			t.Errorf("%d notes of %d are told", len(a.Notes), len(notes))
		}
		b.halt()
		b.start()
		b.after(time.Second)
		a := b.wantPhase("pulse", status.Healthy)
		if n := len(a.Notes); n < 30 || !slices.Equal(a.Notes, notes[:n]) {
			t.Errorf("after a restart %d notes are told: %q", n, a.Notes)
		}
		all, err := b.world.Tasks.List(b.Context())
		must(b, err)
		if !slices.ContainsFunc(all, func(t runtime.Task) bool { return len(t.Labels["notes"]) > 3000 && len(t.Labels["notes"]) < 4096 }) {
			t.Errorf("no task has the notes in a label of less than 4096 bytes")
		}
	})
}
