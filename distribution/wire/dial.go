package wire

import (
	"errors"
	"fmt"
	"io"
)

// ErrCookie is wrapped when the two nodes do not share the cookie.
var ErrCookie = errors.New("cookies differ")

// Dialer is the side that opened the connection, step by step:
// SendName, ReadStatus, [SendStatus], ReadChallenge, SendReply, ReadAck.
// Several handshakes may be interleaved; one Dialer is for one goroutine.
type Dialer struct {
	rw    io.ReadWriter
	asked uint32 // the peer's number, to be digested in the reply
	own   uint32 // our number, whose digest the ack must hold
}

// NewDialer begins a handshake over rw.
func NewDialer(rw io.ReadWriter) *Dialer { return &Dialer{rw: rw} }

// SendName presents the dialing node.
func (d *Dialer) SendName(self Identity) error {
	return sendStep(d.rw, "name", AppendName(nil, self))
}

// ReadStatus reads the acceptor's answer, whatever it is; Proceeds tells
// whether a challenge follows, StatusAlive waits for SendStatus first.
func (d *Dialer) ReadStatus() (Status, error) {
	msg, err := readStep(d.rw, "status")
	if err != nil {
		return Status{}, err
	}
	return ParseStatus(msg)
}

// SendStatus answers StatusAlive: true replaces the link that the acceptor
// still holds, false leaves it and ends this handshake.
func (d *Dialer) SendStatus(replace bool) error {
	code := StatusFalse
	if replace {
		code = StatusTrue
	}
	return sendStep(d.rw, "status", AppendStatus(nil, Status{Code: code}))
}

// ReadChallenge reads who the acceptor is and the number it wants digested.
func (d *Dialer) ReadChallenge() (Challenge, error) {
	msg, err := readStep(d.rw, "challenge")
	if err != nil {
		return Challenge{}, err
	}
	c, err := ParseChallenge(msg)
	d.asked = c.Number
	return c, err
}

// SendReply proves the cookie and sets number for the acceptor to digest.
// Number must be unpredictable.
func (d *Dialer) SendReply(cookie Cookie, number uint32) error {
	d.own = number
	r := Reply{Number: number, Digest: Digest(cookie, d.asked)}
	return sendStep(d.rw, "challenge reply", AppendReply(nil, r))
}

// ReadAck checks that the acceptor knows the cookie too. A real node closes
// the connection instead of answering a wrong digest, so an end here is
// ErrCookie as well.
func (d *Dialer) ReadAck(cookie Cookie) error {
	msg, err := readStep(d.rw, "challenge ack")
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("read challenge ack: %w: the peer closed the connection at our proof of the cookie", ErrCookie)
	}
	if err != nil {
		return err
	}
	sum, err := ParseAck(msg)
	if err != nil {
		return err
	}
	if !sum.Equal(Digest(cookie, d.own)) {
		return fmt.Errorf("check challenge ack: %w: the peer proved another cookie", ErrCookie)
	}
	return nil
}

// Dial runs the whole handshake as the dialing node and returns who answered.
// An older link that the acceptor still holds is replaced. A refusal wraps
// its StatusCode; number is our unpredictable challenge.
func Dial(rw io.ReadWriter, self Identity, cookie Cookie, number uint32) (Identity, error) {
	d := NewDialer(rw)
	if err := d.SendName(self); err != nil {
		return Identity{}, err
	}
	if err := d.settle(); err != nil {
		return Identity{}, err
	}
	c, err := d.ReadChallenge()
	if err != nil {
		return Identity{}, err
	}
	if err := c.Flags.Check(); err != nil {
		return Identity{}, fmt.Errorf("node %s: %w", c.Name, err)
	}
	if err := d.SendReply(cookie, number); err != nil {
		return Identity{}, err
	}
	return c.Identity, d.ReadAck(cookie)
}

// settle reads the status and answers alive with true.
func (d *Dialer) settle() error {
	s, err := d.ReadStatus()
	if err != nil {
		return err
	}
	if s.Code == StatusAlive {
		return d.SendStatus(true)
	}
	if s.Code == StatusNamed || !s.Code.Proceeds() {
		return fmt.Errorf("read status: %w", s.Code)
	}
	return nil
}

func sendStep(w io.Writer, what string, msg []byte) error {
	if err := WriteHandshake(w, msg); err != nil {
		return fmt.Errorf("send %s: %w", what, err)
	}
	return nil
}

func readStep(r io.Reader, what string) ([]byte, error) {
	msg, err := ReadHandshake(r, MaxHandshake)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	return msg, nil
}
