package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFramesRoundTrip(t *testing.T) {
	var link bytes.Buffer
	sizes := []int{0, 1, 4096, firstRead, firstRead + 1, 3*firstRead + 7}
	for _, n := range sizes {
		if err := WriteFrame(&link, bytes.Repeat([]byte{7}, n)); err != nil {
			t.Fatal(err)
		}
	}
	var buf []byte
	for _, n := range sizes {
		frame, err := ReadFrame(iotest.HalfReader(&link), buf, 0)
		if err != nil || len(frame) != n || bytes.Count(frame, []byte{7}) != n {
			t.Errorf("frame of %d bytes is read as %d, %v", n, len(frame), err)
		}
		buf = frame
	}
	if _, err := ReadFrame(&link, nil, 0); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
}

func TestReadFrameReservesWhatComes(t *testing.T) {
	head := binary.BigEndian.AppendUint32(nil, 60<<20)
	allocs := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			_, err := ReadFrame(io.MultiReader(bytes.NewReader(head), strings.NewReader("few")), nil, 0)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatal(err)
			}
		}
	})
	if n := allocs.AllocedBytesPerOp(); n > 2*firstRead {
		t.Errorf("an announced frame reserved %d bytes", n)
	}
}

func TestReadRefuses(t *testing.T) {
	if _, err := ReadFrame(bytes.NewReader([]byte{0, 0, 1, 0}), nil, 255); !errors.Is(err, ErrTooLarge) {
		t.Errorf("frame: %v, want ErrTooLarge", err)
	}
	if _, err := ReadHandshake(bytes.NewReader([]byte{0x10, 0}), 0); !errors.Is(err, ErrTooLarge) {
		t.Errorf("handshake: %v, want ErrTooLarge", err)
	}
	if _, err := ReadHandshake(bytes.NewReader([]byte{0, 0}), 0); err == nil {
		t.Error("an empty handshake message was read")
	}
	if _, err := ReadHandshake(bytes.NewReader([]byte{0, 9, 1}), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut handshake: %v", err)
	}
	if err := WriteHandshake(io.Discard, make([]byte, 1<<16)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("write handshake: %v", err)
	}
}

func TestWriteFrameErrors(t *testing.T) {
	for _, size := range []int{1, 2 * firstRead} {
		if err := WriteFrame(&shortPipe{left: 1}, make([]byte, size)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("frame of %d bytes: %v", size, err)
		}
	}
	if err := WriteFrame(&shortPipe{left: 5 + firstRead}, make([]byte, 2*firstRead)); !errors.Is(err, io.ErrClosedPipe) {
		t.Error("a broken second write is not told")
	}
}

// shortPipe breaks after some bytes.
type shortPipe struct{ left int }

func (p *shortPipe) Write(b []byte) (int, error) {
	if len(b) > p.left {
		return 0, io.ErrClosedPipe
	}
	p.left -= len(b)
	return len(b), nil
}

// wide is a connection over TLS, as far as framing goes.
type wide struct{ bytes.Buffer }

func (*wide) WideHandshake() {}

func TestWideHandshake(t *testing.T) {
	var c wide
	if err := WriteHandshake(&c, []byte("sok")); err != nil || c.String() != "\x00\x00\x00\x03sok" {
		t.Errorf("wrote %q, %v", c.String(), err)
	}
	if msg, err := ReadHandshake(&c, 0); err != nil || string(msg) != "sok" {
		t.Errorf("read %q, %v", msg, err)
	}
	c.WriteString("\x01\x00\x00\x03sok")
	if _, err := ReadHandshake(&c, 0); !errors.Is(err, ErrTooLarge) {
		t.Errorf("16 MB announced: %v", err)
	}
}
