// Package control carries the questions of sandboxctl to sandboxd over its
// unix socket: HTTP with JSON, versioned paths, server-sent events for
// streams. Both ends live here so that they cannot drift apart.
package control

import (
	"context"
	"io"
	"iter"

	"beamsandbox/reconcile/status"
)

// DefaultSocket is where sandboxd listens unless its configuration says
// otherwise.
const DefaultSocket = "/run/sandboxd/control.sock"

// Version is the protocol's version, the first part of every path.
const Version = "v1"

// Starting is the host's error, and that of everything which needs more than
// status, while sandboxd gets its parts together for the first time.
const Starting = "sandboxd is starting: ask again in a moment"

// Daemon is what the socket's handler asks of sandboxd.
type Daemon interface {
	// Status is the newest snapshot; it never waits.
	Status() status.Host
	// Trigger asks for a pass now.
	Trigger()
	// Plan is what a pass would do now.
	Plan(ctx context.Context) ([]status.Step, error)
	// Subscribe follows what happens from the moment of the call until ctx ends.
	Subscribe(ctx context.Context) iter.Seq[status.Event]
	// Logs copies the app's log to w, and what is added to it while follow.
	Logs(ctx context.Context, app string, follow bool, w io.Writer) error
	// Drain removes every app gracefully and keeps the host empty.
	Drain(ctx context.Context) error
}

// failure is the body of every answer that is not a success.
type failure struct {
	Error string `json:"error"`
}
