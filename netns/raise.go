package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// raiseHost brings the host end up, as a link that the host neither forwards
// from nor tells anything about itself.
func raiseHost(link string) error {
	if err := setSysctls(linkSysctls(link)); err != nil {
		return err
	}
	return raise(link)
}

// raiseGuest configures the guest end, in the thread's namespace. The default
// route is a dead end, since it has no gateway and nobody answers ARP for
// foreign addresses; but without a route, a packet for elsewhere would be
// refused before the firewall could count it.
func raiseGuest(p pair) error {
	if err := raiseLoopback(); err != nil {
		return err
	}
	if err := setSysctls(linkSysctls(guestLink)); err != nil {
		return err
	}
	l, err := netlink.LinkByName(guestLink)
	if err != nil {
		return fmt.Errorf("find link inside: %w", err)
	}
	if err := addAddr(l, slash31(p.guest)); err != nil {
		return err
	}
	if err := raise(guestLink); err != nil {
		return err
	}
	everything := ipNet(netip.MustParsePrefix("0.0.0.0/0"))
	dead := &netlink.Route{LinkIndex: l.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: everything}
	if err := netlink.RouteAdd(dead); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add route to nowhere: %w", err)
	}
	return nil
}

func raiseLoopback() error {
	if err := setSysctls(guestSysctls()); err != nil {
		return err
	}
	return raise("lo")
}

func raise(link string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("find link %s: %w", link, err)
	}
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring link %s up: %w", link, err)
	}
	return nil
}

// await waits until the kernel has put a link to work. An end that came up
// before its peer gets its queue a moment later, from a work queue; a packet
// sent meanwhile is lost, and the first connection takes a second longer.
func await(ctx context.Context, link string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	updates, done := make(chan netlink.LinkUpdate, 16), make(chan struct{})
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{ListExisting: true})
	if err != nil {
		close(done)
		return fmt.Errorf("watch link %s: %w", link, err)
	}
	defer func() {
		close(done)
		for range updates { // until the reader has gone
		}
	}()
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				return fmt.Errorf("watch link %s: the kernel closed the subscription", link)
			}
			if a := u.Attrs(); a.Name == link && a.OperState == netlink.OperUp {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for link %s: %w", link, ctx.Err())
		}
	}
}
