// Command ergo-hello is a guest that is no BEAM: a node written in Go, on
// ergo, that joins the host VM's cluster and answers calls. It lives by the
// contract of docs/images.md, "A guest that is no BEAM".
package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/ergo-services/ergo"
	"github.com/ergo-services/ergo/gen"
	"github.com/ergo-services/ergo/node"
	"github.com/ergo-services/ergo/proto/dist"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ergo-hello:", err)
		os.Exit(1)
	}
}

// run starts the node and returns when it has ended.
func run() error {
	if os.Getenv("BEAMSANDBOX_TLS_NODE") != "" {
		return errors.New("guests' links are TLS here, and this example speaks plain distribution: make the guests' leg plain")
	}
	secret, err := readCookie(os.Getenv("BEAMSANDBOX_COOKIE_FILE"))
	if err != nil {
		return err
	}
	listen, err := netip.ParseAddrPort(os.Getenv("BEAMSANDBOX_LISTEN"))
	if err != nil {
		return fmt.Errorf("read BEAMSANDBOX_LISTEN: %w", err)
	}
	mapper, err := netip.ParseAddrPort(os.Getenv("BEAMSANDBOX_EPMD"))
	if err != nil {
		return fmt.Errorf("read BEAMSANDBOX_EPMD: %w", err)
	}
	n, err := ergo.StartNode(os.Getenv("BEAMSANDBOX_NODE"), secret.get(), options(listen, mapper, secret))
	if err != nil {
		return fmt.Errorf("start the node: %w", err)
	}
	// ergo's own net_kernel answers a ping with nil, and who pings hangs up then.
	if err := n.UnregisterName("net_kernel"); err != nil {
		return fmt.Errorf("replace net_kernel: %w", err)
	}
	for name, server := range map[string]gen.ServerBehavior{"net_kernel": &netKernel{}, "rex": &rex{cookie: secret}, "hello": &hello{}} {
		if _, err := n.Spawn(name, gen.ProcessOptions{}, server); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
	}
	fmt.Println(n.Name(), "listens at", listen)
	n.Wait()
	return nil
}

// options are those of a node behind the gateway.
func options(listen, mapper netip.AddrPort, secret *cookie) node.Options {
	flags := node.DefaultFlags()
	// The gateway passes frames that stand for themselves, and no spawns;
	// compression and proxies are ergo's own.
	flags.EnableHeaderAtomCache, flags.EnableFragmentation = false, false
	flags.EnableRemoteSpawn, flags.EnableCompression, flags.EnableProxy = false, false, false
	proto := node.DefaultProtoOptions()
	proto.NumHandlers = 1 // more would let messages overtake each other
	proto.MaxMessageSize = maxFrame
	return node.Options{
		Flags:     flags,
		Handshake: keyed{dist.CreateHandshake(dist.HandshakeOptions{Version: dist.HandshakeVersion6}), secret},
		Proto:     plainProto{dist.CreateProto(proto)},
		Registrar: dist.CreateRegistrarWithRemoteEPMD(mapper.Addr().String(), mapper.Port()),
		Listeners: []node.Listener{{Hostname: listen.Addr().String(), Listen: listen.Port()}},
		System:    node.System{DisableAnonMetrics: true}, // ergo would tell its makers the node's name
	}
}
