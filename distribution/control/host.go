package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"beamsandbox/distribution/term"
)

// The pauses between two attempts to connect.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 5 * time.Second
)

// Host stays connected to one node, the host VM: when the connection ends it
// is made again, after 0.2 s at first and 5 s at most. It is made by NewHost
// and ended by Close.
type Host struct {
	cfg    Config
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	node    *Node
	err     error // why there is no node
	links   uint64
	changed chan struct{} // closed and replaced at every change
}

// NewHost begins to connect to cfg.Peer and returns at once.
func NewHost(cfg Config) *Host {
	ctx, cancel := context.WithCancel(context.Background())
	h := &Host{
		cfg:     cfg.withDefaults(),
		cancel:  cancel,
		ended:   make(chan struct{}),
		err:     errors.New("not connected yet"),
		changed: make(chan struct{}),
	}
	go h.keep(ctx)
	return h
}

// Close ends the connection for good.
func (h *Host) Close() error {
	h.cancel()
	<-h.ended
	return nil
}

// keep connects again and again until ctx ends.
func (h *Host) keep(ctx context.Context) {
	defer close(h.ended)
	pause := firstPause
	for ctx.Err() == nil {
		node, err := Dial(ctx, h.cfg)
		if err == nil {
			h.set(node, nil)
			h.cfg.Log.Info("host VM is connected", "node", h.cfg.Peer)
			pause = firstPause
			err = h.last(ctx, node)
		}
		if h.set(nil, err) && ctx.Err() == nil {
			h.cfg.Log.Warn("host VM is not connected", "node", h.cfg.Peer, "err", err)
		}
		wait(ctx, pause)
		pause = min(2*pause, lastPause)
	}
	h.set(nil, ErrClosed)
}

// last waits for the end of node and says why it came.
func (h *Host) last(ctx context.Context, node *Node) error {
	select {
	case <-node.Done():
	case <-ctx.Done():
	}
	_ = node.Close()
	return node.Err()
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// set keeps the state and tells those who wait for it. It reports whether
// the reason for having no node is a new one, so that it is logged once.
func (h *Host) set(node *Node, err error) (news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	news = h.err == nil || err == nil || h.err.Error() != err.Error()
	h.node, h.err = node, err
	if node != nil {
		h.links++
	}
	close(h.changed)
	h.changed = make(chan struct{})
	return news
}

// state is the node or why there is none, the number of connections made so
// far, and a channel that is closed when this is no longer so.
func (h *Host) state() (*Node, uint64, <-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.node, h.links, h.changed, h.err
}

// Call is Node.Call over the present connection. Without one it waits for it
// for cfg.Wait at most and then is ErrUnreachable, with the reason.
func (h *Host) Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error) {
	node, err := h.connected(ctx)
	if err != nil {
		return nil, err
	}
	return node.Call(ctx, module, function, args...)
}

// Ping is Node.Ping over the present connection, waiting like Call.
func (h *Host) Ping(ctx context.Context) error {
	node, err := h.connected(ctx)
	if err != nil {
		return err
	}
	return node.Ping(ctx)
}

// connected waits for a connection.
func (h *Host) connected(ctx context.Context) (*Node, error) {
	patience := time.NewTimer(h.cfg.Wait)
	defer patience.Stop()
	for {
		node, _, changed, err := h.state()
		if node != nil {
			return node, nil
		}
		select {
		case <-changed:
		case <-patience.C:
			return nil, fmt.Errorf("host VM %s is %w: %w", h.cfg.Peer, ErrUnreachable, err)
		case <-ctx.Done():
			return nil, fmt.Errorf("host VM %s is %w: %w (%w)", h.cfg.Peer, ErrUnreachable, err, context.Cause(ctx))
		}
	}
}

// Err is why there is no connection now; nil when there is one.
func (h *Host) Err() error {
	_, _, _, err := h.state()
	return err
}

// Watch yields whether there is a connection: first the present state, then
// every change until ctx ends. A connection that was lost and made again
// while the consumer was busy is told as false and true.
func (h *Host) Watch(ctx context.Context) iter.Seq[bool] {
	return func(yield func(bool) bool) {
		node, links, changed, _ := h.state()
		up := node != nil
		if !yield(up) {
			return
		}
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			var now uint64
			node, now, changed, _ = h.state()
			if up && (node == nil || now != links) {
				up = false
				if !yield(false) {
					return
				}
			}
			if !up && node != nil {
				up = true
				if !yield(true) {
					return
				}
			}
			links = now
		}
	}
}
