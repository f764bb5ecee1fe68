package distribution

import (
	"context"
	"fmt"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/reconcile/app"
)

// Cookie is the cookie of one leg, and the one that is about to replace it,
// empty at other times.
type Cookie struct{ Now, Next app.Secret }

// Keys are new cookies for one member; nil leaves a leg as it is.
type Keys struct{ Guest, Host *Cookie }

// Rekey changes cookies of a member that is there. They count from the next
// handshakes on: its link stays.
func (g *Gateway) Rekey(ctx context.Context, name app.Name, k Keys) error {
	_, err := protocol.Ask(ctx, g.socket, protocol.Request{Op: protocol.OpKeys, Name: string(name),
		Keys: &protocol.Keys{Guest: pair(k.Guest), Host: pair(k.Host)}})
	if err != nil {
		return fmt.Errorf("change the gateway's cookies of %s: %w", name, err)
	}
	return nil
}

func pair(c *Cookie) *protocol.KeyPair {
	if c == nil {
		return nil
	}
	return &protocol.KeyPair{Now: c.Now.Reveal(), Next: c.Next.Reveal()}
}
