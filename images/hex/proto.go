package hex

import (
	"encoding/binary"
	"fmt"
)

// Wire types of protocol buffers (protobuf.dev, encoding).
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// maxField is the largest field number that protocol buffers allow.
const maxField = 1<<29 - 1

// A field is one of a message: value holds varints, bytes the rest.
type field struct {
	number int
	wire   int
	value  uint64
	bytes  []byte
}

// eachField calls do for every field of message b in their order, known or
// not. Groups are refused: nothing here ever had them.
func eachField(b []byte, do func(field) error) error {
	for len(b) > 0 {
		f, rest, err := readField(b)
		if err != nil {
			return err
		}
		if err := do(f); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

func readField(b []byte) (f field, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	f = field{number: int(min(tag>>3, maxField+1)), wire: int(tag & 7)}
	if n <= 0 || f.number == 0 || f.number > maxField {
		return f, nil, fmt.Errorf("%w: a field without a proper tag", ErrMalformed)
	}
	b = b[n:]
	size := uint64(0)
	switch f.wire {
	case wireVarint, wireBytes:
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return f, nil, fmt.Errorf("%w: field %d ends in its number", ErrMalformed, f.number)
		}
		b = b[n:]
		if f.wire == wireVarint {
			f.value = v
			return f, b, nil
		}
		size = v
	case wireFixed64:
		size = 8
	case wireFixed32:
		size = 4
	default:
		return f, nil, fmt.Errorf("%w: field %d has wire type %d", ErrMalformed, f.number, f.wire)
	}
	if size > uint64(len(b)) {
		return f, nil, fmt.Errorf("%w: field %d of %d bytes is cut off", ErrMalformed, f.number, size)
	}
	f.bytes = b[:size:size]
	return f, b[size:], nil
}

// data is the field's bytes, which must have been sent as such.
func (f field) data() ([]byte, error) {
	if f.wire != wireBytes {
		return nil, fmt.Errorf("%w: field %d has wire type %d instead of bytes", ErrMalformed, f.number, f.wire)
	}
	return f.bytes, nil
}

// text puts the field's bytes into s.
func (f field) text(s *string) error {
	b, err := f.data()
	*s = string(b)
	return err
}

// int is the field's number, which must have been sent as a varint.
func (f field) int() (uint64, error) {
	if f.wire != wireVarint {
		return 0, fmt.Errorf("%w: field %d has wire type %d instead of a number", ErrMalformed, f.number, f.wire)
	}
	return f.value, nil
}
