package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"beamsandbox/reconcile/app"
)

// connect gives n's namespace its veth, addresses and firewalls, and fills in
// n. Both ends stay down until both firewalls stand.
func (h *Host) connect(ctx context.Context, n *Network) error {
	n.Link = h.link(n.Name)
	p, err := h.ensurePair(ctx, n)
	if err != nil {
		return err
	}
	n.Host, n.Guest = p.host, p.guest
	if err := applyTable(hostRules(h.table(n.Name), n.Link, p, n.Flows)); err != nil {
		return fmt.Errorf("set firewall on the host: %w", err)
	}
	err = Do(n.Path, func() error {
		if err := applyTable(guestRules(p, n.Flows)); err != nil {
			return fmt.Errorf("set firewall inside: %w", err)
		}
		return raiseGuest(p)
	})
	if err != nil {
		return err
	}
	if err := raiseHost(n.Link); err != nil {
		return err
	}
	return Do(n.Path, func() error { return await(ctx, guestLink) })
}

// seal leaves nothing but loopback.
func (h *Host) seal(name app.Name) error {
	if err := h.disconnect(name); err != nil {
		return err
	}
	if err := removeTable(hostTable(h.table(name))); err != nil {
		return err
	}
	return Do(h.path(name), func() error {
		if err := removeTable(guestTable()); err != nil {
			return err
		}
		return raiseLoopback()
	})
}

// disconnect deletes the veth pair, from its host end.
func (h *Host) disconnect(name app.Name) error {
	l, err := netlink.LinkByName(h.link(name))
	if notFound(err) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(l)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete link %s: %w", h.link(name), err)
	}
	return nil
}

// ensurePair returns the addresses of the veth that is there, or makes one.
// What a crash left half made is replaced: nothing runs behind it yet.
func (h *Host) ensurePair(ctx context.Context, n *Network) (pair, error) {
	p, ok, err := h.existing(n)
	if err != nil || ok {
		return p, err
	}
	// The table goes with the link that its chains hang on: a table that
	// stands hangs on the link that stands.
	if err := errors.Join(h.disconnect(n.Name), removeTable(hostTable(h.table(n.Name)))); err != nil {
		return pair{}, err
	}
	h.alloc.Lock()
	defer h.alloc.Unlock()
	for try := 0; ; try++ {
		if err := ctx.Err(); err != nil {
			return pair{}, err
		}
		p, ok, err := h.claim(n, try)
		if ok && err == nil {
			return p, nil
		}
		if undo := h.disconnect(n.Name); err != nil || undo != nil {
			return pair{}, errors.Join(err, undo)
		}
	}
}

// existing finds the pair of a complete veth: an address on the host end, and
// the other end in the right namespace under its name.
func (h *Host) existing(n *Network) (p pair, ok bool, err error) {
	l, err := netlink.LinkByName(n.Link)
	if notFound(err) {
		return pair{}, false, nil
	}
	if err != nil {
		return pair{}, false, fmt.Errorf("find link %s: %w", n.Link, err)
	}
	p, ok, err = addressOf(l)
	if err != nil || !ok || l.Attrs().Alias != h.alias(n.Name) {
		return pair{}, false, err
	}
	err = Do(n.Path, func() error {
		peer, err := netlink.LinkByName(guestLink)
		if notFound(err) {
			ok = false
			return nil
		}
		if err != nil {
			return fmt.Errorf("find link inside: %w", err)
		}
		ok = peer.Type() == "veth" && peer.Attrs().ParentIndex == l.Attrs().Index
		return nil
	})
	return p, ok, err
}

// addressOf returns the pair of a host end; ok is false before it has one.
func addressOf(l netlink.Link) (p pair, ok bool, err error) {
	addrs, err := complete(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_V4) })
	if err != nil {
		return pair{}, false, fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
	}
	for _, a := range addrs {
		if ip, found := netip.AddrFromSlice(a.IP.To4()); found {
			p, ok = pairAround(ip)
			return p, ok, nil
		}
	}
	return pair{}, false, nil
}

// claim makes the veth, down, and gives its host end an address. ok is false
// when another process took the same pair at the same time: both step back
// and choose again.
func (h *Host) claim(n *Network, try int) (p pair, ok bool, err error) {
	used, err := usedAddrs()
	if err != nil {
		return pair{}, false, err
	}
	p, err = choose(h.pool, fmt.Sprintf("%s %s %d", h.tag, n.Name, try), used)
	if err != nil {
		return pair{}, false, err
	}
	l, err := h.newVeth(n)
	if err != nil {
		return pair{}, false, err
	}
	if err := addAddr(l, slash31(p.host)); err != nil {
		return pair{}, false, err
	}
	used, err = usedAddrs()
	return p, used[p.host] == 1 && used[p.guest] == 0, err
}

// newVeth makes the pair with its far end in the guest's namespace from the
// start: moving it there afterwards is slow when many start at once.
func (h *Host) newVeth(n *Network) (netlink.Link, error) {
	ns, err := os.Open(n.Path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.Link
	v := netlink.NewVeth(attrs)
	v.PeerName, v.PeerNamespace = guestLink, netlink.NsFd(ns.Fd())
	if err := netlink.LinkAdd(v); err != nil {
		return nil, fmt.Errorf("make link %s: %w", n.Link, err)
	}
	l, err := netlink.LinkByName(n.Link)
	if err != nil {
		return nil, fmt.Errorf("find new link %s: %w", n.Link, err)
	}
	if err := netlink.LinkSetAlias(l, h.alias(n.Name)); err != nil {
		return nil, fmt.Errorf("set alias of link %s: %w", n.Link, err)
	}
	return l, nil
}

func addAddr(l netlink.Link, p netip.Prefix) error {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if err := netlink.AddrAdd(l, a); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s to %s: %w", p, l.Attrs().Name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
