// Package protocol is what sandboxd and sandbox-gateway say to each other:
// one request and one answer for each connection to a unix socket, as JSON
// behind a length, with sockets passed beside it.
//
// It carries cookies and keys in clear, so its messages are never logged and its
// socket belongs to root alone.
package protocol

import (
	"encoding/json"
	"net/netip"
	"time"

	"beamsandbox/policy"
)

// Version is the version of these messages. A gateway of another version is
// replaced when it serves nobody.
const Version = 2

// HandOver is the version of what one gateway tells another one that takes its
// members over. Gateways of the same HandOver understand each other, whatever
// Version they speak with sandboxd.
const HandOver = 1

// Op names a request.
type Op string

// The requests.
const (
	OpHello     Op = "hello"      // who are you: Version, Pid, Members
	OpSet       Op = "set"        // Member becomes as given; sockets travel beside it
	OpRemove    Op = "remove"     // the member Name goes
	OpList      Op = "list"       // Nodes
	OpCall      Op = "call"       // rpc:call in the guest: Call
	OpProbeHTTP Op = "probe_http" // GET Probe.Path at the guest's Probe.Port
	OpProbeTCP  Op = "probe_tcp"  // connect to the guest's Probe.Port
	OpEvents    Op = "events"     // an endless stream of Event, after one Response
	OpKeys      Op = "keys"       // the member Name's cookies and certificates become as in Keys
	OpQuit      Op = "quit"       // leave, if no member is served
	OpRecord    Op = "record"     // what is kept of Name, and what it said since this was asked last
	OpLift      Op = "lift"       // Name is let in again: its closed links and its quarantine are forgotten
	OpHandOver  Op = "hand_over"  // all members go to the gateway at the other end of the passed socket
)

// Request is one question of sandboxd.
type Request struct {
	Op      Op            `json:"op"`
	Name    string        `json:"name,omitempty"` // the member's, for all but hello, list and events
	Member  *Member       `json:"member,omitempty"`
	Keys    *Keys         `json:"keys,omitempty"`
	Call    *Call         `json:"call,omitempty"`
	Probe   *Probe        `json:"probe,omitempty"`
	Timeout time.Duration `json:"timeout_ns,omitempty"` // for call and probes; 0: the gateway's default
	// Sockets says which address each socket passed beside the request
	// listens at, in order.
	Sockets []netip.AddrPort `json:"sockets,omitempty"`
}

// Member is distribution.Member as it travels, secrets in clear.
type Member struct {
	Name       string         `json:"name"`
	Node       string         `json:"node"`
	HostNode   string         `json:"host_node"`
	Guest      netip.AddrPort `json:"guest"`
	EPMD       netip.AddrPort `json:"epmd"`
	Host       netip.AddrPort `json:"host"`
	Cookie     string         `json:"cookie"`
	HostCookie string         `json:"host_cookie"`
	// The cookies that are about to replace these, while a node may already
	// know them; empty at other times.
	NextCookie     string `json:"next_cookie,omitempty"`
	NextHostCookie string `json:"next_host_cookie,omitempty"`
	// What the gateway proves on each leg that speaks TLS; nil: it is plain.
	GuestTLS *TLS `json:"guest_tls,omitempty"`
	HostTLS  *TLS `json:"host_tls,omitempty"`

	Forward []uint16 `json:"forward,omitempty"`
	// Build names the code of the guest; another one lifts its quarantine.
	Build string `json:"build,omitempty"`
	// Record is what was kept of the guest, for a gateway that knows nothing of
	// it yet.
	Record json.RawMessage `json:"record,omitempty"`

	Messages policy.Messages `json:"messages"`
}

// Keys are new cookies and certificates for a member that is there; nil leaves
// a leg as it is.
type Keys struct {
	Guest *KeyPair `json:"guest,omitempty"`
	Host  *KeyPair `json:"host,omitempty"`

	GuestTLS *TLS `json:"guest_tls,omitempty"`
	HostTLS  *TLS `json:"host_tls,omitempty"`
}

