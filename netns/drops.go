package netns

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"beamsandbox/reconcile/app"
)

// Drops counts what a guest's firewall refused, by what was tried.
type Drops struct {
	Rule    string // "egress-tcp", "to-guest", "spoofed", …: docs/network.md lists them
	Packets uint64
	Bytes   uint64
}

// Tried is one destination that a guest wanted to reach and was refused.
type Tried struct {
	Protocol uint8          // IP protocol number: 6 TCP, 17 UDP, 1 ICMP
	Dest     netip.AddrPort // port 0 for protocols other than TCP and UDP
	Packets  uint64
	Bytes    uint64
	Ago      time.Duration // since the last try
}

// Drops returns the counters of name's two tables, added up by rule and
// sorted, zeros included. A sealed network has none. The error of a network
// that is not there wraps fs.ErrNotExist.
func (h *Host) Drops(ctx context.Context, name app.Name) ([]Drops, error) {
	if err := h.exists(ctx, name); err != nil {
		return nil, fmt.Errorf("read drops of %s: %w", name, err)
	}
	sum := make(map[string]Drops)
	err := errors.Join(
		addDrops(sum, hostTable(h.table(name))),
		Do(h.path(name), func() error { return addDrops(sum, guestTable()) }),
	)
	if err != nil {
		return nil, fmt.Errorf("read drops of %s: %w", name, err)
	}
	var all []Drops
	for _, rule := range slices.Sorted(maps.Keys(sum)) {
		all = append(all, sum[rule])
	}
	return all, nil
}

func addDrops(sum map[string]Drops, table *nftables.Table) error {
	return withNFT(func(c *nftables.Conn) error {
		counters, err := readCounters(c, table)
		for rule, n := range counters {
			have := sum[rule]
			sum[rule] = Drops{rule, have.Packets + n.Packets, have.Bytes + n.Bytes}
		}
		return err
	})
}

// Tried returns where name's guest wanted to go within the last hour, the
// latest first. The kernel remembers 256 destinations per guest; what comes
// when it is full is counted in Drops alone. A sealed network has none.
func (h *Host) Tried(ctx context.Context, name app.Name) ([]Tried, error) {
	if err := h.exists(ctx, name); err != nil {
		return nil, fmt.Errorf("read tries of %s: %w", name, err)
	}
	var all []Tried
	err := Do(h.path(name), func() (err error) {
		all, err = readTried()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read tries of %s: %w", name, err)
	}
	slices.SortFunc(all, func(a, b Tried) int {
		return cmp.Or(cmp.Compare(a.Ago, b.Ago), a.Dest.Compare(b.Dest))
	})
	return all, nil
}

func readTried() (all []Tried, err error) {
	err = withNFT(func(c *nftables.Conn) error {
		t, err := c.ListTableOfFamily(insideTable, nftables.TableFamilyINet)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read table %s: %w", insideTable, err)
		}
		elems, err := c.GetSetElements(&nftables.Set{Table: t, Name: setTried})
		for _, e := range elems {
			if t, ok := triedOf(e); ok {
				all = append(all, t)
			}
		}
		return err
	})
	return all, err
}

// triedOf reads one element, whose key is three registers of four bytes:
// address, protocol, port, each padded at the end.
func triedOf(e nftables.SetElement) (Tried, bool) {
	if len(e.Key) != 12 {
		return Tried{}, false
	}
	n := e.Counter
	if n == nil {
		n = &expr.Counter{}
	}
	return Tried{
		Protocol: e.Key[4],
		Dest:     netip.AddrPortFrom(netip.AddrFrom4([4]byte(e.Key[:4])), binary.BigEndian.Uint16(e.Key[8:])),
		Packets:  n.Packets,
		Bytes:    n.Bytes,
		Ago:      max(0, triedFor-e.Expires),
	}, true
}
