// Package epmd answers and asks the Erlang port mapper: a client of the stock
// daemon, and View, the small port mapper that one guest sees.
//
// Source: erl_dist_protocol, "EPMD Protocol". Requests are two bytes of
// big-endian length and then the request; answers carry no length.
package epmd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Port is where the stock daemon listens when nothing else is configured.
const Port = 4369

// NodeType says whether a node is one of nodes() for others.
type NodeType uint8

// The two kinds of nodes.
const (
	Normal NodeType = 77
	Hidden NodeType = 72 // also C nodes
)

// Errors that callers tell apart.
var (
	ErrNotRunning = errors.New("no port mapper listens there; start one with epmd -daemon")
	ErrNameTaken  = errors.New("name is held by another node")
	ErrNotFound   = errors.New("no node of that name is registered")
)

// Registration is what a node tells the port mapper about itself.
type Registration struct {
	Name      string   // without the host part
	Port      uint16   // where it accepts distribution
	Type      NodeType // 0 means Normal when registering
	High, Low uint16   // handshake versions; 0 means 6 and 5, as OTP 25 says
	Extra     []byte   // up to 1024 bytes; real nodes send none
}

// Info is the answer to a lookup.
type Info = Registration

// Entry is one line of the list of names.
type Entry struct {
	Name string
	Port uint16
}

const (
	maxName    = 255 * 4 // 255 characters of UTF-8
	maxExtra   = 1024
	maxRequest = 13 + maxName + maxExtra
	// maxAnswer bounds the list of names, in bytes.
	maxAnswer = 1 << 20
)

// The request and answer codes.
const (
	codeAlive      = 120
	codeAliveResp  = 121 // answer with a creation of 16 bits
	codeAliveXResp = 118 // and of 32 bits, for handshake 6 and later
	codePort       = 122
	codePortResp   = 119
	codeNames      = 110
)

// withDefaults fills in what zero values stand for.
func (r Registration) withDefaults() Registration {
	if r.Type == 0 {
		r.Type = Normal
	}
	if r.High == 0 {
		r.High, r.Low = 6, 5
	}
	return r
}

// check says why a registration cannot be.
func (r Registration) check() error {
	if err := checkName(r.Name); err != nil {
		return err
	}
	if r.Port == 0 {
		return fmt.Errorf("node %s: port 0 cannot be dialed", r.Name)
	}
	if len(r.Extra) > maxExtra {
		return fmt.Errorf("node %s: extra data of %d bytes is over the limit of %d", r.Name, len(r.Extra), maxExtra)
	}
	return nil
}

// checkName says what is wrong with a node's name without host.
func checkName(name string) error {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7F || r == '@' }
	switch {
	case name == "":
		return errors.New("node name is empty")
	case len(name) > maxName:
		return fmt.Errorf("node name of %d bytes is over the limit of %d", len(name), maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, bad):
		return fmt.Errorf("node name %q holds a space, an @ or bytes that are not printable UTF-8", name)
	}
	return nil
}

// appendNode appends what ALIVE2_REQ and PORT2_RESP share: PortNo:16
// NodeType:8 Protocol:8 High:16 Low:16 Nlen:16 Name Elen:16 Extra.
func appendNode(dst []byte, r Registration) []byte {
	dst = binary.BigEndian.AppendUint16(dst, r.Port)
	dst = append(dst, byte(r.Type), 0) // protocol 0: TCP over IPv4
	dst = binary.BigEndian.AppendUint16(dst, r.High)
	dst = binary.BigEndian.AppendUint16(dst, r.Low)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Name)))
	dst = append(dst, r.Name...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Extra)))
	return append(dst, r.Extra...)
}

// parseNode reads what appendNode writes and checks it. Bytes behind it are
// ignored as epmd does: ergo sends one.
func parseNode(b []byte) (Registration, error) {
	if len(b) < 10 {
		return Registration{}, fmt.Errorf("node of %d bytes is too short", len(b))
	}
	r := Registration{
		Port: binary.BigEndian.Uint16(b),
		Type: NodeType(b[2]),
		High: binary.BigEndian.Uint16(b[4:]),
		Low:  binary.BigEndian.Uint16(b[6:]),
	}
	name, rest, ok := cutText(b[8:])
	if !ok {
		return Registration{}, errors.New("node name does not fit in its message")
	}
	extra, _, ok := cutText(rest)
	if !ok {
		return Registration{}, errors.New("extra data does not fit in its message")
	}
	r.Name, r.Extra = string(name), extra
	return r, r.check()
}

// cutText reads Len:16 and that many bytes.
func cutText(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 {
		return nil, nil, false
	}
	return b[2 : 2+n], b[2+n:], true
}
