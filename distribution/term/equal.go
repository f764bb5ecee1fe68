package term

import (
	"bytes"
	"math"
	"math/big"
	"slices"
)

// Equal says whether a and b are one term: Erlang's =:= as of OTP 27, where 0.0
// and -0.0 differ. The order of a Map's pairs does not matter. Values that are
// no Erlang terms equal nothing.
func Equal(a, b Term) bool {
	switch a := a.(type) {
	case Atom, Pid, Ref, Port:
		return rank(a) == rank(b) && a == b
	case Int, *big.Int:
		return equalInts(a, b)
	case Float:
		b, ok := b.(Float)
		return ok && math.Float64bits(float64(a)) == math.Float64bits(float64(b))
	case Binary, BitString:
		return rank(a) == rank(b) && orderBits(a, b) == 0
	case Tuple:
		b, ok := b.(Tuple)
		return ok && slices.EqualFunc(a, b, Equal)
	case List:
		b, ok := b.(List)
		return ok && equalLists(a.joined(), b.joined())
	case Map:
		b, ok := b.(Map)
		return ok && equalMaps(a, b)
	case Fun:
		b, ok := b.(Fun)
		return ok && bytes.Equal(a.Encoded, b.Encoded)
	}
	return false
}

func equalInts(a, b Term) bool {
	switch b.(type) {
	case Int, *big.Int:
		x, okX := a.(Int)
		y, okY := b.(Int)
		if okX && okY {
			return x == y
		}
		return bigOf(a).Cmp(bigOf(b)) == 0
	}
	return false
}

func equalLists(a, b List) bool {
	if (a.Tail == nil) != (b.Tail == nil) || !slices.EqualFunc(a.Elems, b.Elems, Equal) {
		return false
	}
	return a.Tail == nil || Equal(a.Tail, b.Tail)
}

// equalMaps walks maps of the same order side by side and looks keys up in the
// others.
func equalMaps(a, b Map) bool {
	if len(a) != len(b) {
		return false
	}
	if slices.EqualFunc(a, b, func(p, q Pair) bool { return Equal(p.Key, q.Key) }) {
		return slices.EqualFunc(a, b, func(p, q Pair) bool { return Equal(p.Value, q.Value) })
	}
	values := make(map[any]Term, len(b))
	for _, p := range b {
		values[identity(p.Key)] = p.Value
	}
	for _, p := range a {
		v, ok := values[identity(p.Key)]
		if !ok || !Equal(p.Value, v) {
			return false
		}
	}
	return true
}

// canonicalKey is told from every Term by its type.
type canonicalKey string

// identity is a value that Go compares as Equal compares t: t itself, or else
// its canonical bytes.
func identity(t Term) any {
	switch t := t.(type) {
	case Atom, Int, Pid, Ref, Port:
		return t
	}
	e := encoder{sort: true}
	if err := e.term(t); err != nil {
		return nil
	}
	return canonicalKey(e.buf)
}

// keySet finds keys that come twice in one map.
type keySet map[any]struct{}

func newKeySet(n int) keySet { return make(keySet, n) }

// add is false for a key that is there already.
func (s keySet) add(key Term) bool {
	id := identity(key)
	if _, twice := s[id]; twice {
		return false
	}
	s[id] = struct{}{}
	return true
}
