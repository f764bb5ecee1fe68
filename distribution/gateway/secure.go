package gateway

import (
	"context"
	"fmt"
	"net"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/secure"
	"beamsandbox/reconcile/app"
)

// identity is what is proved on one leg; it is empty when the leg is plain.
func (m *member) identity(leg int) (secure.Identity, secure.Peer) {
	spec := m.spec()
	if leg == guestLeg {
		return identityOf(spec.GuestTLS), secure.Peer{What: "guest", Node: spec.Node}
	}
	return identityOf(spec.HostTLS), secure.Peer{What: "host VM", Node: spec.HostNode, ByHost: true}
}

func identityOf(t *protocol.TLS) secure.Identity {
	if t == nil {
		return secure.Identity{}
	}
	return secure.Identity{CA: t.CA, Cert: t.Cert, Key: app.NewSecret(t.Key), PeerSince: t.PeerSince}
}

// accepted makes TLS of a connection from the node of a leg, where that leg
// speaks it.
func (m *member) accepted(ctx context.Context, leg int, conn net.Conn) (net.Conn, error) {
	id, peer := m.identity(leg)
	if id.Empty() {
		return conn, nil
	}
	return id.Server(ctx, conn, peer)
}

// dialed makes TLS of a connection to the node of a leg, where that leg speaks
// it.
func (m *member) dialed(ctx context.Context, leg int, conn net.Conn) (net.Conn, error) {
	id, peer := m.identity(leg)
	if id.Empty() {
		return conn, nil
	}
	return id.Client(ctx, conn, peer)
}

// guestConn makes TLS of our own node's connection to the guest.
func (m *member) guestConn(ctx context.Context, conn net.Conn) (net.Conn, error) {
	return m.dialed(ctx, guestLeg, conn)
}

// checkTLS says which identity cannot be used.
func checkTLS(name string, all ...*protocol.TLS) error {
	for _, t := range all {
		if t == nil {
			continue
		}
		if err := identityOf(t).Check(); err != nil {
			return fmt.Errorf("certificates of member %s: %w", name, err)
		}
	}
	return nil
}
