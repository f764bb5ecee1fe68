// Package distribution stands between isolated nodes and the cluster and
// passes what policy allows. The room talks to sandbox-gateway, the process
// that carries the bytes.
package distribution

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"beamsandbox/distribution/secure"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// Member is one guest as the gateway must know it.
type Member struct {
	Name     app.Name
	Node     string         // "pulse@myhost"
	HostNode string         // "demo_web@myhost"
	Guest    netip.AddrPort // where the guest's distribution will listen, over the veth
	// EPMD and Host are where the gateway listens inside the guest's
	// namespace: the port mapper view and the host node's stand-in.
	EPMD, Host netip.AddrPort
	Cookie     app.Secret // the guest's own
	HostCookie app.Secret // the cluster's
	// The cookies that are about to replace these two, while a node may know
	// one or the other; empty at other times.
	NextCookie, NextHostCookie app.Secret
	// What the gateway proves on each leg; an empty one is plain.
	GuestTLS, HostTLS secure.Identity

	Messages policy.Messages
	Forward  []uint16 // ports on the host's loopback carried to the guest
	Build    string   // digest of the guest's code; another one lifts its quarantine
	// Listen opens a listening socket inside the guest's namespace. It is
	// called only for sockets that the gateway does not hold yet.
	Listen func(ctx context.Context, addr netip.AddrPort) (*os.File, error)
}

// Node is one member as the gateway sees it now.
type Node struct {
	Name       app.Name
	Node       string
	Port       uint16 // where the gateway listens for the host VM
	Registered bool   // the guest's BEAM holds its name at the EPMD view
	Up         bool   // both legs are connected
	Since      time.Time
	Error      string            // last reason a link could not be made
	Refused    map[string]uint64 // messages not passed, by rule
	Mode       policy.Mode       // empty: enforce
	Recent     []Refusal         // the last messages not passed, oldest first

	Atoms      int            // new to the host VM, over the guest's life
	AtomBudget int            // how many there may be, negative: no limit
	Rights     map[string]int // held on the link that is up, by kind
	Closed     int            // links closed within ten minutes for what the guest sent
	NextTry    time.Time      // when it is let in again after such a link
	Quarantine *Quarantine    // nil: it is not kept off
}

// Quarantine says since when and why a guest gets no link any more, until it is
// lifted or the guest has other code.
type Quarantine struct {
	At     time.Time
	Rule   string // that it broke last
	Closed int    // links that had to be closed within ten minutes
	Build  string // digest of the code that did it
}

// Error says it on one line; a quarantine is why a guest cannot run.
func (q *Quarantine) Error() string {
	return fmt.Sprintf("quarantined at %s: its links had to be closed %d times within ten minutes, last for breaking rule %s",
		q.At.UTC().Format(time.RFC3339), q.Closed, q.Rule)
}

// Refusal is one message that was not passed. Op, To and Message are empty when
// too many came at once. To and Message are the guest's words, bounded and as
// Erlang would write them.
type Refusal struct {
	At      time.Time
	ToGuest bool   // the host VM sent it
	Rule    string // as in Node.Refused
	Op      string // control message, "REG_SEND"
	To      string // registered name or process
	Message string // the beginning of it
}

// EventKind says what changed at a member.
type EventKind string

// What the gateway tells.
const (
	Registered   EventKind = "registered"   // the guest's BEAM asked for its name
	Unregistered EventKind = "unregistered" // and let go of it
	Up           EventKind = "up"           // host and guest are connected
	Down         EventKind = "down"
	LinkError    EventKind = "link_error" // a handshake failed; Detail says why
	Refused      EventKind = "refused"    // messages were refused; Detail sums them up
	Quarantined  EventKind = "quarantined"
	Restarted    EventKind = "restarted" // the gateway itself is new: Ensure every member
)

// Event is one change at a member.
type Event struct {
	Kind   EventKind
	Name   app.Name
	Node   string
	Detail string
	At     time.Time
}
