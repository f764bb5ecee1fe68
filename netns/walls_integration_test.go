//go:build integration

package netns

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"beamsandbox/reconcile/app"
)

// patience is how long a connection that must not come about may try.
const patience = 300 * time.Millisecond

// serve answers every connection to a socket of Listen with what it sends,
// until the test ends.
func serve(t *testing.T, h *Host, name app.Name, addr netip.AddrPort) netip.AddrPort {
	t.Helper()
	f, err := h.Listen(t.Context(), name, addr)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.FileListener(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return echo(t, ln)
}

func echo(t *testing.T, ln net.Listener) netip.AddrPort {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c) // ends when either side is through
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// talk sends 5 MB and wants them back.
func talk(addr netip.AddrPort) error {
	c, err := net.DialTimeout("tcp4", addr.String(), 30*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("sandbox!"), 5<<17)
	written := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		written <- errors.Join(err, c.(*net.TCPConn).CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err := errors.Join(err, <-written); err != nil {
		return err
	}
	if !bytes.Equal(got, sent) {
		return errors.New("other bytes came back")
	}
	return nil
}

// refused dials from inside path ("" is the host) and fails the test when
// anybody answers, were it with a reset.
func refused(t *testing.T, path, network, addr string) {
	t.Helper()
	dial := func() error {
		c, err := net.DialTimeout(network, addr, patience)
		if err == nil {
			_, err = c.Write([]byte("anybody there?"))
			c.Close()
		}
		return err
	}
	var err error
	if path == "" {
		err = dial()
	} else {
		err = Do(path, dial)
	}
	if err == nil || errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("from %q, %s %s answers: %v", filepath.Base(path), network, addr, err)
	}
}

func packets(t *testing.T, h *Host, name app.Name) map[string]uint64 {
	t.Helper()
	drops, err := h.Drops(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string]uint64)
	for _, d := range drops {
		m[d.Rule] = d.Packets
	}
	return m
}

// counted fails the test unless exactly these counters of name are not zero.
func counted(t *testing.T, h *Host, name app.Name, rules ...string) {
	t.Helper()
	got := packets(t, h, name)
	for _, rule := range rules {
		if got[rule] == 0 {
			t.Errorf("counter %s of %s is zero: %v", rule, name, got)
		}
		delete(got, rule)
	}
	for rule, n := range got {
		if n != 0 {
			t.Errorf("counter %s of %s is %d, want 0", rule, name, n)
		}
	}
}

func hostListener(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	return echo(t, ln)
}

func TestDeclaredPortsAnswerTheHost(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "pulse", Flows: declared})
	serve(t, h, "pulse", netip.AddrPortFrom(n.Guest, 8080))
	serve(t, h, "pulse", netip.AddrPortFrom(n.Guest, 8081))
	serve(t, h, "pulse", netip.MustParseAddrPort("127.0.0.1:4369"))
	if err := talk(netip.AddrPortFrom(n.Guest, 8080)); err != nil {
		t.Errorf("declared port: %v", err)
	}
	// Nobody listens on 9100: the guest's kernel says so, and may.
	if err := talk(netip.AddrPortFrom(n.Guest, 9100)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("declared port without listener: %v", err)
	}
	counted(t, h, "pulse")
	refused(t, "", "tcp4", netip.AddrPortFrom(n.Guest, 8081).String())
	counted(t, h, "pulse", countToGuest)
	if err := Do(n.Path, func() error { return talk(netip.MustParseAddrPort("127.0.0.1:4369")) }); err != nil {
		t.Errorf("the guest's own loopback: %v", err)
	}
}

