package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ergo-services/ergo/etf"
	"github.com/ergo-services/ergo/lib"
	"github.com/ergo-services/ergo/node"
)

// A message on an Erlang distribution link comes in one of two frames (erts,
// "Distribution Protocol"): behind a distribution header, as nodes do that
// have agreed on an atom cache, or passed through, as all others do. ergo
// knows the first one alone, whatever was agreed; the gateway, and a BEAM that
// was told that there is no atom cache, send and take the second one alone.
//
//	behind a header:  131 68 0  control      message
//	passed through:   112       131 control  131 message

const (
	// maxFrame bounds one frame, in bytes.
	maxFrame = 8 << 20

	passThrough = 112
	version     = 131
	header      = 68
)

var errFrame = errors.New("frame of a distribution link is not as expected")

// plainProto is ergo's protocol over links without an atom cache.
type plainProto struct{ node.ProtoInterface }

// Init has ergo speak through a translator.
func (p plainProto) Init(ctx context.Context, conn lib.NetReadWriter, name string, d node.HandshakeDetails) (node.ConnectionInterface, error) {
	// Bytes that came along with the handshake were read already.
	t := &translator{NetReadWriter: conn}
	if d.Buffer != nil {
		t.ahead = bytes.Clone(d.Buffer.B)
		d.Buffer = nil
	}
	return p.ProtoInterface.Init(ctx, t, name, d)
}

// translator turns passed through frames into those behind a header and back.
type translator struct {
	lib.NetReadWriter
	ahead []byte // of the peer, read before the link was ours
	in    []byte // translated, for ergo to read

	mu  sync.Mutex
	out []byte // of ergo, no whole frame yet
}

// Read hands out whole frames, piece by piece.
func (t *translator) Read(b []byte) (int, error) {
	if len(t.in) == 0 {
		frame, err := t.frame()
		if err != nil {
			return 0, err
		}
		if t.in, err = behindHeader(frame); err != nil {
			return 0, err
		}
	}
	n := copy(b, t.in)
	t.in = t.in[n:]
	return n, nil
}

// frame reads one frame of the peer, without its length.
func (t *translator) frame() ([]byte, error) {
	from := io.MultiReader(bytes.NewReader(t.ahead), t.NetReadWriter)
	var size [4]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return nil, fmt.Errorf("%w: it has %d bytes", errFrame, n)
	}
	frame := make([]byte, n)
	_, err := io.ReadFull(from, frame)
	t.ahead = t.ahead[min(len(t.ahead), 4+int(n)):]
	return frame, err
}

// Write takes ergo's bytes and sends every frame that is whole.
func (t *translator) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out = append(t.out, b...)
	for len(t.out) >= 4 {
		n := int(binary.BigEndian.Uint32(t.out))
		if len(t.out) < 4+n {
			break
		}
		frame, err := passedThrough(t.out[4 : 4+n])
		if err != nil {
			return 0, err
		}
		if _, err := t.NetReadWriter.Write(frame); err != nil {
			return 0, err
		}
		t.out = t.out[4+n:]
	}
	return len(b), nil
}

// behindHeader translates a frame of the peer; a tick is an empty one.
func behindHeader(frame []byte) ([]byte, error) {
	if len(frame) == 0 {
		return withLength(nil), nil
	}
	if len(frame) < 3 || frame[0] != passThrough || frame[1] != version {
		return nil, fmt.Errorf("%w: it begins with %v", errFrame, frame[:min(len(frame), 2)])
	}
	control, message, err := split(frame[2:])
	if err != nil {
		return nil, err
	}
	if len(message) > 0 && message[0] != version {
		return nil, fmt.Errorf("%w: its message begins with %d", errFrame, message[0])
	}
	return withLength([]byte{version, header, 0}, control, bytes.TrimPrefix(message, []byte{version})), nil
}

// passedThrough translates a frame of ergo's.
func passedThrough(frame []byte) ([]byte, error) {
	if len(frame) == 0 {
		return withLength(nil), nil
	}
	if len(frame) < 4 || !bytes.HasPrefix(frame, []byte{version, header, 0}) {
		return nil, fmt.Errorf("%w: ergo's begins with %v", errFrame, frame[:min(len(frame), 3)])
	}
	control, message, err := split(frame[3:])
	if err != nil {
		return nil, err
	}
	if len(message) == 0 {
		return withLength([]byte{passThrough, version}, control), nil
	}
	return withLength([]byte{passThrough, version}, control, []byte{version}, message), nil
}

// split parts the control message from what follows it.
func split(terms []byte) (control, message []byte, err error) {
	_, message, err = etf.Decode(terms, nil, etf.DecodeOptions{FlagBigPidRef: true})
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	return terms[:len(terms)-len(message)], message, nil
}

// withLength puts the length before the parts of a frame.
func withLength(parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}
