package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"beamsandbox/distribution/control"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
)

// maxAnswer bounds what a guest may answer to a call, in bytes.
const maxAnswer = 1 << 20

// caller is our own hidden node as one guest knows it. It is connected when
// first needed and stays so.
type caller struct {
	m    *member
	turn chan struct{} // one token: who may dial

	mu     sync.Mutex
	node   *control.Node
	closed bool
}

func newCaller(m *member) *caller {
	return &caller{m: m, turn: make(chan struct{}, 1)}
}

// call makes one call in the guest and returns its answer, encoded anew: what
// the guest sent goes no further than here.
func (m *member) call(ctx context.Context, c protocol.Call) protocol.Response {
	args, err := arguments(c.Args)
	if err != nil {
		return failed(fmt.Errorf("call %s:%s: %w", c.Module, c.Function, err))
	}
	node, err := m.caller.connected(ctx)
	if err != nil {
		return failed(fmt.Errorf("call %s:%s: %w", c.Module, c.Function, err))
	}
	value, err := node.Call(ctx, c.Module, c.Function, args...)
	var bad *control.BadRPC
	if errors.As(err, &bad) {
		value = bad.Reason
	} else if err != nil {
		return failed(err)
	}
	result, encodeErr := term.Encode(value)
	if encodeErr != nil {
		return failed(fmt.Errorf("call %s:%s: answer: %w", c.Module, c.Function, encodeErr))
	}
	resp := protocol.Response{Result: result, BadRPC: bad != nil}
	if err != nil {
		resp.Error = err.Error()
	}
	return resp
}

// arguments reads the list of arguments that sandboxd sent.
func arguments(encoded []byte) ([]term.Term, error) {
	t, rest, err := term.Decode(encoded)
	if err != nil {
		return nil, fmt.Errorf("read arguments: %w", err)
	}
	list, ok := t.(term.List)
	if !ok || len(rest) > 0 {
		return nil, errors.New("read arguments: they are not one list")
	}
	args, ok := list.Proper()
	if !ok {
		return nil, errors.New("read arguments: their list is improper")
	}
	return args, nil
}

// connected is our node, dialed when it is not connected.
func (c *caller) connected(ctx context.Context) (*control.Node, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if node := c.current(); node != nil {
		return node, nil
	}
	if !c.m.isHeld() {
		return nil, errNobody
	}
	spec := c.m.spec()
	_, host, _ := strings.Cut(spec.Node, "@")
	node, err := control.Dial(ctx, control.Config{
		Name: "sandbox-gateway@" + host, Cookies: c.m.guestSecrets, Secure: c.m.guestConn, Peer: spec.Node,
		Addr: spec.Guest, MaxFrame: maxAnswer, TickTime: c.m.s.cfg.Tick, Log: c.m.s.cfg.Log,
		Limits: control.Hostile(), Survive: c.m.s.survive,
	})
	if err != nil {
		return nil, err
	}
	return node, c.keep(node)
}

// current is our node as long as it is connected.
func (c *caller) current() *control.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.node == nil {
		return nil
	}
	select {
	case <-c.node.Done():
		return nil
	default:
		return c.node
	}
}

// keep remembers a new connection, unless the member is gone by now.
func (c *caller) keep(node *control.Node) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		node.Close()
		return errors.New("the guest was removed")
	}
	if c.node != nil {
		c.node.Close()
	}
	c.node = node
	return nil
}

// drop hangs up: the guest's BEAM has ended or started anew.
func (c *caller) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.node != nil {
		c.node.Close()
		c.node = nil
	}
}

// close hangs up for good.
func (c *caller) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.drop()
}
