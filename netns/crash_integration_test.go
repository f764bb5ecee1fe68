//go:build integration

package netns

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// crashes make, by hand, what a crash at each point of Ensure or Remove
// leaves of the network of "pulse".
func crashes() map[string]func(*Host, *Network) error {
	namespace := func(h *Host, n *Network) error {
		return errors.Join(os.MkdirAll(h.dir, 0o755), ensureFile(n.Path))
	}
	bareLink := func(h *Host, n *Network) error {
		_, err := h.newVeth(n)
		return errors.Join(err, netlinkAlias(n.Link, ""))
	}
	addressed := func(h *Host, n *Network) error {
		p, err := h.ensurePair(context.Background(), n)
		n.Host, n.Guest = p.host, p.guest
		return err
	}
	standing := func(h *Host, n *Network) error {
		return applyTable(hostRules(h.table(n.Name), n.Link, pair{n.Host, n.Guest}, n.Flows))
	}
	complete := func(h *Host, n *Network) error {
		_, err := h.Ensure(context.Background(), Config{Name: n.Name, Flows: declared})
		return err
	}
	all := func(steps ...func(*Host, *Network) error) func(*Host, *Network) error {
		return func(h *Host, n *Network) error {
			for _, step := range steps {
				if err := step(h, n); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return map[string]func(*Host, *Network) error{
		"file without namespace": func(h *Host, n *Network) error {
			return errors.Join(os.MkdirAll(h.dir, 0o755), os.WriteFile(n.Path, nil, 0o444))
		},
		"namespace":             namespace,
		"link without address":  all(namespace, bareLink),
		"link down":             all(namespace, addressed),
		"host's table only":     all(namespace, addressed, standing, func(h *Host, n *Network) error { return h.disconnect(n.Name) }),
		"link and host's table": all(namespace, addressed, standing),
		"links down again":      all(complete, func(_ *Host, n *Network) error { return linkDown(n.Link) }),
		"table inside gone": all(complete, func(_ *Host, n *Network) error {
			return Do(n.Path, func() error { return removeTable(guestTable()) })
		}),
		"host's table gone": all(complete, func(h *Host, n *Network) error { return removeTable(hostTable(h.table(n.Name))) }),
		"link gone":         all(complete, func(h *Host, n *Network) error { return h.disconnect(n.Name) }),
		"namespace gone":    all(complete, func(_ *Host, n *Network) error { return removeFile(n.Path) }),
		"another namespace in its place": all(complete, func(h *Host, n *Network) error {
			return errors.Join(removeFile(n.Path), ensureFile(n.Path))
		}),
	}
}

func netlinkAlias(link, alias string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	return netlink.LinkSetAlias(l, alias)
}

func linkDown(link string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	return netlink.LinkSetDown(l)
}

func TestEnsureAfterCrash(t *testing.T) {
	for name, crash := range crashes() {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			if err := crash(h, &Network{Name: "pulse", Path: h.path("pulse"), Link: h.link("pulse")}); err != nil {
				t.Fatal(err)
			}
			n := ensure(t, h, Config{Name: "pulse", Flows: declared})
			serve(t, h, "pulse", netip.AddrPortFrom(n.Guest, 8080))
			if err := talk(netip.AddrPortFrom(n.Guest, 8080)); err != nil {
				t.Error(err)
			}
			refused(t, n.Path, "tcp4", "192.0.2.1:443")
			counted(t, h, "pulse", countTCP)
		})
	}
}

func TestRemoveAfterCrash(t *testing.T) {
	for name, crash := range crashes() {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			if err := crash(h, &Network{Name: "pulse", Path: h.path("pulse"), Link: h.link("pulse")}); err != nil {
				t.Fatal(err)
			}
			list, err := h.List(t.Context())
			if err != nil || len(list) != 1 || list[0].Name != "pulse" {
				t.Errorf("List: %+v, %v; want what is left of pulse", list, err)
			}
			for range 2 {
				if err := h.Remove(t.Context(), "pulse"); err != nil {
					t.Fatal(err)
				}
				if left := residue(t, h); left != nil {
					t.Errorf("left on the machine: %q", left)
				}
			}
		})
	}
}

