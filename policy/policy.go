// Package policy decides what an app may ask for and what it may do once it
// runs: pure functions from a spec or a message to a decision.
package policy

import (
	"beamsandbox/reconcile/app"
)

// Rules is what the operator allows on this host. The zero value allows
// every well-formed app the defaults of Default.
type Rules struct {
	MaxMemory     int  // MB, 0: no ceiling
	MaxSchedulers int  // CPUs, 0: no ceiling
	AllowPath     bool // sources of type path, for sandboxctl run
}

// Grant is what one app was allowed; netns, distribution and runtime enforce
// its three parts.
type Grant struct {
	Flows      []Flow
	Messages   Messages
	Privileges Privileges
}

// Flow is one kind of connection that the firewall lets through, from the
// host's end of the veth to the guest.
type Flow struct {
	Port    uint16
	Purpose string // "distribution", "epmd", "health", "http_port"
	Publish bool   // also listen on the host's loopback at the same number
}

// Privileges are the limits of the guest as the kernel sees it.
type Privileges struct {
	Pids       int64  // tasks, threads included
	OpenFiles  uint64 // RLIMIT_NOFILE
	TmpBytes   int64  // size of the guest's /tmp
	OCIRuntime string // containerd runtime name, "io.containerd.runc.v2"
	UserNS     bool   // a user namespace with a range of its own
}

// Grant returns what spec may have, or an error naming the rule it breaks.
func (r Rules) Grant(spec app.Spec) (Grant, error) {
	return Grant{}, nil
}
