package control

import (
	"context"
	"errors"
	"fmt"
)

// ErrOtherNode is wrapped when a node of another name than Peer answers.
var ErrOtherNode = errors.New("another node answers")

// Try makes a connection of its own as the node called name and closes it
// again: does Peer accept us now, whatever it did when the lasting connection
// was made? The errors are those of Dial. Over TLS our certificate holds our
// one name, so the lasting connection is asked whether it lives instead.
func (h *Host) Try(ctx context.Context, name string) error {
	if h.cfg.Secure != nil {
		return h.Ping(ctx)
	}
	cfg := h.cfg
	cfg.Name = name
	node, err := Dial(ctx, cfg)
	if err != nil {
		return fmt.Errorf("try a connection: %w", err)
	}
	return node.Close()
}