// TestTamperedTableIsMended: a rule let in by hand goes, counters stay.
func TestTamperedTableIsMended(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "pulse", Flows: declared})
	refused(t, n.Path, "tcp4", "192.0.2.1:443")
	refused(t, "", "tcp4", netip.AddrPortFrom(n.Guest, 8081).String())
	before := packets(t, h, "pulse")
	open := func(tab *nftables.Table, chain string) error {
		return withNFT(func(c *nftables.Conn) error {
			c.InsertRule(&nftables.Rule{Table: tab, Chain: &nftables.Chain{Name: chain, Table: tab}, Exprs: accept().exprs})
			return c.Flush()
		})
	}
	err := errors.Join(open(hostTable(h.table("pulse")), "to_guest"), Do(n.Path, func() error { return open(guestTable(), "input") }))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, h, "pulse", netip.AddrPortFrom(n.Guest, 8081))
	if err := talk(netip.AddrPortFrom(n.Guest, 4369)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatal(err)
	}
	ensure(t, h, Config{Name: "pulse", Flows: declared})
	for rule, n := range packets(t, h, "pulse") {
		if n != before[rule] {
			t.Errorf("counter %s went from %d to %d", rule, before[rule], n)
		}
	}
	refused(t, "", "tcp4", netip.AddrPortFrom(n.Guest, 8081).String())
}

func TestSealAndUnseal(t *testing.T) {
	h := newHost(t)
	first := ensure(t, h, Config{Name: "pulse", Flows: declared})
	ensure(t, h, Config{Name: "pulse", Sealed: true})
	if left := residue(t, h); len(left) != 2 { // the mount and its directory
		t.Errorf("a sealed network has %q on the host", left)
	}
	again := ensure(t, h, Config{Name: "pulse", Flows: declared})
	if again.Guest != first.Guest {
		t.Errorf("address went from %s to %s though it was free", first.Guest, again.Guest)
	}
	serve(t, h, "pulse", netip.AddrPortFrom(again.Guest, 8080))
	if err := talk(netip.AddrPortFrom(again.Guest, 8080)); err != nil {
		t.Error(err)
	}
}

// TestRemoveBusy removes a namespace that a process still sits in.
func TestRemoveBusy(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "pulse", Flows: declared})
	guest := exec.Command("cat")
	stdin, err := guest.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := Do(n.Path, guest.Start); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(stdin.Close(), guest.Wait()); err != nil {
			t.Error(err)
		}
	}()
	if err := h.Remove(t.Context(), "pulse"); err != nil {
		t.Fatal(err)
	}
	if left := residue(t, h); left != nil {
		t.Errorf("left on the machine: %q", left)
	}
	again := ensure(t, h, Config{Name: "pulse", Flows: declared})
	serve(t, h, "pulse", netip.AddrPortFrom(again.Guest, 8080))
	if err := talk(netip.AddrPortFrom(again.Guest, 8080)); err != nil {
		t.Errorf("the successor beside a process of the old namespace: %v", err)
	}
}

// TestDoComesBack: the thread is in the host's namespace again, whatever
// happened inside.
func TestDoComesBack(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "pulse", Flows: declared})
	home := func() string {
		s, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before, boom := home(), errors.New("boom")
	for range 50 {
		var inside string
		err := Do(n.Path, func() error { inside = home(); return boom })
		if !errors.Is(err, boom) || inside == before {
			t.Fatalf("Do: %v, in %s, home is %s", err, inside, before)
		}
		if after := home(); after != before {
			t.Fatalf("thread went from %s to %s", before, after)
		}
	}
	if err := Do(filepath.Join(t.TempDir(), "none"), func() error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Do without a namespace: %v", err)
	}
}

func TestPoolOverlappingARoute(t *testing.T) {
	_, err := New(Options{RunDir: t.TempDir(), Pool: netip.MustParsePrefix("127.8.0.0/16")})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.0/8") || !strings.Contains(err.Error(), "pool") {
		t.Errorf("error %v, want one that names the route and the key", err)
	}
	h := newHost(t)
	ensure(t, h, Config{Name: "pulse"})
	if _, err := New(Options{RunDir: t.TempDir(), Pool: h.pool}); err != nil {
		t.Errorf("a guest's own route counts as an overlap: %v", err)
	}
}
