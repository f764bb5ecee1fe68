//go:build integration

package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

var declared = []policy.Flow{
	{Port: 4369, Purpose: "epmd"},
	{Port: 9100, Purpose: "distribution"},
	{Port: 8080, Purpose: "http_port", Publish: true},
	{Port: 8080, Purpose: "health"},
}

// newHost returns a Host with a run directory of its own, and checks at the
// end that nothing of it is left on the machine.
func newHost(t *testing.T) *Host {
	t.Helper()
	h, err := New(Options{RunDir: t.TempDir(), Pool: netip.MustParsePrefix("10.229.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Sweep(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if left := residue(t, h); left != nil {
			t.Errorf("left on the machine: %q", left)
		}
	})
	return h
}

// residue names what the kernel still holds of h: links, tables, mounts,
// files.
func residue(t *testing.T, h *Host) []string {
	t.Helper()
	var left []string
	links, err := complete(netlink.LinkList)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if _, ok := h.aliased(l.Attrs().Alias); ok {
			left = append(left, "link "+l.Attrs().Name)
		}
	}
	tables, err := hostTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tables {
		if _, ok := h.tabled(name); ok {
			left = append(left, "table "+name)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(mounts) {
		if bytes.Contains(line, []byte(h.dir)) {
			left = append(left, "mount "+string(line))
		}
	}
	if _, err := os.Stat(h.dir); !errors.Is(err, fs.ErrNotExist) {
		left = append(left, "directory "+h.dir)
	}
	return left
}

func ensure(t *testing.T, h *Host, c Config) Network {
	t.Helper()
	n, err := h.Ensure(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// snapshot is everything a second Ensure must not change.
func snapshot(t *testing.T, h *Host, name app.Name) string {
	t.Helper()
	var b strings.Builder
	l, err := netlink.LinkByName(h.link(name))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, l.Attrs().Index, l.Attrs().Flags, l.Attrs().Alias)
	ids, err := handles(hostTable(h.table(name)))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, ids)
	err = Do(h.path(name), func() error {
		ids, err := handles(guestTable())
		fmt.Fprintln(&b, ids)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(h.path(name))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, info.ModTime())
	return b.String()
}

// handles are the numbers of a table's rules, which a rewrite changes.
func handles(table *nftables.Table) (ids []uint64, err error) {
	err = withNFT(func(c *nftables.Conn) error {
		for _, name := range []string{"from_guest", "to_guest", "input", "output"} {
			rules, err := c.GetRules(table, &nftables.Chain{Name: name})
			if err != nil {
				continue // not every table has every chain
			}
			for _, r := range rules {
				ids = append(ids, r.Handle)
			}
		}
		return nil
	})
	return ids, err
}

func TestEnsureIsIdempotent(t *testing.T) {
	h := newHost(t)
	first := ensure(t, h, Config{Name: "pulse", Flows: declared})
	before := snapshot(t, h, "pulse")
	second := ensure(t, h, Config{Name: "pulse", Flows: declared})
	if diff := cmp.Diff(first, second, cmp.Comparer(sameAddr)); diff != "" {
		t.Errorf("second Ensure (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(before, snapshot(t, h, "pulse")); diff != "" {
		t.Errorf("second Ensure changed the machine (-before +after):\n%s", diff)
	}
	list, err := h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Network{first}, list, cmp.Comparer(sameAddr)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

func sameAddr(a, b netip.Addr) bool { return a == b }

// TestSysctls holds what the guest's user and the host's other links rely on.
func TestSysctls(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "pulse", Flows: declared})
	check := func(path, want string) {
		got, err := os.ReadFile("/proc/sys/net/" + path)
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s is %q, %v; want %s", path, got, err, want)
		}
	}
	for _, s := range linkSysctls(n.Link) {
		check(s.path, s.value)
	}
	err := Do(n.Path, func() error {
		check("ipv4/ip_unprivileged_port_start", "0")
		check("ipv6/conf/lo/disable_ipv6", "1")
		check("ipv6/conf/eth0/disable_ipv6", "1")
		check("ipv4/conf/eth0/forwarding", "0")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRemoveOfNothingSucceeds(t *testing.T) {
	h := newHost(t)
	if err := h.Remove(t.Context(), "nobody"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Drops(t.Context(), "nobody"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Drops of nothing: %v, want fs.ErrNotExist", err)
	}
	if _, err := h.Listen(t.Context(), "nobody", netip.MustParseAddrPort("127.0.0.1:0")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Listen of nothing: %v, want fs.ErrNotExist", err)
	}
}

func TestFlowsChangeInPlace(t *testing.T) {
	h := newHost(t)
	ensure(t, h, Config{Name: "pulse", Flows: declared})
	before := snapshot(t, h, "pulse")
	want := []policy.Flow{{Port: 4369, Purpose: "epmd"}, {Port: 8080, Purpose: "health"}, {Port: 9200, Purpose: "distribution"}}
	ensure(t, h, Config{Name: "pulse", Flows: []policy.Flow{want[2], want[0], want[1], want[0]}})
	if diff := cmp.Diff(before, snapshot(t, h, "pulse")); diff != "" {
		t.Errorf("new flows changed more than ports (-before +after):\n%s", diff)
	}
	list, err := h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || !slices.Equal(list[0].Flows, want) {
		t.Errorf("List: %+v, want flows %v", list, want)
	}
}

func TestSealed(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "builder-1", Sealed: true})
	if n.Link != "" || n.Host.IsValid() {
		t.Errorf("sealed network has a link: %+v", n)
	}
	err := Do(n.Path, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Attrs().Name != "lo" && l.Attrs().Flags&net.FlagUp != 0 {
				t.Errorf("sealed network has link %s up", l.Attrs().Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := h.Listen(t.Context(), "builder-1", netip.MustParseAddrPort("127.0.0.1:7000"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if drops, err := h.Drops(t.Context(), "builder-1"); err != nil || len(drops) != 0 {
		t.Errorf("Drops of a sealed network: %v, %v", drops, err)
	}
	list, err := h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Network{{Name: "builder-1", Path: filepath.Join(h.dir, "builder-1")}}, list, cmp.Comparer(sameAddr)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}
