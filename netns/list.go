package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"

	"beamsandbox/reconcile/app"
)

// List returns every network of this Host, by name, whole or in part: a
// namespace file, a veth or a table on the host is enough.
func (h *Host) List(ctx context.Context) ([]Network, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := make(map[app.Name]*Network)
	at := func(name app.Name) *Network {
		if found[name] == nil {
			found[name] = &Network{Name: name}
		}
		return found[name]
	}
	err := errors.Join(h.listFiles(at), h.listLinks(at), h.listTables(at))
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var all []Network
	for _, name := range slices.Sorted(maps.Keys(found)) {
		all = append(all, *found[name])
	}
	return all, nil
}

func (h *Host) listFiles(at func(app.Name) *Network) error {
	entries, err := os.ReadDir(h.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		name := app.Name(e.Name())
		if checkName(name) != nil {
			continue
		}
		mounted, err := isNamespace(h.path(name))
		if err != nil {
			return err
		}
		if n := at(name); mounted {
			n.Path = h.path(name)
		}
	}
	return nil
}

func (h *Host) listLinks(at func(app.Name) *Network) error {
	links, err := complete(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		name, ok := h.aliased(l.Attrs().Alias)
		if !ok || l.Attrs().Name != h.link(name) {
			continue
		}
		n := at(name)
		n.Link = l.Attrs().Name
		p, ok, err := addressOf(l)
		if err != nil {
			return err
		}
		if ok {
			n.Host, n.Guest = p.host, p.guest
		}
	}
	return nil
}

func (h *Host) listTables(at func(app.Name) *Network) error {
	tables, err := hostTables()
	if err != nil {
		return err
	}
	for _, t := range tables {
		name, ok := h.tabled(t)
		if !ok {
			continue
		}
		n := at(name)
		if n.Flows, err = readFlows(hostTable(t)); err != nil {
			return err
		}
	}
	return nil
}

// complete repeats a netlink listing that a change interrupted.
func complete[T any](list func() ([]T, error)) ([]T, error) {
	for range 20 {
		all, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return list()
}

func notFound(err error) bool {
	var gone netlink.LinkNotFoundError
	return errors.As(err, &gone)
}

// usedAddrs counts how many links of the machine carry each IPv4 address.
func usedAddrs() (map[netip.Addr]int, error) {
	addrs, err := complete(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of the host: %w", err)
	}
	used := make(map[netip.Addr]int)
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok {
			used[ip]++
		}
	}
	return used, nil
}

// hostRoutes returns the IPv4 routes of the machine in all its tables.
func hostRoutes() ([]route, error) {
	links, err := complete(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	byIndex := make(map[int]*netlink.LinkAttrs)
	for _, l := range links {
		byIndex[l.Attrs().Index] = l.Attrs()
	}
	routes, err := complete(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var all []route
	for _, r := range routes {
		dst, ok := prefixOf(r.Dst)
		if !ok {
			continue
		}
		one := route{dst: dst, link: "no device"}
		if l := byIndex[r.LinkIndex]; l != nil {
			one.link, one.ours = l.Name, ours(l.Alias)
		}
		all = append(all, one)
	}
	return all, nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP.To4())
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a, bits), ok
}
