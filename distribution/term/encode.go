package term

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
)

// Encode writes t in the external format, version byte 131 first, as
// term_to_binary(T, [{minor_version, 2}]) does. Maps keep the order of their
// pairs. The errors are those of a value that is no Erlang term: a foreign Go
// type, nil, an atom over 255 characters, a float that is not finite.
func Encode(t Term) ([]byte, error) {
	return Append(nil, t)
}

// Append is Encode after dst. On error it returns dst as it was.
func Append(dst []byte, t Term) ([]byte, error) {
	b, err := AppendBare(append(dst, Version), t)
	if err != nil {
		return dst, err
	}
	return b, nil
}

// AppendBare is Append without the version byte, as inside another structure.
func AppendBare(dst []byte, t Term) ([]byte, error) {
	e := encoder{buf: dst}
	if err := e.term(t); err != nil {
		return dst, fmt.Errorf("encode term: %w", err)
	}
	return e.buf, nil
}

// Canonical is Encode with every map's pairs sorted by the bytes of their keys,
// so that equal terms give equal bytes. Digests are taken of it.
func Canonical(t Term) ([]byte, error) {
	e := encoder{buf: []byte{Version}, sort: true}
	if err := e.term(t); err != nil {
		return nil, fmt.Errorf("encode term: %w", err)
	}
	return e.buf, nil
}

type encoder struct {
	buf  []byte
	sort bool // pairs of maps by key
}

func (e *encoder) u32(tag byte, n uint32) {
	e.buf = binary.BigEndian.AppendUint32(append(e.buf, tag), n)
}

func (e *encoder) term(t Term) error {
	switch t := t.(type) {
	case Atom:
		return e.atom(t)
	case Int:
		e.int(t)
	case *big.Int:
		return e.big(t)
	case Float:
		return e.float(float64(t))
	case Binary:
		return e.binary(t)
	case BitString:
		return e.bits(t)
	case Tuple:
		return e.tuple(t)
	case List:
		return e.list(t)
	case Map:
		return e.mapping(t)
	case Pid, Port, Ref:
		return e.identifier(t)
	case Fun:
		return e.fun(t)
	default:
		return fmt.Errorf("%T is no Erlang term", t)
	}
	return nil
}

func (e *encoder) atom(a Atom) error {
	if err := checkAtom(string(a)); err != nil {
		return err
	}
	if len(a) <= 255 {
		e.buf = append(e.buf, tagSmallAtomUTF8, byte(len(a)))
	} else {
		e.buf = append(e.buf, tagAtomUTF8, byte(len(a)>>8), byte(len(a)))
	}
	e.buf = append(e.buf, a...)
	return nil
}

func (e *encoder) int(n Int) {
	switch {
	case n >= 0 && n <= 255:
		e.buf = append(e.buf, tagSmallInteger, byte(n))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		e.u32(tagInteger, uint32(int32(n)))
	default:
		_ = e.bigDigits(big.NewInt(int64(n))) // at most eight bytes
	}
}

func (e *encoder) big(n *big.Int) error {
	if n == nil {
		return errors.New("nil integer is no Erlang term")
	}
	if n.IsInt64() {
		e.int(Int(n.Int64()))
		return nil
	}
	return e.bigDigits(n)
}

func (e *encoder) bigDigits(n *big.Int) error {
	digits := n.Bytes()
	if len(digits) > maxIntBytes {
		return fmt.Errorf("integer of %d bytes, at most %d are written", len(digits), maxIntBytes)
	}
	slices.Reverse(digits)
	if len(digits) <= 255 {
		e.buf = append(e.buf, tagSmallBig, byte(len(digits)))
	} else {
		e.u32(tagLargeBig, uint32(len(digits)))
	}
	sign := byte(0)
	if n.Sign() < 0 {
		sign = 1
	}
	e.buf = append(append(e.buf, sign), digits...)
	return nil
}

func (e *encoder) float(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("float %v is no Erlang term", f)
	}
	e.buf = binary.BigEndian.AppendUint64(append(e.buf, tagNewFloat), math.Float64bits(f))
	return nil
}

// length checks one that is written in 32 bits.
func length(n int) (uint32, error) {
	if int64(n) > math.MaxUint32 {
		return 0, fmt.Errorf("length %d does not fit the format", n)
	}
	return uint32(n), nil
}

func (e *encoder) binary(b Binary) error {
	n, err := length(len(b))
	if err != nil {
		return err
	}
	e.u32(tagBinary, n)
	e.buf = append(e.buf, b...)
	return nil
}

func (e *encoder) bits(b BitString) error {
	if b.Bits < 1 || b.Bits > 7 || len(b.Bytes) == 0 {
		return fmt.Errorf("bitstring of %d bytes with %d bits in the last is no Erlang term", len(b.Bytes), b.Bits)
	}
	n, err := length(len(b.Bytes))
	if err != nil {
		return err
	}
	e.u32(tagBitBinary, n)
	e.buf = append(append(e.buf, b.Bits), b.Bytes...)
	e.buf[len(e.buf)-1] &= 0xff << (8 - b.Bits)
	return nil
}

