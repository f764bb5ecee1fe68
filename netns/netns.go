// Package netns gives each guest its own network namespace, address and
// firewall.
package netns

import (
	"net/netip"

	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// Config is the network one guest asks for.
type Config struct {
	Name  app.Name
	Flows []policy.Flow // connections let through from the host's veth end
	// Sealed makes a namespace with loopback alone: no veth, no address, no
	// table (builder guests).
	Sealed bool
}

// Network is one namespace as it really is.
type Network struct {
	Name  app.Name
	Path  string     // bind-mounted namespace file, /run/beamsandbox/netns/<name>
	Link  string     // host end of the veth, "" when sealed
	Host  netip.Addr // host end's address
	Guest netip.Addr // guest end's address
	Flows []policy.Flow
}

// Drops counts what a guest's firewall refused, by what was tried.
type Drops struct {
	Rule    string // "guest-egress", "spoofed", "ipv6", "host-ingress", …
	Packets uint64
	Bytes   uint64
}
