package control

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
)

// Dial connects to cfg.Peer and returns once the handshake is done. Ctx
// bounds only the dialing. The errors wrap ErrUnreachable when nobody answers,
// wire.ErrCookie when the cookies differ.
func Dial(ctx context.Context, cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("dial node: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	cookies, err := cfg.cookies()
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", cfg.Peer, err)
	}
	var n *Node
	for _, cookie := range cookies {
		if n, err = dialWith(ctx, cfg, cookie); !errors.Is(err, wire.ErrCookie) {
			break
		}
	}
	return n, err
}

// cookies are what Peer may know, the likeliest first.
func (c Config) cookies() ([]app.Secret, error) {
	if c.Cookies == nil {
		return []app.Secret{c.Cookie}, nil
	}
	all, err := c.Cookies()
	if err == nil && len(all) == 0 {
		err = errors.New("no cookie is given; use the one that the node was started with")
	}
	return all, err
}

// dialWith connects and proves one cookie.
func dialWith(ctx context.Context, cfg Config, cookie app.Secret) (*Node, error) {
	conn, err := cfg.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w: %w", cfg.Peer, ErrUnreachable, err)
	}
	n, err := overTLS(ctx, cfg, cookie, conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("dial %s: %w", cfg.Peer, err)
	}
	return n, nil
}

// overTLS shakes hands on a connection, inside TLS where that is wanted.
func overTLS(ctx context.Context, cfg Config, cookie app.Secret, conn net.Conn) (*Node, error) {
	if cfg.Secure == nil {
		return shakeHands(ctx, cfg, cookie, conn)
	}
	inner, err := cfg.Secure(ctx, conn)
	if err != nil {
		return nil, err
	}
	return shakeHands(ctx, cfg, cookie, inner)
}

// shakeHands makes a connection a Node.
func shakeHands(ctx context.Context, cfg Config, cookie app.Secret, conn net.Conn) (*Node, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	self := wire.Identity{Name: cfg.Name, Flags: wire.OwnFlags, Creation: max(random(), 4)}
	peer, err := wire.Dial(conn, self, cookie, random())
	if ctx.Err() != nil {
		return nil, fmt.Errorf("shake hands: %w: %w", ErrUnreachable, context.Cause(ctx))
	}
	if errors.Is(err, wire.ErrCookie) {
		return nil, fmt.Errorf("%w; use the cookie that the node was started with", err)
	}
	if err != nil {
		return nil, err
	}
	if peer.Name != cfg.Peer {
		return nil, fmt.Errorf("%w: %s at %s", ErrOtherNode, peer.Name, conn.RemoteAddr())
	}
	if !stop() {
		return nil, fmt.Errorf("shake hands: %w: %w", ErrUnreachable, context.Cause(ctx))
	}
	return start(cfg, self, peer, conn), nil
}

// connect opens the connection in the way that is configured.
func (c Config) connect(ctx context.Context) (net.Conn, error) {
	if c.Connect != nil {
		return c.Connect(ctx)
	}
	addr := c.Addr
	if !addr.IsValid() {
		var err error
		if addr, err = c.lookup(ctx); err != nil {
			return nil, err
		}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("nothing listens at %s", addr)
	}
	return conn, err
}

// lookup asks the port mapper for Peer's address.
func (c Config) lookup(ctx context.Context) (netip.AddrPort, error) {
	name, host, _ := strings.Cut(c.Peer, "@")
	at := c.EPMD
	if !at.IsValid() {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
		if err != nil || len(addrs) == 0 {
			return netip.AddrPort{}, fmt.Errorf("resolve host %s: %w", host, err)
		}
		at = netip.AddrPortFrom(addrs[0].Unmap(), epmd.Port)
	}
	info, err := epmd.Lookup(ctx, at, name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(at.Addr(), info.Port), nil
}

// random is an unpredictable number, for challenges and creations.
func random() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	return binary.BigEndian.Uint32(b[:])
}
