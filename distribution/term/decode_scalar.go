package term

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"
)

func (d *decoder) integer(tag int) (Term, error) {
	switch tag {
	case tagSmallInteger:
		n, err := d.u8()
		return Int(n), err
	case tagInteger:
		n, err := d.u32()
		return Int(int32(n)), err
	}
	n, err := d.sized(tag == tagSmallBig)
	if err != nil {
		return nil, err
	}
	if n > maxIntBytes {
		return nil, fmt.Errorf("integer of %d bytes, at most %d are read", n, maxIntBytes)
	}
	b, err := d.take(n + 1) // the sign comes first
	if err != nil {
		return nil, err
	}
	return bigEndian(b[0] != 0, b[1:]), nil
}

// bigEndian makes the integer whose magnitude is little-endian.
func bigEndian(negative bool, little []byte) Term {
	magnitude := slices.Clone(little)
	slices.Reverse(magnitude)
	n := new(big.Int).SetBytes(magnitude)
	if negative {
		n.Neg(n)
	}
	return shrink(n)
}

// shrink gives the one form of an integer: Int where it fits.
func shrink(n *big.Int) Term {
	if n.IsInt64() {
		return Int(n.Int64())
	}
	return n
}

func (d *decoder) float(tag int) (Term, error) {
	var f float64
	if tag == tagNewFloat {
		b, err := d.take(8)
		if err != nil {
			return nil, err
		}
		f = math.Float64frombits(binary.BigEndian.Uint64(b))
	} else {
		b, err := d.take(31) // "%.20e", filled up with zero bytes
		if err != nil {
			return nil, err
		}
		text, _, _ := bytes.Cut(b, []byte{0})
		if f, err = strconv.ParseFloat(string(text), 64); err != nil {
			return nil, fmt.Errorf("float is not a number: %.31q", text)
		}
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errors.New("float is not a finite number")
	}
	return Float(f), nil
}

// atom reads the body of an atom whose tag was read.
func (d *decoder) atom(tag int) (Atom, error) {
	var n int
	var err error
	if tag == tagSmallAtom || tag == tagSmallAtomUTF8 {
		n, err = d.u8()
	} else {
		n, err = d.u16()
	}
	if err != nil {
		return "", err
	}
	b, err := d.take(n)
	if err != nil {
		return "", err
	}
	if tag == tagAtom || tag == tagSmallAtom {
		if n > maxAtomChars {
			return "", fmt.Errorf("atom of %d characters, at most %d are allowed", n, maxAtomChars)
		}
		return Atom(fromLatin1(b)), nil
	}
	return Atom(b), checkAtom(string(b))
}

func checkAtom(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("atom is not UTF-8")
	}
	if n := utf8.RuneCountInString(s); n > maxAtomChars {
		return fmt.Errorf("atom of %d characters, at most %d are allowed", n, maxAtomChars)
	}
	return nil
}

func fromLatin1(b []byte) string {
	s := make([]byte, 0, len(b))
	for _, c := range b {
		s = utf8.AppendRune(s, rune(c))
	}
	return string(s)
}

// binary reads the body of a BINARY_EXT or BIT_BINARY_EXT.
func (d *decoder) binary(tag int) (Term, error) {
	n, err := d.size()
	if err != nil {
		return nil, err
	}
	bits := 8
	if tag == tagBitBinary {
		if bits, err = d.u8(); err != nil {
			return nil, err
		}
		if bits > 8 || (bits == 0) != (n == 0) {
			return nil, fmt.Errorf("bitstring of %d bytes uses %d bits of the last", n, bits)
		}
	}
	read := d.bytes
	if d.shared && bits == 8 {
		read = d.take
	}
	b, err := read(n)
	if err != nil {
		return nil, err
	}
	if bits == 8 || n == 0 {
		return Binary(b), nil
	}
	if d.skipping == 0 {
		b[n-1] &= 0xff << (8 - bits)
	}
	return BitString{Bytes: b, Bits: uint8(bits)}, nil
}
