// Package wire is the Erlang distribution protocol as bytes: the handshake of
// version 6 in both roles, frames, and the control messages inside them.
//
// The package is pure: it reads and writes only what its caller hands it,
// takes challenges and secrets as arguments, and keeps no clock. Sources: the
// "Distribution Protocol" chapter of OTP's ERTS guides (erl_dist_protocol) and
// kernel's dist.hrl. Nothing announced by a peer is allocated before it came.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxHandshake bounds one handshake message, in bytes: a node name holds
	// at most 255 characters, so every honest message is far smaller.
	MaxHandshake = 2048
	// MaxName bounds a node name, in bytes: 255 characters of UTF-8.
	MaxName = 255 * 4
	// DefaultMaxFrame bounds one frame where the caller names no other size.
	DefaultMaxFrame = 64 << 20
	// firstRead is how much of an announced size is reserved before it comes.
	firstRead = 64 << 10
)

// ErrTooLarge is wrapped by the error about an announced size over the limit.
var ErrTooLarge = errors.New("over the limit")

// Wide is a connection whose handshake messages stand behind four bytes of
// length instead of two: over TLS a BEAM knows one framing alone.
type Wide interface{ WideHandshake() }

// ReadHandshake reads one handshake message: two bytes of big-endian length,
// four if r is Wide, then the message. Limit is its largest size in bytes; 0 means MaxHandshake.
func ReadHandshake(r io.Reader, limit int) ([]byte, error) {
	if limit <= 0 {
		limit = MaxHandshake
	}
	var length [4]byte
	head := length[2:]
	if _, wide := r.(Wide); wide {
		head = length[:]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	n := uint64(binary.BigEndian.Uint32(length[:]))
	if n > uint64(limit) {
		return nil, fmt.Errorf("read handshake: message of %d bytes is %w of %d", n, ErrTooLarge, limit)
	}
	if n == 0 {
		return nil, errors.New("read handshake: message is empty")
	}
	msg := make([]byte, n)
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, noEOF(err)
	}
	return msg, nil
}

// WriteHandshake writes one handshake message behind its two-byte length, four
// bytes if w is Wide, in one Write.
func WriteHandshake(w io.Writer, msg []byte) error {
	if len(msg) > 0xFFFF {
		return fmt.Errorf("write handshake: message of %d bytes is %w of %d", len(msg), ErrTooLarge, 0xFFFF)
	}
	head := binary.BigEndian.AppendUint16(nil, uint16(len(msg)))
	if _, wide := w.(Wide); wide {
		head = append([]byte{0, 0}, head...)
	}
	_, err := w.Write(append(head, msg...))
	return err
}

// ReadFrame reads one frame of an established link: four bytes of big-endian
// length, then that many bytes. An empty frame is a tick. The result reuses
// buf's memory when that is large enough, else it grows as bytes come: an
// announced length reserves at most 64 KiB by itself. Limit is the largest
// frame in bytes; 0 means DefaultMaxFrame.
func ReadFrame(r io.Reader, buf []byte, limit int) ([]byte, error) {
	if limit <= 0 {
		limit = DefaultMaxFrame
	}
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := uint64(binary.BigEndian.Uint32(head[:]))
	if size > uint64(limit) {
		return nil, fmt.Errorf("read frame: frame of %d bytes is %w of %d", size, ErrTooLarge, limit)
	}
	return readGrowing(r, buf[:0], int(size))
}

// readGrowing reads n bytes into buf, doubling its room only once it is full.
func readGrowing(r io.Reader, buf []byte, n int) ([]byte, error) {
	for len(buf) < n {
		if len(buf) == cap(buf) {
			room := min(n, max(2*cap(buf), firstRead))
			buf = append(make([]byte, 0, room), buf...)
		}
		next := buf[len(buf):min(n, cap(buf))]
		if _, err := io.ReadFull(r, next); err != nil {
			return nil, noEOF(err)
		}
		buf = buf[:len(buf)+len(next)]
	}
	return buf, nil
}

// WriteFrame writes frame behind its four-byte length; an empty frame is a
// tick. A small frame is one Write, a large one is two, so callers that share
// w must take turns.
func WriteFrame(w io.Writer, frame []byte) error {
	if uint64(len(frame)) > 0xFFFFFFFF {
		return fmt.Errorf("write frame: frame of %d bytes is %w of %d", len(frame), ErrTooLarge, uint32(0xFFFFFFFF))
	}
	first := min(len(frame), firstRead)
	head := binary.BigEndian.AppendUint32(make([]byte, 0, 4+first), uint32(len(frame)))
	if _, err := w.Write(append(head, frame[:first]...)); err != nil {
		return err
	}
	if first == len(frame) {
		return nil
	}
	_, err := w.Write(frame[first:])
	return err
}

// noEOF turns an end in the middle of a message into ErrUnexpectedEOF, so that
// a plain io.EOF always means "closed between two messages".
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
