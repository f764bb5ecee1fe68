package wire

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Identity is how a node presents itself: "name@host", what it can do, and
// the number that tells its incarnations apart.
type Identity struct {
	Name     string
	Flags    Flags
	Creation uint32
}

// Challenge is the acceptor's identity with the number it wants digested.
type Challenge struct {
	Identity
	Number uint32
}

// Reply is the dialer's answer: its own number and the digest of the other's.
type Reply struct {
	Number uint32
	Digest Sum
}

// Sum is the digest of a cookie and a challenge.
type Sum [md5.Size]byte

// Cookie is the secret that two nodes share. It is revealed only to be
// digested; app.Secret is one.
type Cookie interface{ Reveal() string }

// ErrOldHandshake is wrapped when a peer speaks version 5 of the handshake.
var ErrOldHandshake = errors.New("handshake version 5 is not spoken, the node must run OTP 25 or later")

// The first byte of each handshake message.
const (
	tagName       = 'N' // send_name and send_challenge of version 6
	tagOldName    = 'n' // the same of version 5
	tagStatus     = 's'
	tagReply      = 'r'
	tagAck        = 'a'
	tagComplement = 'c' // second half of a version 5 name
)

// Digest is MD5 over the cookie and the challenge in decimal
// (erl_dist_protocol, "gen_digest").
func Digest(cookie Cookie, challenge uint32) Sum {
	return md5.Sum(strconv.AppendUint([]byte(cookie.Reveal()), uint64(challenge), 10))
}

// Equal compares two digests in constant time.
func (s Sum) Equal(other Sum) bool { return subtle.ConstantTimeCompare(s[:], other[:]) == 1 }

// AppendName appends send_name: 'N' Flags:64 Creation:32 Nlen:16 Name.
func AppendName(dst []byte, id Identity) []byte {
	dst = append(dst, tagName)
	dst = binary.BigEndian.AppendUint64(dst, uint64(id.Flags))
	dst = binary.BigEndian.AppendUint32(dst, id.Creation)
	return appendText(dst, id.Name)
}

// ParseName reads send_name of version 6. Bytes after the name are ignored,
// as the protocol asks. Version 5 is ErrOldHandshake.
func ParseName(msg []byte) (Identity, error) {
	if err := wantTag(msg, tagName, "name"); err != nil {
		return Identity{}, err
	}
	if len(msg) < 15 {
		return Identity{}, short("name", msg)
	}
	id := Identity{
		Flags:    Flags(binary.BigEndian.Uint64(msg[1:])),
		Creation: binary.BigEndian.Uint32(msg[9:]),
	}
	name, err := nodeName("name", msg[13:])
	if err != nil {
		return Identity{}, err
	}
	id.Name = name
	return id, nil
}

// AppendChallenge appends send_challenge:
// 'N' Flags:64 Challenge:32 Creation:32 Nlen:16 Name.
func AppendChallenge(dst []byte, c Challenge) []byte {
	dst = append(dst, tagName)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.Flags))
	dst = binary.BigEndian.AppendUint32(dst, c.Number)
	dst = binary.BigEndian.AppendUint32(dst, c.Creation)
	return appendText(dst, c.Name)
}

// ParseChallenge reads send_challenge of version 6.
func ParseChallenge(msg []byte) (Challenge, error) {
	if err := wantTag(msg, tagName, "challenge"); err != nil {
		return Challenge{}, err
	}
	if len(msg) < 19 {
		return Challenge{}, short("challenge", msg)
	}
	name, err := nodeName("challenge", msg[17:])
	if err != nil {
		return Challenge{}, err
	}
	return Challenge{
		Identity: Identity{
			Name:     name,
			Flags:    Flags(binary.BigEndian.Uint64(msg[1:])),
			Creation: binary.BigEndian.Uint32(msg[13:]),
		},
		Number: binary.BigEndian.Uint32(msg[9:]),
	}, nil
}

// AppendReply appends send_challenge_reply: 'r' Challenge:32 Digest.
func AppendReply(dst []byte, r Reply) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, tagReply), r.Number)
	return append(dst, r.Digest[:]...)
}

// ParseReply reads send_challenge_reply.
func ParseReply(msg []byte) (Reply, error) {
	if err := wantTag(msg, tagReply, "challenge reply"); err != nil {
		return Reply{}, err
	}
	if len(msg) != 5+md5.Size {
		return Reply{}, short("challenge reply", msg)
	}
	return Reply{Number: binary.BigEndian.Uint32(msg[1:]), Digest: Sum(msg[5:])}, nil
}

// AppendAck appends send_challenge_ack: 'a' Digest.
func AppendAck(dst []byte, digest Sum) []byte { return append(append(dst, tagAck), digest[:]...) }

// ParseAck reads send_challenge_ack.
func ParseAck(msg []byte) (Sum, error) {
	if err := wantTag(msg, tagAck, "challenge ack"); err != nil {
		return Sum{}, err
	}
	if len(msg) != 1+md5.Size {
		return Sum{}, short("challenge ack", msg)
	}
	return Sum(msg[1:]), nil
}

// nodeName reads Nlen:16 Name and checks that it looks like "name@host".
func nodeName(what string, b []byte) (string, error) {
	n := int(binary.BigEndian.Uint16(b))
	if n > MaxName || n > len(b)-2 {
		return "", fmt.Errorf("parse %s: node name of %d bytes does not fit in its message", what, n)
	}
	name := string(b[2 : 2+n])
	if err := CheckNodeName(name); err != nil {
		return "", fmt.Errorf("parse %s: %w", what, err)
	}
	return name, nil
}

// CheckNodeName says what is wrong with a full node name, "name@host": both
// parts must be there, in valid UTF-8 without control characters.
func CheckNodeName(name string) error {
	left, host, ok := strings.Cut(name, "@")
	if !ok || left == "" || host == "" || strings.Contains(host, "@") {
		return fmt.Errorf("node name %q is not of the form name@host", name)
	}
	control := func(r rune) bool { return r < ' ' || r == 0x7F }
	if !utf8.ValidString(name) || strings.ContainsFunc(name, control) {
		return fmt.Errorf("node name %q holds bytes that are not printable UTF-8", name)
	}
	return nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

func wantTag(msg []byte, tag byte, what string) error {
	switch {
	case len(msg) == 0:
		return fmt.Errorf("parse %s: message is empty", what)
	case msg[0] == tag:
		return nil
	case tag == tagName && (msg[0] == tagOldName || msg[0] == tagComplement):
		return fmt.Errorf("parse %s: %w", what, ErrOldHandshake)
	}
	return fmt.Errorf("parse %s: message begins with byte %#02x instead of %q", what, msg[0], tag)
}

func short(what string, msg []byte) error {
	return fmt.Errorf("parse %s: message of %d bytes has the wrong size", what, len(msg))
}