func (e *encoder) tuple(t Tuple) error {
	n, err := length(len(t))
	if err != nil {
		return err
	}
	if n <= 255 {
		e.buf = append(e.buf, tagSmallTuple, byte(n))
	} else {
		e.u32(tagLargeTuple, n)
	}
	return e.terms(t)
}

func (e *encoder) terms(list []Term) error {
	for _, t := range list {
		if err := e.term(t); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) list(l List) error {
	l = l.joined()
	if l.Tail == nil && len(l.Elems) == 0 {
		e.buf = append(e.buf, tagNil)
		return nil
	}
	if len(l.Elems) == 0 {
		return errors.New("list of no elements with a tail is no Erlang term")
	}
	if e.characters(l) {
		return nil
	}
	n, err := length(len(l.Elems))
	if err != nil {
		return err
	}
	e.u32(tagList, n)
	if err := e.terms(l.Elems); err != nil {
		return err
	}
	if l.Tail == nil {
		e.buf = append(e.buf, tagNil)
		return nil
	}
	return e.term(l.Tail)
}

// characters writes l as STRING_EXT if it is a proper list of bytes.
func (e *encoder) characters(l List) bool {
	if l.Tail != nil || len(l.Elems) > math.MaxUint16 {
		return false
	}
	start := len(e.buf)
	e.buf = append(e.buf, tagString, byte(len(l.Elems)>>8), byte(len(l.Elems)))
	for _, t := range l.Elems {
		c, ok := t.(Int)
		if !ok || c < 0 || c > 255 {
			e.buf = e.buf[:start]
			return false
		}
		e.buf = append(e.buf, byte(c))
	}
	return true
}

func (e *encoder) mapping(m Map) error {
	n, err := length(len(m))
	if err != nil {
		return err
	}
	e.u32(tagMap, n)
	start := len(e.buf)
	spans := make([]span, 0, len(m))
	for _, p := range m {
		s := span{key: len(e.buf)}
		if err := e.term(p.Key); err != nil {
			return err
		}
		s.value = len(e.buf)
		if err := e.term(p.Value); err != nil {
			return err
		}
		s.end = len(e.buf)
		spans = append(spans, s)
	}
	if e.sort {
		e.arrange(start, spans)
	}
	return nil
}

// span is where one written pair lies.
type span struct{ key, value, end int }

// arrange puts the pairs written from start on in the order of their keys'
// bytes.
func (e *encoder) arrange(start int, spans []span) {
	byKey := func(a, b span) int {
		return bytes.Compare(e.buf[a.key:a.value], e.buf[b.key:b.value])
	}
	if slices.IsSortedFunc(spans, byKey) {
		return
	}
	slices.SortStableFunc(spans, byKey)
	pairs := make([]byte, 0, len(e.buf)-start)
	for _, s := range spans {
		pairs = append(pairs, e.buf[s.key:s.end]...)
	}
	copy(e.buf[start:], pairs)
}

// identifier writes a Pid, Port or Ref in the tags of OTP 23 and later.
func (e *encoder) identifier(t Term) error {
	switch t := t.(type) {
	case Pid:
		return e.ident(tagNewPid, t.Node, t.ID, t.Serial, t.Creation)
	case Port:
		if t.ID < 1<<28 {
			return e.ident(tagNewPort, t.Node, uint32(t.ID), t.Creation)
		}
		return e.ident(tagV4Port, t.Node, uint32(t.ID>>32), uint32(t.ID), t.Creation)
	case Ref:
		if t.Len < 1 || t.Len > 5 {
			return fmt.Errorf("reference of %d words is no Erlang term", t.Len)
		}
		e.buf = append(e.buf, tagNewerRef, 0, t.Len)
		return e.identBody(t.Node, append([]uint32{t.Creation}, t.Words[:t.Len]...)...)
	}
	return fmt.Errorf("%T is no identifier", t)
}

func (e *encoder) ident(tag byte, node Atom, words ...uint32) error {
	e.buf = append(e.buf, tag)
	return e.identBody(node, words...)
}

func (e *encoder) identBody(node Atom, words ...uint32) error {
	if err := e.atom(node); err != nil {
		return err
	}
	for _, w := range words {
		e.buf = binary.BigEndian.AppendUint32(e.buf, w)
	}
	return nil
}

func (e *encoder) fun(f Fun) error {
	if len(f.Encoded) == 0 || (f.Encoded[0] != tagNewFun && f.Encoded[0] != tagExport) {
		return errors.New("fun without its bytes is no Erlang term")
	}
	e.buf = append(e.buf, f.Encoded...)
	return nil
}
