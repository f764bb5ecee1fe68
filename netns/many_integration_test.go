//go:build integration

package netns

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"beamsandbox/reconcile/app"
)

const many = 20

func guestNames() (names []app.Name) {
	for i := range many {
		names = append(names, app.Name(fmt.Sprintf("guest_%d", i)))
	}
	return names
}

// median of durations, and how long the slowest took.
func median(d []time.Duration) (p50, worst time.Duration) {
	slices.Sort(d)
	return d[len(d)/2], d[len(d)-1]
}

func TestManyAtOnce(t *testing.T) {
	h := newHost(t)
	var mu sync.Mutex
	byGuest := make(map[netip.Addr]app.Name)
	var took []time.Duration
	var wg sync.WaitGroup
	start := time.Now()
	for _, name := range guestNames() {
		wg.Go(func() {
			began := time.Now()
			n, err := h.Ensure(t.Context(), Config{Name: name, Flows: declared})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
			if other := byGuest[n.Guest]; other != "" {
				t.Errorf("%s and %s share %s", name, other, n.Guest)
			}
			byGuest[n.Guest] = name
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	all := time.Since(start)
	p50, worst := median(took)
	t.Logf("%d at once: %s in all, each p50 %s, worst %s", many, all, p50, worst)
	list, err := h.List(t.Context())
	if err != nil || len(list) != many {
		t.Fatalf("List: %d networks, %v", len(list), err)
	}
	for _, n := range list {
		if n.Path == "" || n.Link == "" || byGuest[n.Guest] != n.Name || len(n.Flows) != len(declared) {
			t.Errorf("incomplete: %+v", n)
		}
	}
	for _, name := range guestNames() {
		wg.Go(func() {
			if err := h.Remove(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if left := residue(t, h); left != nil {
		t.Errorf("left on the machine: %q", left)
	}
}

func TestOneAfterTheOther(t *testing.T) {
	h := newHost(t)
	ensure(t, h, Config{Name: "resident", Flows: declared})
	var up, again, down []time.Duration
	lap := func(into *[]time.Duration, fn func() error) {
		began := time.Now()
		if err := fn(); err != nil {
			t.Fatal(err)
		}
		*into = append(*into, time.Since(began))
	}
	for _, name := range guestNames() {
		c := Config{Name: name, Flows: declared}
		lap(&up, func() error { _, err := h.Ensure(t.Context(), c); return err })
		lap(&again, func() error { _, err := h.Ensure(t.Context(), c); return err })
		lap(&down, func() error { return h.Remove(t.Context(), name) })
	}
	for _, m := range []struct {
		what string
		d    []time.Duration
	}{{"set up", up}, {"ensure again", again}, {"remove", down}} {
		p50, worst := median(m.d)
		t.Logf("%s: p50 %s, worst %s", m.what, p50, worst)
	}
}

// TestTwoDaemons share a machine and a small pool, each with guests of the
// same names; two more Hosts share one run directory.
func TestTwoDaemons(t *testing.T) {
	run := []string{t.TempDir(), t.TempDir()}
	run = append(run, run[0])
	var hosts []*Host
	for _, dir := range run {
		h, err := New(Options{RunDir: dir, Pool: netip.MustParsePrefix("10.227.0.0/26")})
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	var mu sync.Mutex
	owner := make(map[netip.Addr]string)
	var wg sync.WaitGroup
	for _, h := range hosts {
		for i := range 10 {
			wg.Go(func() {
				name := app.Name(fmt.Sprintf("guest_%d", i))
				n, err := h.Ensure(t.Context(), Config{Name: name, Flows: declared})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				me := filepath.Join(h.dir, string(name))
				if other := owner[n.Guest]; other != "" && other != me {
					t.Errorf("%s and %s share %s", me, other, n.Guest)
				}
				owner[n.Guest] = me
			})
		}
	}
	wg.Wait()
	for _, h := range hosts[:2] {
		if list, err := h.List(t.Context()); err != nil || len(list) != 10 {
			t.Errorf("List: %d networks, %v; want its own 10", len(list), err)
		}
		if err := h.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, h := range hosts {
		if left := residue(t, h); left != nil {
			t.Errorf("left on the machine: %q", left)
		}
	}
}