func TestRevokedFlowIsCut(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "pulse", Flows: declared})
	serve(t, h, "pulse", netip.AddrPortFrom(n.Guest, 8080))
	c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(n.Guest, 8080).String(), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		// Let the reset through, or the other end waits for the kernel.
		ensure(t, h, Config{Name: "pulse", Flows: declared})
		if err := errors.Join(c.(*net.TCPConn).SetLinger(0), c.Close()); err != nil {
			t.Error(err)
		}
	}()
	ensure(t, h, Config{Name: "pulse"})
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err = c.Write([]byte("still there?"))
	if _, read := c.Read(make([]byte, 1)); err == nil && read == nil {
		t.Error("an open connection outlives its flow")
	}
	refused(t, "", "tcp4", netip.AddrPortFrom(n.Guest, 8080).String())
}

func TestNothingAnswersAGuest(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "pulse", Flows: declared})
	other := ensure(t, h, Config{Name: "other", Flows: declared})
	serve(t, h, "other", netip.AddrPortFrom(other.Guest, 8080))
	onLink := hostListener(t, netip.AddrPortFrom(n.Host, 0).String())
	anywhere := hostListener(t, "0.0.0.0:0")

	tried := []string{
		onLink.String(),
		netip.AddrPortFrom(n.Host, anywhere.Port()).String(),
		netip.AddrPortFrom(other.Host, anywhere.Port()).String(),
		netip.AddrPortFrom(other.Guest, 8080).String(),
		"192.0.2.1:443", "169.254.169.254:80",
	}
	for _, addr := range tried {
		refused(t, n.Path, "tcp4", addr)
	}
	refused(t, n.Path, "udp4", "192.0.2.1:53")
	refused(t, n.Path, "ip4:icmp", "192.0.2.1")
	refused(t, n.Path, "ip4:132", "192.0.2.1")
	refused(t, n.Path, "tcp6", "[::1]:4369")
	refused(t, n.Path, "udp6", "[2001:db8::1]:53")
	counted(t, h, "pulse", countTCP, countUDP, countICMP, countOther)
	counted(t, h, "other")

	got, err := h.Tried(t.Context(), "pulse")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, try := range got {
		if try.Packets == 0 || try.Ago > time.Minute {
			t.Errorf("odd record: %+v", try)
		}
		if try.Protocol == tcp {
			seen[try.Dest.String()] = true
		}
	}
	for _, addr := range tried {
		if !seen[addr] {
			t.Errorf("no record of %s among %+v", addr, got)
		}
	}
	if len(got) != len(tried)+3 {
		t.Errorf("%d records, want %d: %+v", len(got), len(tried)+3, got)
	}
}

// TestConnectFailsFast: an application that wants the internet gets an error,
// not the two minutes of a lost SYN.
func TestConnectFailsFast(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "pulse", Flows: declared})
	err := Do(n.Path, func() error {
		_, err := net.DialTimeout("tcp4", "192.0.2.1:443", 10*time.Second)
		return err
	})
	if !errors.Is(err, unix.EHOSTUNREACH) {
		t.Errorf("connect to nowhere: %v, want EHOSTUNREACH", err)
	}
}

// TestFullTriedSet: a guest that scans cannot grow the set, and what does not
// fit is counted all the same.
func TestFullTriedSet(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "pulse", Flows: declared})
	const scans = triedSize + 100
	err := Do(n.Path, func() error {
		for i := range scans {
			c, err := net.Dial("udp4", netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1000+i)).String())
			if err != nil {
				return err
			}
			_, _ = c.Write([]byte("x")) // refused: that is the point
			c.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.Tried(t.Context(), "pulse")
	if err != nil || len(got) != triedSize {
		t.Errorf("%d records, %v; want %d", len(got), err, triedSize)
	}
	if n := packets(t, h, "pulse")[countUDP]; n != scans {
		t.Errorf("%d packets counted, want %d", n, scans)
	}
}

