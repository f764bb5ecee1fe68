package wire

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Status is the acceptor's answer to a name (send_status), and the dialer's
// answer to StatusAlive.
type Status struct {
	Code StatusCode
	// Name and Creation are given with StatusNamed only.
	Name     string
	Creation uint32
}

// StatusCode is the word of a Status.
type StatusCode string

// What a status can say (erl_dist_protocol, "send_status").
const (
	StatusOK             StatusCode = "ok"              // go on
	StatusSimultaneous   StatusCode = "ok_simultaneous" // go on, the acceptor gives up its own dial
	StatusNOK            StatusCode = "nok"             // the acceptor's own dial goes on instead
	StatusNotAllowed     StatusCode = "not_allowed"     // the name is not welcome
	StatusAlive          StatusCode = "alive"           // a link to this name exists: replace it?
	StatusTrue           StatusCode = "true"            // answer to alive: replace it
	StatusFalse          StatusCode = "false"           // answer to alive: leave it
	StatusNamed          StatusCode = "named:"          // go on under the name given here
	statusNamedFixedSize            = 2 + 4             // Nlen:16 and Creation:32 around the name
)

// Error makes a refusing status usable as an error.
func (c StatusCode) Error() string {
	switch c {
	case StatusNOK:
		return "peer is dialing us at this moment (status nok), its own attempt goes on"
	case StatusNotAllowed:
		return "peer does not allow this node name (status not_allowed)"
	case StatusAlive:
		return "peer still holds an older link to this node name (status alive)"
	}
	return fmt.Sprintf("peer answered status %s", string(c))
}

// Proceeds reports whether the handshake goes on after this status.
func (c StatusCode) Proceeds() bool {
	return c == StatusOK || c == StatusSimultaneous || c == StatusNamed
}

// AppendStatus appends send_status: 's' and the word, with StatusNamed also
// Nlen:16 Name Creation:32.
func AppendStatus(dst []byte, s Status) []byte {
	dst = append(append(dst, tagStatus), s.Code...)
	if s.Code != StatusNamed {
		return dst
	}
	return binary.BigEndian.AppendUint32(appendText(dst, s.Name), s.Creation)
}

// ParseStatus reads any status; an unknown word is an error.
func ParseStatus(msg []byte) (Status, error) {
	if err := wantTag(msg, tagStatus, "status"); err != nil {
		return Status{}, err
	}
	word := string(msg[1:])
	if strings.HasPrefix(word, string(StatusNamed)) {
		return parseNamed(msg[1+len(StatusNamed):])
	}
	code := StatusCode(word)
	switch code {
	case StatusOK, StatusSimultaneous, StatusNOK, StatusNotAllowed, StatusAlive, StatusTrue, StatusFalse:
		return Status{Code: code}, nil
	}
	return Status{}, fmt.Errorf("parse status: %q is no known status", word[:min(len(word), 32)])
}

func parseNamed(b []byte) (Status, error) {
	if len(b) < statusNamedFixedSize {
		return Status{}, short("status named", b)
	}
	name, err := nodeName("status named", b[:len(b)-4])
	if err != nil {
		return Status{}, err
	}
	end := 2 + len(name)
	return Status{Code: StatusNamed, Name: name, Creation: binary.BigEndian.Uint32(b[end:])}, nil
}
