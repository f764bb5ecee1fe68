package wire

import (
	"errors"
	"fmt"

	"beamsandbox/distribution/term"
)

// passThrough is the first byte of a frame without distribution header, the
// only kind there is when neither atom cache nor fragments were agreed on.
const passThrough = 112

// Control is one control message.
type Control struct {
	Op    Op
	Tuple term.Tuple // the whole of it, Op first
}

// controlLimits bounds the control message of a frame. An honest one is flat;
// only an exit reason or the options of a spawn are free terms.
func controlLimits() term.Limits { return term.Limits{Depth: 64, Nodes: 100_000} }

// SplitFrame reads a frame that is no tick:
// 112, 131, Control [, 131, Message].
//
// The control message is decoded within bounds and has the size that its Op
// asks for; the payload is the encoded message with its version byte, nil
// where the Op has none. Payload aliases frame and is not decoded here.
func SplitFrame(frame []byte) (c Control, payload []byte, err error) {
	if len(frame) == 0 {
		return Control{}, nil, errors.New("split frame: frame is empty")
	}
	if frame[0] != passThrough {
		return Control{}, nil, fmt.Errorf("split frame: frame begins with byte %d instead of %d, atom cache and fragments were not agreed on", frame[0], passThrough)
	}
	t, rest, err := controlLimits().Decode(frame[1:])
	if err != nil {
		return Control{}, nil, fmt.Errorf("split frame: read control message: %w", err)
	}
	c, err = NewControl(t)
	if err != nil {
		return Control{}, nil, fmt.Errorf("split frame: %w", err)
	}
	if payload, err = checkPayload(c.Op, rest); err != nil {
		return Control{}, nil, err
	}
	return c, payload, nil
}

func checkPayload(o Op, rest []byte) ([]byte, error) {
	switch {
	case !o.HasPayload() && len(rest) != 0:
		return nil, fmt.Errorf("split frame: %d bytes follow %s, which carries no message", len(rest), o)
	case !o.HasPayload():
		return nil, nil
	case len(rest) < 2 || rest[0] != term.Version:
		return nil, fmt.Errorf("split frame: no encoded message follows %s", o)
	}
	return rest, nil
}

// NewControl checks that t is a control message: a tuple of a known Op and
// its size.
func NewControl(t term.Term) (Control, error) {
	tuple, ok := t.(term.Tuple)
	if !ok || len(tuple) == 0 {
		return Control{}, errors.New("control message is not a tuple")
	}
	n, ok := tuple[0].(term.Int)
	if !ok || n < 0 || n > 255 {
		return Control{}, errors.New("control message does not begin with its number")
	}
	s, ok := shapeOf(Op(n))
	if !ok {
		return Control{}, fmt.Errorf("control message %d is unknown", n)
	}
	if len(tuple) < s.size || len(tuple) > s.size+s.optional {
		return Control{}, fmt.Errorf("control message %s has %d elements instead of %d", s.name, len(tuple), s.size)
	}
	return Control{Op: Op(n), Tuple: tuple}, nil
}

// AppendFrame appends a frame: the control message and, when the Op asks for
// one, payload, an encoded term with its version byte.
func AppendFrame(dst []byte, control term.Tuple, payload []byte) ([]byte, error) {
	c, err := NewControl(control)
	if err != nil {
		return nil, fmt.Errorf("append frame: %w", err)
	}
	if c.Op.HasPayload() != (len(payload) != 0) {
		return nil, fmt.Errorf("append frame: %s with a payload of %d bytes", c.Op, len(payload))
	}
	dst, err = term.Append(append(dst, passThrough), control)
	if err != nil {
		return nil, fmt.Errorf("append frame: %s: %w", c.Op, err)
	}
	return append(dst, payload...), nil
}

// AppendMessage appends a frame whose payload is message.
func AppendMessage(dst []byte, control term.Tuple, message term.Term) ([]byte, error) {
	payload, err := term.Encode(message)
	if err != nil {
		return nil, fmt.Errorf("append frame: %w", err)
	}
	return AppendFrame(dst, control, payload)
}

// at is the element that position picks from the shape, nil where the Op has
// none.
func (c Control) at(position func(shape) int) term.Term {
	s, _ := shapeOf(c.Op)
	i := position(s)
	if i == 0 || i >= len(c.Tuple) {
		return nil
	}
	return c.Tuple[i]
}

// From is the sender: a Pid, or with OpMonitorExit also a name. Nil for
// messages without one.
func (c Control) From() term.Term { return c.at(func(s shape) int { return s.from }) }

// To is the destination: a Pid, Atom (registered name) or Ref (alias). Nil
// for OpSpawnRequest.
func (c Control) To() term.Term { return c.at(func(s shape) int { return s.to }) }

// Token is the trace token of a TT message.
func (c Control) Token() term.Term { return c.at(func(s shape) int { return s.token }) }

// Reason is the exit reason or spawn result that stands in the control
// message itself; Payload ones have theirs as payload.
func (c Control) Reason() term.Term { return c.at(func(s shape) int { return s.reason }) }

// FromPid is the sending process.
func (c Control) FromPid() (term.Pid, bool) {
	p, ok := c.From().(term.Pid)
	return p, ok
}

// ToPid is the destination where it is a process.
func (c Control) ToPid() (term.Pid, bool) {
	p, ok := c.To().(term.Pid)
	return p, ok
}

// ToName is the destination where it is a registered name.
func (c Control) ToName() (term.Atom, bool) {
	a, ok := c.To().(term.Atom)
	return a, ok
}

// Ref is the monitor, the request of a spawn, or the alias that is sent to.
func (c Control) Ref() (term.Ref, bool) {
	if r, ok := c.at(func(s shape) int { return s.ref }).(term.Ref); ok {
		return r, true
	}
	r, ok := c.To().(term.Ref)
	return r, ok
}
