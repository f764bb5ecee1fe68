package distribution

import (
	"context"
	"fmt"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/secure"
	"beamsandbox/reconcile/app"
)

// Cookie is the cookie of one leg, and the one that is about to replace it,
// empty at other times.
type Cookie struct{ Now, Next app.Secret }

// Keys are new cookies and certificates for one member; nil and empty leave a
// leg as it is. A plain leg stays plain.
type Keys struct {
	Guest, Host       *Cookie
	GuestTLS, HostTLS secure.Identity
}

// Rekey changes cookies and certificates of a member that is there. They count from the next
// handshakes on: its link stays.
func (g *Gateway) Rekey(ctx context.Context, name app.Name, k Keys) error {
	_, err := g.ask(ctx, protocol.Request{Op: protocol.OpKeys, Name: string(name),
		Keys: &protocol.Keys{Guest: pair(k.Guest), Host: pair(k.Host), GuestTLS: travelTLS(k.GuestTLS), HostTLS: travelTLS(k.HostTLS)}})
	if err != nil {
		return fmt.Errorf("change the gateway's keys of %s: %w", name, err)
	}
	return nil
}

func pair(c *Cookie) *protocol.KeyPair {
	if c == nil {
		return nil
	}
	return &protocol.KeyPair{Now: c.Now.Reveal(), Next: c.Next.Reveal()}
}

// travelTLS is an identity as it goes to the gateway, its key in clear.
func travelTLS(id secure.Identity) *protocol.TLS {
	if id.Empty() {
		return nil
	}
	return &protocol.TLS{CA: id.CA, Cert: id.Cert, Key: id.Key.Reveal(), PeerSince: id.PeerSince}
}
