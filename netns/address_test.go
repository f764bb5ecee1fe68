package netns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestChooseFillsThePool(t *testing.T) {
	pool := netip.MustParsePrefix("10.9.8.0/28")
	used := make(map[netip.Addr]int)
	for i := range 8 {
		p, err := choose(pool, fmt.Sprint(i), used)
		if err != nil {
			t.Fatal(err)
		}
		if used[p.host] > 0 || used[p.guest] > 0 || !pool.Contains(p.host) || p.guest != p.host.Next() {
			t.Fatalf("pair %d: %v, used %v", i, p, used)
		}
		if back, ok := pairAround(p.host); !ok || back != p {
			t.Fatalf("pair around %s: %v, %t", p.host, back, ok)
		}
		used[p.host]++
	}
	_, err := choose(pool, "one too many", used)
	if err == nil || !strings.Contains(err.Error(), "all 8 pairs of pool 10.9.8.0/28") {
		t.Errorf("error %v, want one that names the pool", err)
	}
}

func TestChooseIsStable(t *testing.T) {
	pool := netip.MustParsePrefix(DefaultPool)
	first, err := choose(pool, "tag pulse 0", nil)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := map[netip.Addr]int{netip.MustParseAddr("192.0.2.1"): 1, netip.MustParseAddr("::1"): 1}
	if again, err := choose(pool, "tag pulse 0", elsewhere); err != nil || again != first {
		t.Errorf("second choice %v, %v; want %v", again, err, first)
	}
	byGuest := map[netip.Addr]int{first.guest: 1}
	if next, err := choose(pool, "tag pulse 0", byGuest); err != nil || next == first {
		t.Errorf("choice beside a taken guest address: %v, %v", next, err)
	}
}

func TestPairAroundGuestHalf(t *testing.T) {
	if p, ok := pairAround(netip.MustParseAddr("10.0.0.1")); ok {
		t.Errorf("10.0.0.1 is no host half, got %v", p)
	}
}

func TestCheckPool(t *testing.T) {
	for pool, ok := range map[string]bool{
		"10.231.0.0/16": true, "192.0.2.4/31": true, "10.0.0.0/8": true,
		"0.0.0.0/0": false, "192.0.2.4/32": false, "fd00::/64": false,
	} {
		if err := checkPool(netip.MustParsePrefix(pool)); (err == nil) != ok {
			t.Errorf("pool %s: %v", pool, err)
		}
	}
}

func TestOverlap(t *testing.T) {
	pool := netip.MustParsePrefix(DefaultPool)
	tests := []struct {
		dst  string
		ours bool
		want bool
	}{
		{dst: "10.231.4.0/24", want: true},
		{dst: "10.0.0.0/8", want: true},
		{dst: "10.231.4.0/31", ours: true},
		{dst: "10.230.0.0/16"},
		{dst: "192.0.2.0/24"},
		{dst: "0.0.0.0/0"},
		{dst: "0.0.0.0/1"}, // half a default route
		{dst: "8.0.0.0/7"},
	}
	for _, test := range tests {
		err := overlap(pool, []route{{dst: netip.MustParsePrefix(test.dst), link: "wg0", ours: test.ours}})
		if (err != nil) != test.want {
			t.Errorf("route %s, ours %t: %v", test.dst, test.ours, err)
		}
		if err != nil && (!strings.Contains(err.Error(), test.dst) || !strings.Contains(err.Error(), "wg0") || !strings.Contains(err.Error(), "pool")) {
			t.Errorf("error %q does not name the route, its device and the key to change", err)
		}
	}
}
