//go:build integration

package reconcile_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/netns"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/reconciletest"
)

// TestNetworksRoom holds the real networks to what the ones in memory promise.
func TestNetworksRoom(t *testing.T) {
	reconciletest.TestRoom(t, reconciletest.Subject[netns.Config, netns.Network]{
		Room: newNetworks(t, "10.247.16.0/24"), Alone: true, Config: networkOf,
		Name: func(s netns.Network) app.Name { return s.Name },
	})
}

// TestNodesRoom does so for the gateway, with sockets in real namespaces.
func TestNodesRoom(t *testing.T) {
	networks := newNetworks(t, "10.247.17.0/24")
	run := t.TempDir()
	gateway, err := distribution.Start(t.Context(), distribution.Config{
		Binary: filepath.Join("..", "bin", "sandbox-gateway"), RunDir: run, Hostname: "localhost",
		EPMD: netip.MustParseAddrPort("127.0.0.1:1"), // nobody registers in this test
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		gateway.Close()
		waitEnded(t, filepath.Join(run, "gateway.log"))
	})
	guests := map[app.Name]netip.Addr{}
	for _, name := range []app.Name{"conform_a", "conform_b"} {
		n, err := networks.Ensure(t.Context(), networkOf(name))
		if err != nil {
			t.Fatal(err)
		}
		guests[name] = n.Guest
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	reconciletest.TestRoom(t, reconciletest.Subject[distribution.Member, distribution.Node]{
		Room: gateway, Alone: true,
		Config: func(n app.Name) distribution.Member {
			return distribution.Member{
				Name: n, Node: string(n) + "@localhost", HostNode: "conform_host@localhost",
				Guest: netip.AddrPortFrom(guests[n], policy.DistributionPort),
				EPMD:  netip.AddrPortFrom(loopback, policy.EPMDPort), Host: netip.AddrPortFrom(loopback, policy.DistributionPort),
				Cookie: app.NewSecret("guest"), HostCookie: app.NewSecret("host"),
				Listen: func(ctx context.Context, addr netip.AddrPort) (*os.File, error) {
					return networks.Listen(ctx, n, addr)
				},
			}
		},
		Name: func(s distribution.Node) app.Name { return s.Name },
		Equal: func(a, b distribution.Node) bool {
			return a.Node == b.Node && a.Port == b.Port && reflect.DeepEqual(a.Since, b.Since)
		},
	})
}

func networkOf(name app.Name) netns.Config {
	return netns.Config{Name: name, Flows: []policy.Flow{
		{Port: policy.EPMDPort, Purpose: "epmd"}, {Port: policy.DistributionPort, Purpose: "distribution"}}}
}

// newNetworks is a room of its own; what it made is removed and counted.
func newNetworks(t *testing.T, pool string) *netns.Host {
	t.Helper()
	h, err := netns.New(netns.Options{RunDir: t.TempDir(), Pool: netip.MustParsePrefix(pool)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := h.Sweep(ctx); err != nil {
			t.Error(err)
		}
		if left, err := h.List(ctx); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
	return h
}

// waitEnded waits until the gateway, which nobody needs any more, has ended by
// itself. Its log says so last, and is shown when something went wrong.
func waitEnded(t *testing.T, log string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var text []byte
	for range 300 {
		text, _ = os.ReadFile(log)
		if strings.Contains(string(text), "gateway ends") {
			break
		}
		<-tick.C
	}
	if t.Failed() || !strings.Contains(string(text), "gateway ends") {
		t.Errorf("the gateway should have ended by itself; its log:\n%s", text)
	}
}
