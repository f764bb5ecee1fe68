package netns

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
)

// A pair is the two addresses of one /31 (RFC 3021).
type pair struct{ host, guest netip.Addr }

func slash31(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 31) }

// pairAround returns the pair whose host end is a; ok is false when a is the
// guest's half.
func pairAround(a netip.Addr) (p pair, ok bool) {
	n := toUint(a)
	return pair{host: a, guest: fromUint(n | 1)}, n&1 == 0
}

func toUint(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func fromUint(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

func checkPool(p netip.Prefix) error {
	if !p.IsValid() || !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 31 {
		return fmt.Errorf("check pool %s: want an IPv4 range between /8 and /31", p)
	}
	return nil
}

// choose picks a free pair of pool for the guest that seed names. Without
// clashes a guest gets the same pair every time, so addresses in old logs
// still mean something. used has a key for
// every address that the machine carries.
func choose(pool netip.Prefix, seed string, used map[netip.Addr]int) (pair, error) {
	taken := make(map[uint32]bool, len(used))
	for a := range used {
		if a.Is4() {
			taken[toUint(a)&^1] = true
		}
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(seed)) // never fails
	base, size := toUint(pool.Masked().Addr()), uint32(1)<<(31-pool.Bits())
	start := hash.Sum32() % size
	for i := range size {
		n := base + (start+i)%size*2
		if !taken[n] {
			return pair{host: fromUint(n), guest: fromUint(n + 1)}, nil
		}
	}
	return pair{}, fmt.Errorf("choose address: all %d pairs of pool %s are in use, configure a larger one", size, pool)
}

// A route is a network the machine already reaches over a device.
type route struct {
	dst  netip.Prefix
	link string
	ours bool // over a guest's link
}

// overlap returns an error naming the first route that pool would shadow.
// Routes wider than /8 are the default route in one form or another (VPNs
// split it in two or more), and every pool is part of it.
func overlap(pool netip.Prefix, routes []route) error {
	for _, r := range routes {
		if r.ours || r.dst.Bits() < 8 || !r.dst.Overlaps(pool) {
			continue
		}
		return fmt.Errorf("check pool %s: it overlaps the route to %s over %s, set pool in the configuration of sandboxd to a range that is free on this machine", pool, r.dst, r.link)
	}
	return nil
}
