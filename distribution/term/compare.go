package term

import (
	"bytes"
	"cmp"
	"math"
	"math/big"
	"slices"
)

// Compare orders terms as Erlang does: number < atom < reference < fun < port
// < pid < tuple < map < list < bitstring. Numbers of different type compare by
// value (1 and 1.0 give 0); use Equal for sameness. Values that are no Erlang
// terms come last.
func Compare(a, b Term) int { return order(arranged(a), arranged(b), false) }

// arranged is t with every map's pairs in the order of their keys. Doing it
// once, from the inside, keeps maps in keys of maps from being sorted again at
// every comparison.
func arranged(t Term) Term {
	switch t := t.(type) {
	case Tuple:
		return Tuple(arrangedAll(t))
	case List:
		t = t.joined()
		t.Elems = arrangedAll(t.Elems)
		if t.Tail != nil {
			t.Tail = arranged(t.Tail)
		}
		return t
	case Map:
		m := make(Map, len(t))
		for i, p := range t {
			m[i] = Pair{arranged(p.Key), arranged(p.Value)}
		}
		slices.SortStableFunc(m, func(a, b Pair) int { return order(a.Key, b.Key, true) })
		return m
	}
	return t
}

func arrangedAll(terms []Term) []Term {
	all := make([]Term, len(terms))
	for i, t := range terms {
		all[i] = arranged(t)
	}
	return all
}

// order compares arranged terms; exact tells an integer from a float of the same value, the
// integer first, as the keys of maps are ordered.
func order(a, b Term, exact bool) int {
	ra, rb := rank(a), rank(b)
	if ra != rb {
		return cmp.Compare(ra, rb)
	}
	if ra == foreign {
		return 0
	}
	switch a := a.(type) {
	case Atom:
		return cmp.Compare(a, b.(Atom)) // UTF-8 sorts as its code points do
	case Tuple:
		b := b.(Tuple)
		if c := cmp.Compare(len(a), len(b)); c != 0 {
			return c
		}
		return orderTerms(a, b, exact)
	case List:
		return orderLists(a, b.(List), exact)
	case Map:
		return orderMaps(a, b.(Map), exact)
	case Binary, BitString:
		return orderBits(a, b)
	case Fun:
		return bytes.Compare(a.Encoded, b.(Fun).Encoded)
	case Pid, Ref, Port:
		return orderIdents(a, b)
	}
	return orderNumbers(a, b, exact)
}

// foreign is the rank of a Go value that is no Erlang term.
const foreign = 11

// rank is a type's place in Erlang's order of terms.
func rank(t Term) int {
	switch t := t.(type) {
	case Int, *big.Int, Float:
		return 0
	case Atom:
		return 1
	case Ref:
		return 2
	case Fun:
		return 3
	case Port:
		return 4
	case Pid:
		return 5
	case Tuple:
		return 6
	case Map:
		return 7
	case List:
		if t.Tail == nil && len(t.Elems) == 0 {
			return 8
		}
		return 9
	case Binary, BitString:
		return 10
	}
	return foreign
}

func orderTerms(a, b []Term, exact bool) int {
	for i := range min(len(a), len(b)) {
		if c := order(a[i], b[i], exact); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// orderLists compares joined lists cell by cell: where one ends, its tail
// stands against the other's rest.
func orderLists(a, b List, exact bool) int {
	n := min(len(a.Elems), len(b.Elems))
	if c := orderTerms(a.Elems[:n], b.Elems[:n], exact); c != 0 {
		return c
	}
	if len(a.Elems) == len(b.Elems) {
		if a.Tail == nil && b.Tail == nil {
			return 0
		}
		return order(tail(a), tail(b), exact)
	}
	if len(a.Elems) > n {
		return order(List{Elems: a.Elems[n:], Tail: a.Tail}, tail(b), exact)
	}
	return order(tail(a), List{Elems: b.Elems[n:], Tail: b.Tail}, exact)
}

func tail(l List) Term {
	if l.Tail == nil {
		return List{}
	}
	return l.Tail
}

// orderMaps compares sizes, then the keys, then the values in the order of their
// keys.
func orderMaps(a, b Map, exact bool) int {
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	for i := range a {
		if c := order(a[i].Key, b[i].Key, true); c != 0 {
			return c
		}
	}
	for i := range a {
		if c := order(a[i].Value, b[i].Value, exact); c != 0 {
			return c
		}
	}
	return 0
}

func orderBits(a, b Term) int {
	bytesA, bitsA := bitsOf(a)
	bytesB, bitsB := bitsOf(b)
	if c := bytes.Compare(bytesA, bytesB); c != 0 {
		return c
	}
	return cmp.Compare(bitsA, bitsB)
}

// bitsOf gives a bitstring's bytes and the used bits of the last.
func bitsOf(t Term) ([]byte, uint8) {
	if b, ok := t.(BitString); ok {
		return b.Bytes, b.Bits
	}
	b, _ := t.(Binary)
	return b, 8
}

// orderIdents orders two of one type: fields from the most significant on.
func orderIdents(a, b Term) int {
	switch a := a.(type) {
	case Pid:
		b := b.(Pid)
		return cmp.Or(cmp.Compare(a.Serial, b.Serial), cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.Node, b.Node), cmp.Compare(a.Creation, b.Creation))
	case Port:
		b := b.(Port)
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Creation, b.Creation))
	case Ref:
		b := b.(Ref)
		for i := len(a.Words) - 1; i >= 0; i-- {
			if c := cmp.Compare(a.Words[i], b.Words[i]); c != 0 {
				return c
			}
		}
		return cmp.Or(cmp.Compare(a.Len, b.Len), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Creation, b.Creation))
	}
	return 0
}

func orderNumbers(a, b Term, exact bool) int {
	fa, floatA := a.(Float)
	fb, floatB := b.(Float)
	if floatA && floatB {
		return orderFloats(float64(fa), float64(fb), exact)
	}
	if floatA != floatB && exact {
		if floatB {
			return -1
		}
		return 1
	}
	if floatA || floatB {
		return exactFloat(a).Cmp(exactFloat(b))
	}
	ia, okA := a.(Int)
	ib, okB := b.(Int)
	if okA && okB {
		return cmp.Compare(ia, ib)
	}
	return bigOf(a).Cmp(bigOf(b))
}

func orderFloats(a, b float64, exact bool) int {
	if c := cmp.Compare(a, b); c != 0 || !exact {
		return c
	}
	switch {
	case math.Signbit(a) == math.Signbit(b):
		return 0
	case math.Signbit(a):
		return -1
	}
	return 1
}

// bigOf is an integer at any size; 0 for what is none.
func bigOf(t Term) *big.Int {
	switch t := t.(type) {
	case Int:
		return big.NewInt(int64(t))
	case *big.Int:
		if t != nil {
			return t
		}
	}
	return new(big.Int)
}

// exactFloat is a number without rounding.
func exactFloat(t Term) *big.Float {
	if f, ok := t.(Float); ok && !math.IsNaN(float64(f)) {
		return big.NewFloat(float64(f))
	}
	n := bigOf(t)
	return new(big.Float).SetPrec(uint(max(64, n.BitLen()))).SetInt(n)
}