// TestForgedPackets sends what a guest could send that got hold of raw
// sockets: packet sockets pass by the table inside, so the host's must judge.
func TestForgedPackets(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "pulse", Flows: declared})
	ln := hostListener(t, netip.AddrPortFrom(n.Host, 0).String())
	l, err := netlink.LinkByName(n.Link)
	if err != nil {
		t.Fatal(err)
	}
	mac := l.Attrs().HardwareAddr
	syn := func(from, to netip.Addr, sport uint16) []byte {
		return frame(mac, unix.ETH_P_IP, ipv4Packet(from, to, tcpSegment(sport, ln.Port(), 0x02)))
	}
	tests := []struct {
		name  string
		frame []byte
		rule  string
	}{
		{"to the host", syn(n.Guest, n.Host, 40000), countToHost},
		{"to the host from a declared port", syn(n.Guest, n.Host, 8080), countToHost},
		{"to another address", syn(n.Guest, netip.MustParseAddr("192.0.2.77"), 40000), countForward},
		{"from another address", syn(netip.MustParseAddr("192.0.2.77"), n.Host, 40000), countSpoofed},
		{"from the host's address", syn(n.Host, n.Host, 40000), countSpoofed},
		{"IPv6", frame(mac, unix.ETH_P_IPV6, ipv6Packet()), countIPv6},
		{"neither IP nor ARP", frame(mac, unix.ETH_P_LOOPBACK, make([]byte, 46)), countAlien},
	}
	for _, test := range tests {
		before := packets(t, h, "pulse")
		if err := Do(n.Path, func() error { return inject(test.frame) }); err != nil {
			t.Fatal(err)
		}
		for rule, n := range packets(t, h, "pulse") {
			want := before[rule]
			if rule == test.rule {
				want++
			}
			if n != want {
				t.Errorf("%s: counter %s is %d, want %d", test.name, rule, n, want)
			}
		}
	}
}

// TestNeighbor stands beside a guest, in a namespace that the host forwards
// for.
func TestNeighbor(t *testing.T) {
	h := newHost(t)
	n := ensure(t, h, Config{Name: "pulse", Flows: declared})
	serve(t, h, "pulse", netip.AddrPortFrom(n.Guest, 8080))
	path, hostEnd := neighbor(t)
	for _, addr := range []netip.AddrPort{netip.AddrPortFrom(n.Guest, 8080), netip.AddrPortFrom(n.Guest, 4369), netip.AddrPortFrom(n.Guest, 1)} {
		refused(t, path, "tcp4", addr.String())
	}
	counted(t, h, "pulse", countNeighbor)
	before := packets(t, h, "pulse")[countNeighbor]
	// The host itself, under an address that is not its end of the link.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: hostEnd.AsSlice()}, Timeout: patience}
	if c, err := d.DialContext(context.Background(), "tcp4", netip.AddrPortFrom(n.Guest, 8080).String()); err == nil {
		c.Close()
		t.Errorf("the guest answers %s", hostEnd)
	}
	if again := packets(t, h, "pulse")[countNeighbor]; again <= before {
		t.Errorf("counter %s stays at %d", countNeighbor, again)
	}
}

// neighbor makes a namespace with a link to the host, which forwards what
// comes from it. It returns its file and the address of the host's end.
func neighbor(t *testing.T) (path string, host netip.Addr) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ns")
	if err := ensureFile(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeFile(path); err != nil {
			t.Error(err)
		}
	})
	maker := &Host{dir: filepath.Dir(path), tag: tagOf(path), pool: netip.MustParsePrefix("10.228.0.0/24")}
	nb := &Network{Name: "ns", Path: path, Link: maker.link("ns")}
	p, err := maker.ensurePair(t.Context(), nb)
	t.Cleanup(func() {
		if err := maker.disconnect("ns"); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		Do(path, func() error { return raiseGuest(p) }),
		raise(nb.Link),
		Do(path, func() error { return await(t.Context(), guestLink) }),
		setSysctls([]sysctl{{"ipv4/conf/" + nb.Link + "/forwarding", "1"}}),
		Do(path, func() error { return routeVia(p.host) }),
	)
	if err != nil {
		t.Fatal(err)
	}
	return path, p.host
}

// routeVia sends everything to gateway instead of nowhere.
func routeVia(gateway netip.Addr) error {
	return netlink.RouteReplace(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.229.0.0/16")), Gw: gateway.AsSlice()})
}
