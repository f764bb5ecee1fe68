//go:build integration

package links

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// newRig starts the parts around the program in bin/.
func newRig(tb testing.TB) *Rig {
	tb.Helper()
	dir, err := os.MkdirTemp("", "beamsandbox-links-")
	if err != nil {
		tb.Fatal(err)
	}
	binary, err := filepath.Abs("../../bin/sandbox-gateway")
	if err != nil {
		tb.Fatal(err)
	}
	r, err := New(tb.Context(), binary, dir)
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			more, _ := os.ReadFile(filepath.Join(dir, "gateway", "gateway.log"))
			tb.Logf("nodes said:\n%s\ngateway said:\n%s", log, more)
		}
		os.RemoveAll(dir)
	})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// TestEachWayIsMeasured: the ways are what they are called, and a crowd is
// linked and carries messages.
func TestEachWayIsMeasured(t *testing.T) {
	r := newRig(t)
	c, err := r.Crowd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Grow(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if share, err := c.Load(t.Context(), 1); err != nil || share <= 0 || share > 0.5 {
		t.Errorf("three idle guests take %.3f of a processor, %v", share, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	ways := []Way{Direct, Copied, Trusted, Enforce}
	all, err := r.Pair(t.Context(), Plan{Rounds: 1, Trips: 1000, Sizes: []int{1000}, Each: 10 * time.Millisecond}, ways...)
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range ways {
		if f := all[way]; f.P50 <= 0 || f.P99 < f.P50 || f.From[1000].MB <= 0 || f.To[1000].MB <= 0 {
			t.Errorf("%s: %+v", way, f)
		}
		if took := all[way].CPU > 1; took != way.gateway() {
			t.Errorf("%s: the gateway took %.1f us for a round trip", way, all[way].CPU)
		}
	}
}

// BenchmarkPair prints what make bench measures of one link.
func BenchmarkPair(b *testing.B) {
	for b.Loop() {
		r := newRig(b)
		p := Plan{Rounds: 5, Trips: 3000, Sizes: []int{100, 1000, 64_000, 1_000_000}, Each: 150 * time.Millisecond}
		ways := []Way{Direct, Copied, Trusted, Enforce}
		all, err := r.Pair(b.Context(), p, ways...)
		if err != nil {
			b.Fatal(err)
		}
		fmt.Println(Table(all, p.Sizes, ways...))
	}
}

// BenchmarkCrowd prints what make bench measures of many links.
func BenchmarkCrowd(b *testing.B) {
	for b.Loop() {
		r := newRig(b)
		c, err := r.Crowd(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		for _, n := range []int{0, 10, 100, 500} {
			if err := c.Grow(b.Context(), n); err != nil {
				b.Fatal(err)
			}
			bytes, err := r.Memory(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			fmt.Printf("%d links: %d kB\n", n, bytes>>10)
			if n == 100 {
				share, err := c.Load(b.Context(), 5)
				if err != nil {
					b.Fatal(err)
				}
				fmt.Printf("100 guests, a message a second each: %.2f%% of a core\n", 100*share)
			}
		}
	}
}

// TestHostileCrowdIsBounded: 100 guests announce messages of 8 MB and send all
// of them but the end. The gateway's memory stays within what it gives to
// large messages, those who hold it lose their links once others wait, and an
// innocent guest's large messages pass.
func TestHostileCrowdIsBounded(t *testing.T) {
	const hostile, announced, sent = 100, 8 << 20, 7 << 20
	r := newRig(t)
	c, err := r.Crowd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Grow(t.Context(), hostile+1); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	part := append(binary.BigEndian.AppendUint32(nil, announced), make([]byte, sent)...)
	for _, g := range c.guests[:hostile] {
		wg.Go(func() { _, _ = g.Write(part) }) // many are cut off
	}
	most := 0
	for range 20 {
		if err := c.message(hostile, 2<<20); err != nil {
			t.Fatalf("the innocent guest: %v", err)
		}
		bytes, err := r.Memory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, bytes)
	}
	wg.Wait()
	t.Logf("the gateway took %d MB at most", most>>20)
	if most > 512<<20 {
		t.Errorf("the gateway took %d MB", most>>20)
	}
	nodes, err := r.gateway.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	up := 0
	for _, n := range nodes {
		if n.Up {
			up++
		}
		if string(n.Name) == "crowd100" && !n.Up {
			t.Errorf("the innocent guest is not linked: %+v", n)
		}
	}
	if up > hostile/2 {
		t.Errorf("%d guests hold on to what others wait for", up)
	}
}
