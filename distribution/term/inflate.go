package term

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// inflate reads a compressed term after its tag: the inflated size in 32 bits,
// then a zlib stream.
func (l Limits) inflate(b []byte) (Term, []byte, error) {
	if l.Inflated <= 0 {
		return nil, nil, errors.New("decode term: compressed terms are not accepted")
	}
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("decode term: %w", errShort)
	}
	size := int64(binary.BigEndian.Uint32(b))
	if size > int64(l.Inflated) {
		return nil, nil, fmt.Errorf("decode term: inflates to %d bytes, at most %d are accepted", size, l.Inflated)
	}
	deflated := bytes.NewReader(b[4:])
	plain, err := inflated(deflated, size)
	if err != nil {
		return nil, nil, fmt.Errorf("decode term: inflate: %w", err)
	}
	t, after, err := l.DecodeBare(plain)
	if err != nil {
		return nil, nil, err
	}
	if len(after) > 0 {
		return nil, nil, fmt.Errorf("decode term: %d bytes left over in a compressed term", len(after))
	}
	return t, b[len(b)-deflated.Len():], nil
}

// inflated reads exactly size bytes of a zlib stream to its end, growing as
// they come: the announced size reserves nothing.
func inflated(r *bytes.Reader, size int64) ([]byte, error) {
	z, err := zlib.NewReader(r)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(z, size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(plain)) != size {
		return nil, fmt.Errorf("stream does not hold the announced %d bytes", size)
	}
	return plain, z.Close()
}
