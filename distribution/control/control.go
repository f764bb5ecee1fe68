// Package control is a hidden Erlang node of our own: it dials one node and
// makes calls there. It never listens, is registered at no port mapper and is
// not one of nodes() for anybody, so global and pg leave it alone.
//
// A Node is one connection and ends with it; a Host stays connected.
package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
)

// Config says whom to call, and as whom.
type Config struct {
	Name   string     // our own node name, "sandboxd@myhost"; unique among those who dial Peer
	Cookie app.Secret // shared with Peer
	Peer   string     // the node to call, "demo_web@myhost"
	// Cookies, when it is set, is asked at every dial instead of Cookie: what
	// it returns is tried in order, while Peer may know one or the other.
	Cookies func() ([]app.Secret, error)

	// Where Peer accepts distribution, by the first of these that is set:
	// Connect opens the connection itself; Addr is dialed; the port mapper at
	// EPMD is asked, and the port it names is dialed at EPMD's address. With
	// none, the host part of Peer is resolved and its port mapper asked on
	// port 4369.
	Connect func(ctx context.Context) (net.Conn, error)
	Addr    netip.AddrPort
	EPMD    netip.AddrPort

	// Secure makes TLS of an opened connection; nil: it is plain. Ctx bounds
	// the handshake.
	Secure func(ctx context.Context, conn net.Conn) (net.Conn, error)

	// Limits bounds what Peer may send, where it is not trusted. Beyond
	// Messages and Bytes the connection is closed, beyond Depth and Nodes one
	// call fails.
	Limits Limits
	// Survive is deferred in each goroutine of a connection and may recover from
	// a panic, which then ends that connection alone; nil lets it pass.
	Survive func(what string)

	MaxFrame int           // bytes of one answer; 0 means 16 MiB
	TickTime time.Duration // Peer's net_ticktime; 0 means 60 s, OTP's default
	Wait     time.Duration // how long Host.Call waits for a connection; 0 means 2 s
	Log      *slog.Logger  // nil logs nothing
}

// Limits are those of a peer. Zero fields mean no more than what holds for every
// term and every frame.
type Limits struct {
	Depth, Nodes    int // of one answer, as in term.Limits
	Messages, Bytes int // a second, and so many at once
}

// Hostile are Limits for a peer that runs anybody's code.
func Hostile() Limits {
	return Limits{Depth: 64, Nodes: 200_000, Messages: 2000, Bytes: 16 << 20}
}

const (
	defaultMaxFrame = 16 << 20
	defaultTickTime = 60 * time.Second
	defaultWait     = 2 * time.Second
	// connectTimeout bounds port mapper, connect and handshake together.
	connectTimeout = 7 * time.Second
	// writeTimeout is how long a peer may leave our bytes unread.
	writeTimeout = 15 * time.Second
)

// Errors that callers tell apart.
var (
	// ErrUnreachable is wrapped when there is no connection to Peer.
	ErrUnreachable = errors.New("not reachable")
	// ErrDown is wrapped when the connection ended under a call: whether the
	// call was made is not known.
	ErrDown = errors.New("connection ended")
	// ErrClosed is the reason of a connection that we closed ourselves.
	ErrClosed = errors.New("closed by us")
)

func (c Config) withDefaults() Config {
	if c.MaxFrame <= 0 {
		c.MaxFrame = defaultMaxFrame
	}
	if c.TickTime <= 0 {
		c.TickTime = defaultTickTime
	}
	if c.Wait <= 0 {
		c.Wait = defaultWait
	}
	if c.Survive == nil {
		c.Survive = func(string) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) check() error {
	if err := wire.CheckNodeName(c.Name); err != nil {
		return err
	}
	if err := wire.CheckNodeName(c.Peer); err != nil {
		return err
	}
	if c.Cookie.Empty() && c.Cookies == nil {
		return errors.New("no cookie is given; use the one that the node was started with")
	}
	return nil
}