// TLS is secure.Identity as it travels, its key in clear.
type TLS struct {
	CA   string `json:"ca"`
	Cert string `json:"cert"`
	Key  string `json:"key"`

	PeerSince time.Time `json:"peer_since,omitzero"`
}

// KeyPair is the cookie of one leg, and the one that is about to replace it.
type KeyPair struct {
	Now  string `json:"now"`
	Next string `json:"next,omitempty"`
}

// Call is one rpc: Args is a list of terms in the external format, version
// byte included.
type Call struct {
	Module   string `json:"module"`
	Function string `json:"function"`
	Args     []byte `json:"args"`
}

// Probe is one health probe.
type Probe struct {
	Port uint16 `json:"port"`
	Path string `json:"path,omitempty"`
}

// Response answers a Request. A non-empty Error means that it was refused or
// failed; the other fields belong to their requests.
type Response struct {
	Error string `json:"error,omitempty"`
	// BadRPC tells that the call reached the guest and failed there: Result
	// is the reason.
	BadRPC bool   `json:"bad_rpc,omitempty"`
	Hello  *Hello `json:"hello,omitempty"`
	// Need lists the addresses at which the gateway holds no socket yet: the
	// set must be sent again with them.
	Need   []netip.AddrPort `json:"need,omitempty"`
	Node   *Node            `json:"node,omitempty"`
	Nodes  []Node           `json:"nodes,omitempty"`
	Status int              `json:"status,omitempty"` // of an HTTP probe
	Result []byte           `json:"result,omitempty"` // of a call, external format
	Record json.RawMessage  `json:"record,omitempty"` // to be kept and given back; only the gateway reads it
	Said   []byte           `json:"said,omitempty"`   // text for the guest's log
}

// Hello is a gateway's answer to who it is.
type Hello struct {
	Version  int `json:"version"`
	Pid      int `json:"pid"`
	Members  int `json:"members"`
	HandOver int `json:"hand_over,omitempty"` // 0: it cannot
}

// Node is one member as the gateway sees it now; see distribution.Node.
type Node struct {
	Name       string            `json:"name"`
	Node       string            `json:"node"`
	Port       uint16            `json:"port"`
	Registered bool              `json:"registered"`
	Up         bool              `json:"up"`
	Since      time.Time         `json:"since,omitzero"`
	Error      string            `json:"error,omitempty"`
	Refused    map[string]uint64 `json:"refused,omitempty"`
	Mode       policy.Mode       `json:"mode,omitempty"`
	Recent     []Refusal         `json:"recent,omitempty"` // the last ones refused, oldest first

	Atoms      int            `json:"atoms,omitempty"`       // that the guest brought to the host VM
	AtomBudget int            `json:"atom_budget,omitempty"` // negative: none
	Rights     map[string]int `json:"rights,omitempty"`      // held on the link that is up, by kind
	Closed     int            `json:"closed,omitempty"`      // links closed for what the guest sent, in ten minutes
	NextTry    time.Time      `json:"next_try,omitzero"`     // when it is let in again after such a link
	Quarantine *Quarantine    `json:"quarantine,omitempty"`
}

// Quarantine says since when and why a guest gets no link any more; see
// distribution.Quarantine.
type Quarantine struct {
	At     time.Time `json:"at"`
	Rule   string    `json:"rule"`
	Closed int       `json:"closed"`
	Build  string    `json:"build,omitempty"`
}

// Refusal is one message that was not passed; see distribution.Refusal.
type Refusal struct {
	At      time.Time `json:"at"`
	ToGuest bool      `json:"to_guest,omitempty"`
	Rule    string    `json:"rule"`
	Op      string    `json:"op,omitempty"`
	To      string    `json:"to,omitempty"`
	Message string    `json:"message,omitempty"`
}

// Event is one change at a member; Kind is a distribution.EventKind.
type Event struct {
	Kind   string    `json:"kind"`
	Name   string    `json:"name"`
	Node   string    `json:"node"`
	Detail string    `json:"detail,omitempty"`
	At     time.Time `json:"at"`
}
