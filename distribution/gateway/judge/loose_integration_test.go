//go:build integration

package judge

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"beamsandbox/distribution/term"
)

// loose writes terms in any of the ways that the external format has for them,
// as a node that is no BEAM may. Sources: ERTS guide, "External Term Format".
type loose struct{ *rand.Rand }

// append writes t without a version byte.
func (l loose) append(b []byte, t term.Term) []byte {
	switch t := t.(type) {
	case term.Atom:
		return l.atom(b, string(t))
	case term.Int:
		return l.integer(b, int64(t))
	case term.Float:
		return binary.BigEndian.AppendUint64(append(b, 70), math.Float64bits(float64(t)))
	case term.Binary:
		return append(binary.BigEndian.AppendUint32(append(b, 109), uint32(len(t))), t...)
	case term.Tuple:
		return l.all(l.tuple(b, len(t)), t)
	case term.List:
		return l.list(b, t)
	case term.Map:
		b = binary.BigEndian.AppendUint32(append(b, 116), uint32(len(t)))
		for _, p := range t {
			b = l.append(l.append(b, p.Key), p.Value)
		}
		return b
	case term.Pid:
		b = l.atom(append(b, 88), string(t.Node))
		return l.words(b, t.ID, t.Serial, t.Creation)
	case term.Ref:
		b = l.atom(binary.BigEndian.AppendUint16(append(b, 90), uint16(t.Len)), string(t.Node))
		return l.words(l.words(b, t.Creation), t.Words[:t.Len]...)
	}
	panic("no way to write this term")
}

func (l loose) all(b []byte, all []term.Term) []byte {
	for _, t := range all {
		b = l.append(b, t)
	}
	return b
}

func (l loose) words(b []byte, all ...uint32) []byte {
	for _, w := range all {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

func (l loose) tuple(b []byte, n int) []byte {
	if l.IntN(2) == 0 {
		return append(b, 104, byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 105), uint32(n))
}

// atom has four tags; two of them are for Latin-1, which ASCII is part of.
func (l loose) atom(b []byte, s string) []byte {
	switch l.IntN(4) {
	case 0:
		return append(append(b, 119, byte(len(s))), s...)
	case 1:
		return append(binary.BigEndian.AppendUint16(append(b, 118), uint16(len(s))), s...)
	case 2:
		return append(append(b, 115, byte(len(s))), s...)
	}
	return append(binary.BigEndian.AppendUint16(append(b, 100), uint16(len(s))), s...)
}

// integer may be longer than it must be, as far as bytes go.
func (l loose) integer(b []byte, n int64) []byte {
	switch k := l.IntN(4); {
	case k == 0 && n >= 0 && n < 256:
		return append(b, 97, byte(n))
	case k <= 1 && n >= math.MinInt32 && n <= math.MaxInt32:
		return binary.BigEndian.AppendUint32(append(b, 98), uint32(int32(n)))
	case k == 2:
		b = binary.BigEndian.AppendUint32(append(b, 111), 8)
	default:
		b = append(b, 110, 8)
	}
	sign, magnitude := byte(0), uint64(n)
	if n < 0 {
		sign, magnitude = 1, -magnitude
	}
	return binary.LittleEndian.AppendUint64(append(b, sign), magnitude)
}

// list may be a STRING_EXT where it is one of characters.
func (l loose) list(b []byte, t term.List) []byte {
	if s, ok := term.Text(t); ok && t.Tail == nil && len(s) > 0 && l.IntN(2) == 0 {
		return append(binary.BigEndian.AppendUint16(append(b, 107), uint16(len(s))), s...)
	}
	if len(t.Elems) > 0 || t.Tail != nil {
		b = l.all(binary.BigEndian.AppendUint32(append(b, 108), uint32(len(t.Elems))), t.Elems)
	}
	if t.Tail != nil {
		return l.append(b, t.Tail)
	}
	return append(b, 106)
}

// anything is a term of at most depth levels, with identifiers of both nodes.
func (l loose) anything(depth int) term.Term {
	kinds := 12
	if depth == 0 {
		kinds = 8
	}
	switch l.IntN(kinds) {
	case 0:
		return term.Atom([]string{"ok", "", "a b", "true", "stats", "nil"}[l.IntN(6)])
	case 1:
		return term.Int(int64(l.Uint64()) >> l.IntN(64))
	case 2:
		return term.Float(l.NormFloat64())
	case 3:
		return term.Binary(make([]byte, l.IntN(9)))
	case 4:
		return term.String("abc"[:1+l.IntN(3)])
	case 5:
		return []term.Term{gpid(l.Uint32() >> 4), hpid(3), hpid(51)}[l.IntN(3)]
	case 6:
		return []term.Term{gref(l.Uint32() >> 14), href(1)}[l.IntN(2)]
	case 7:
		return term.List{}
	case 8:
		return append(term.Tuple{}, l.several(depth-1)...)
	case 9:
		return term.List{Elems: l.several(depth - 1)}
	case 10:
		return term.List{Elems: append(l.several(depth-1), atom("last")), Tail: term.Int(l.IntN(9))}
	}
	var m term.Map
	for range l.IntN(4) {
		m = append(m, term.Pair{Key: l.anything(depth - 1), Value: l.anything(depth - 1)})
	}
	if len(m) > 0 && l.IntN(8) == 0 { // in another way, very likely: no node takes it
		m = append(m, term.Pair{Key: m[0].Key, Value: term.Int(0)})
	}
	return m
}

func (l loose) several(depth int) (all []term.Term) {
	for range l.IntN(5) {
		all = append(all, l.anything(depth))
	}
	return all
}

// spoilt is b with a few bytes changed, some more often than not.
func (l loose) spoilt(b []byte) []byte {
	b = append([]byte{}, b...)
	for range l.IntN(3) {
		b[l.IntN(len(b))] = byte(l.IntN(256))
	}
	return b
}
