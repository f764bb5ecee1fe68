package main

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"
)

// What an OTP 25 node sends: a tick; {6, <0.9.0>, ”, rex} with the message ok;
// {36, 7, <0.9.0>, <0.9.0>} without one.
var (
	pid      = []byte("\x58w\x03a@b\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x01")
	regSend  = append(append([]byte("h\x04a\x06"), pid...), "w\x00w\x03rex"...)
	unlinked = append(append([]byte("h\x04a\x24a\x07"), pid...), pid...)
	message  = []byte("w\x02ok")
)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func passed() []byte {
	return join(withLength(nil), withLength([]byte{112, 131}, regSend, []byte{131}, message), withLength([]byte{112, 131}, unlinked))
}

func headed() []byte {
	return join(withLength(nil), withLength([]byte{131, 68, 0}, regSend, message), withLength([]byte{131, 68, 0}, unlinked))
}

// link is a connection that holds what was sent and what is to be read.
type link struct {
	io.Reader
	bytes.Buffer
}

func (l *link) Read(b []byte) (int, error)       { return l.Reader.Read(b) }
func (l *link) SetReadDeadline(time.Time) error  { return nil }
func (l *link) SetWriteDeadline(time.Time) error { return nil }

func TestRead(t *testing.T) {
	all := passed()
	for _, cut := range []int{0, 3, 4, 9, len(all)} {
		tr := &translator{ahead: bytes.Clone(all[:cut]), NetReadWriter: &link{Reader: iotest.OneByteReader(bytes.NewReader(all[cut:]))}}
		got, err := io.ReadAll(tr)
		if err != nil || !bytes.Equal(got, headed()) {
			t.Errorf("%d bytes ahead: read %q, %v, want %q", cut, got, err, headed())
		}
	}
}

func TestWrite(t *testing.T) {
	for _, piece := range []int{1, 5, 1000} {
		l := &link{Reader: bytes.NewReader(nil)}
		tr := &translator{NetReadWriter: l}
		for rest := headed(); len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			if _, err := tr.Write(rest[:min(piece, len(rest))]); err != nil {
				t.Fatal(err)
			}
		}
		if got := l.Bytes(); !bytes.Equal(got, passed()) {
			t.Errorf("in pieces of %d: sent %q, want %q", piece, got, passed())
		}
	}
}

func TestRefused(t *testing.T) {
	for name, frame := range map[string][]byte{
		"header":      withLength([]byte{131, 68, 0}, regSend),
		"no version":  withLength([]byte{112, 131}, regSend, message),
		"cut control": withLength([]byte{112, 131}, regSend[:9]),
		"too long":    {0xFF, 0, 0, 0},
	} {
		tr := &translator{NetReadWriter: &link{Reader: bytes.NewReader(frame)}}
		if _, err := io.ReadAll(tr); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v, want errFrame", name, err)
		}
	}
}
