//go:build integration

package integration

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	vns "github.com/vishvananda/netns"

	"beamsandbox/netns"
)

// beside is a namespace like a guest's neighbour on the machine, with a veth
// to the host and a default route through it.
type beside struct {
	t    *testing.T
	path string
	port int // the host listens here, so that the link is known to work
}

func newBeside(t *testing.T) *beside {
	t.Helper()
	b := &beside{t: t, path: "/run/netns/bsbeside"}
	must(t, netns.Do("/proc/self/ns/net", func() error {
		home, err := vns.Get()
		if err != nil {
			return err
		}
		defer home.Close()
		ns, err := vns.NewNamed("bsbeside")
		if err != nil {
			return err
		}
		defer ns.Close()
		return vns.Set(home)
	}))
	t.Cleanup(func() { must(t, vns.DeleteNamed("bsbeside")); os.Remove("/run/netns") })
	b.link()
	l, err := net.Listen("tcp", "10.199.77.0:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	b.port = l.Addr().(*net.TCPAddr).Port
	return b
}

// link makes 10.199.77.0 (host) and 10.199.77.1 (beside), a /31.
func (b *beside) link() {
	t := b.t
	t.Helper()
	ns, err := vns.GetFromPath(b.path)
	must(t, err)
	defer ns.Close()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "besidehost"}, PeerName: "beside0", PeerNamespace: netlink.NsFd(ns)}))
	host, err := netlink.LinkByName("besidehost")
	must(t, err)
	t.Cleanup(func() { netlink.LinkDel(host) }) //nolint:errcheck // gone with the namespace
	configure(t, "besidehost", "10.199.77.0/31", "")
	must(t, netns.Do(b.path, func() error {
		configure(t, "beside0", "10.199.77.1/31", "10.199.77.0")
		return nil
	}))
}

func configure(t *testing.T, link, addr, gateway string) {
	t.Helper()
	l, err := netlink.LinkByName(link)
	must(t, err)
	a, err := netlink.ParseAddr(addr)
	must(t, err)
	must(t, netlink.AddrAdd(l, a))
	must(t, netlink.LinkSetUp(l))
	if gateway != "" {
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: netip.MustParseAddr(gateway).AsSlice()}))
	}
}

// reachesHost dials the host until it answers: the first packets of a new link
// may be lost.
func (b *beside) reachesHost() bool {
	for range 10 {
		if b.connects("10.199.77.0", b.port) {
			return true
		}
	}
	return false
}

// connects dials from inside.
func (b *beside) connects(addr string, port int) bool {
	b.t.Helper()
	err := netns.Do(b.path, func() error {
		fd, err := net.DialTimeout("tcp", net.JoinHostPort(addr, strconv.Itoa(port)), 500*time.Millisecond)
		if err != nil {
			return fmt.Errorf("no answer: %w", err)
		}
		return fd.Close()
	})
	return err == nil
}
