package wire

import (
	"fmt"
	"io"
)

// Acceptor is the side that was dialed, step by step:
// ReadName, SendStatus, [ReadStatus], SendChallenge, ReadReply, SendAck.
// Several handshakes may be interleaved; one Acceptor is for one goroutine.
type Acceptor struct {
	rw    io.ReadWriter
	own   uint32 // our number, whose digest the reply must hold
	asked uint32 // the peer's number, to be digested in the ack
}

// NewAcceptor begins a handshake over rw.
func NewAcceptor(rw io.ReadWriter) *Acceptor { return &Acceptor{rw: rw} }

// ReadName reads who dials. Nothing about it is proven yet.
func (a *Acceptor) ReadName() (Identity, error) {
	msg, err := readStep(a.rw, "name")
	if err != nil {
		return Identity{}, err
	}
	return ParseName(msg)
}

// SendStatus answers the name. After StatusAlive comes ReadStatus; after any
// other refusal the connection is done.
func (a *Acceptor) SendStatus(code StatusCode) error {
	return sendStep(a.rw, "status", AppendStatus(nil, Status{Code: code}))
}

// ReadStatus reads the dialer's answer to StatusAlive: whether its new
// connection replaces the older one.
func (a *Acceptor) ReadStatus() (replace bool, err error) {
	msg, err := readStep(a.rw, "status")
	if err != nil {
		return false, err
	}
	s, err := ParseStatus(msg)
	if err != nil {
		return false, err
	}
	if s.Code != StatusTrue && s.Code != StatusFalse {
		return false, fmt.Errorf("read status: answer to alive is %q instead of true or false", string(s.Code))
	}
	return s.Code == StatusTrue, nil
}

// SendChallenge presents the accepting node and the number to digest, which
// must be unpredictable.
func (a *Acceptor) SendChallenge(self Identity, number uint32) error {
	a.own = number
	return sendStep(a.rw, "challenge", AppendChallenge(nil, Challenge{Identity: self, Number: number}))
}

// ReadReply checks that the dialer knows the cookie; if not it is ErrCookie.
func (a *Acceptor) ReadReply(cookie Cookie) error {
	_, err := a.ReadReplyAny(cookie)
	return err
}

// ReadReplyAny checks that the dialer knows one of cookies and returns which;
// if not it is ErrCookie.
func (a *Acceptor) ReadReplyAny(cookies ...Cookie) (Cookie, error) {
	msg, err := readStep(a.rw, "challenge reply")
	if err != nil {
		return nil, err
	}
	r, err := ParseReply(msg)
	if err != nil {
		return nil, err
	}
	a.asked = r.Number
	for _, c := range cookies {
		if r.Digest.Equal(Digest(c, a.own)) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("check challenge reply: %w: the dialing node proved another cookie", ErrCookie)
}

// SendAck proves the cookie to the dialer; the link is then established.
func (a *Acceptor) SendAck(cookie Cookie) error {
	return sendStep(a.rw, "challenge ack", AppendAck(nil, Digest(cookie, a.asked)))
}

// Accept runs the whole handshake as the accepting node and returns who
// dialed. Admit judges the presented identity and answers the status to send;
// nil admits every name. Number is our unpredictable challenge.
func Accept(rw io.ReadWriter, self Identity, cookie Cookie, number uint32, admit func(Identity) StatusCode) (Identity, error) {
	a := NewAcceptor(rw)
	peer, err := a.ReadName()
	if err != nil {
		return Identity{}, err
	}
	if err := peer.Flags.Check(); err != nil {
		return Identity{}, fmt.Errorf("node %s: %w", peer.Name, err)
	}
	if err := a.settle(peer, admit); err != nil {
		return Identity{}, err
	}
	if err := a.SendChallenge(self, number); err != nil {
		return Identity{}, err
	}
	if err := a.ReadReply(cookie); err != nil {
		return Identity{}, err
	}
	return peer, a.SendAck(cookie)
}

// settle sends the status that admit decides and hears the answer to alive.
func (a *Acceptor) settle(peer Identity, admit func(Identity) StatusCode) error {
	code := StatusOK
	if admit != nil {
		code = admit(peer)
	}
	if err := a.SendStatus(code); err != nil {
		return err
	}
	if code == StatusAlive {
		replace, err := a.ReadStatus()
		if err == nil && !replace {
			err = fmt.Errorf("accept %s: the dialing node keeps its older link", peer.Name)
		}
		return err
	}
	if !code.Proceeds() {
		return fmt.Errorf("accept %s: refused with status %s", peer.Name, string(code))
	}
	return nil
}
