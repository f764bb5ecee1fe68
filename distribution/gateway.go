package distribution

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/reconcile/app"
)

// Config is what the room is told once.
type Config struct {
	Binary string // path of sandbox-gateway
	RunDir string // folder of its control socket and log; made when missing
	// UID and GID are whom the gateway runs as. UID 0 means the user
	// sandbox-gateway where there is one, else 64321; GID 0 means UID's number.
	UID, GID uint32
	// Hostname is the machine's short name. The gateway stands in for guests
	// at 127.0.0.1 and wherever that name resolves.
	Hostname string
	EPMD     netip.AddrPort // the machine's port mapper; zero means 127.0.0.1:4369
	// Records is the folder where what the gateway knows of guests over their
	// lives is kept; "" keeps it as long as the gateway lives.
	Records string
	// Said gets what a guest said by way of the host VM: output of what the host
	// started there. It is the guest's text. Nil drops it.
	Said func(name app.Name, text []byte)
	Log  *slog.Logger
}

const (
	socketName = "gateway.sock"
	// startTimeout bounds the start of the gateway until it answers, and has
	// taken over from an older one.
	startTimeout = 30 * time.Second
	// A gateway that cannot be started is tried again ever later.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// ErrVersion is wrapped when a gateway of another version serves members: it
// cannot be understood, and replacing it would cut their links.
var ErrVersion = errors.New("a gateway of another version serves guests")

// Gateway is the room of guests on the network: sandbox-gateway, seen from
// sandboxd. The process outlives its room.
type Gateway struct {
	cfg    Config
	socket string
	stop   context.CancelFunc
	done   chan struct{}
	kept   chan struct{} // closed when no record is written any more

	opening sync.Mutex // held while sockets are opened inside a namespace
	keeping sync.Mutex // held while a record is asked for and written
	ledger  ledger     // whose records are asked for, and when

	mu      sync.Mutex
	up      bool
	changed chan struct{} // closed and replaced when up changes
	err     error         // why the gateway is not up
}

// Start finds the gateway that already runs in cfg.RunDir, or starts one. It
// keeps one running until Close.
func Start(ctx context.Context, cfg Config) (*Gateway, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("start gateway: %w", err)
	}
	g := &Gateway{
		cfg: cfg, socket: filepath.Join(cfg.RunDir, socketName),
		done: make(chan struct{}), kept: make(chan struct{}), changed: make(chan struct{}),
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	watch, err := g.adoptOrSpawn(ctx)
	if err != nil {
		return nil, err
	}
	g.setUp(nil)
	keep, stop := context.WithCancel(context.Background())
	g.stop = stop
	go g.keep(keep, watch)
	go g.keepRecords(keep)
	return g, nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if !c.EPMD.IsValid() {
		c.EPMD = netip.AddrPortFrom(loopback(), 4369)
	}
	switch {
	case c.UID == 0:
		c.UID, c.GID = unprivileged()
	case c.GID == 0:
		c.GID = c.UID
	}
	if _, err := os.Stat(c.Binary); err != nil {
		return c, fmt.Errorf("find sandbox-gateway: %w", err)
	}
	if err := os.MkdirAll(c.RunDir, 0o755); err != nil {
		return c, fmt.Errorf("make run folder: %w", err)
	}
	return c, nil
}

// Close lets go of the gateway, which goes on serving its members; one
// without members ends by itself soon.
func (g *Gateway) Close() error {
	g.stop()
	<-g.done
	<-g.kept
	return nil
}

// Quit asks a gateway without members to end now, once the room is closed, and
// waits until it has; one with members goes on.
func (g *Gateway) Quit(ctx context.Context) error {
	if _, err := protocol.Ask(ctx, g.socket, protocol.Request{Op: protocol.OpQuit}); err != nil {
		return nil //nolint:nilerr // it has ended, or serves members
	}
	for ctx.Err() == nil {
		c, err := net.Dial("unix", g.socket)
		if err != nil {
			return g.unbound(ctx)
		}
		c.Close()
		pause(ctx, 10*time.Millisecond)
	}
	return fmt.Errorf("end gateway: %w", ctx.Err())
}

// Up reports whether the gateway answers, and if not, why.
func (g *Gateway) Up() (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.up, g.err
}

// setUp notes that the gateway answers (nil) or why it does not.
func (g *Gateway) setUp(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.up, g.err = err == nil, err
	close(g.changed)
	g.changed = make(chan struct{})
}

// keep holds a connection to the gateway, whose end means the gateway's, and
// then starts another one.
func (g *Gateway) keep(ctx context.Context, watch *net.UnixConn) {
	defer close(g.done)
	var trims sync.WaitGroup
	defer trims.Wait()
	trims.Go(func() { g.trimLogs(ctx) })
	for {
		g.waitEnd(ctx, watch)
		wait := firstRetry
		for watch = nil; watch == nil; wait = min(2*wait, lastRetry) {
			if ctx.Err() != nil {
				return
			}
			g.setUp(errors.New("sandbox-gateway ended, it is started again"))
			watch = g.again(ctx)
			if watch == nil {
				pause(ctx, wait)
			}
		}
		g.setUp(nil)
		g.cfg.Log.Warn("gateway started again")
	}
}

// again starts a gateway in place of the one that ended.
func (g *Gateway) again(ctx context.Context) *net.UnixConn {
	try, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	watch, err := g.adoptOrSpawn(try)
	if err != nil && ctx.Err() == nil {
		g.setUp(err)
		g.cfg.Log.Error("gateway does not start", "err", err)
	}
	return watch
}

// waitEnd reads a stream of events, which nobody here needs, until it ends.
func (g *Gateway) waitEnd(ctx context.Context, watch *net.UnixConn) {
	defer watch.Close()
	defer context.AfterFunc(ctx, func() { watch.Close() })()
	for {
		var ev protocol.Event
		if _, err := protocol.Read(watch, &ev); err != nil {
			return
		}
	}
}

// waitUp waits until the gateway answers.
func (g *Gateway) waitUp(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		g.mu.Lock()
		up, changed := g.up, g.changed
		g.mu.Unlock()
		if up {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-g.done:
			return errors.New("the room is closed")
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
