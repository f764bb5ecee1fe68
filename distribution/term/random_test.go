package term

import (
	"math"
	"math/big"
	"math/rand/v2"
)

// makeTerm is a random term of at most depth levels. textual leaves out what
// has no text that Parse reads.
func makeTerm(r *rand.Rand, depth int, textual bool) Term {
	kinds := 13
	if depth == 0 {
		kinds = 9
	}
	switch k := r.IntN(kinds); k {
	case 0:
		return Atom(makeText(r, 20))
	case 1:
		return Int(int64(r.Uint64()) >> r.IntN(64))
	case 2:
		n := new(big.Int).Lsh(big.NewInt(r.Int64()), uint(r.IntN(3000)))
		return shrink(n.Neg(n))
	case 3:
		return makeFloat(r)
	case 4:
		return makeBinary(r, r.IntN(20))
	case 5:
		return Binary(makeText(r, 20))
	case 6:
		return String(makeText(r, 20))
	case 7, 8:
		if textual {
			return Atom([]string{"maybe", "end", "else", "ok", "a@b"}[r.IntN(5)])
		}
		return makeOpaque(r)
	case 9:
		return append(Tuple{}, makeTerms(r, depth-1, textual)...)
	case 10:
		return List{Elems: makeTerms(r, depth-1, textual)}
	case 11:
		elems := append(makeTerms(r, depth-1, textual), Atom("last"))
		return List{Elems: elems, Tail: Int(r.IntN(9))}
	}
	m := Map{}
	seen := newKeySet(0)
	for _, k := range makeTerms(r, depth-1, textual) {
		if seen.add(k) {
			m = append(m, Pair{k, makeTerm(r, depth-1, textual)})
		}
	}
	return m
}

func makeTerms(r *rand.Rand, depth int, textual bool) []Term {
	var all []Term
	for range r.IntN(5) {
		all = append(all, makeTerm(r, depth, textual))
	}
	return all
}

func makeFloat(r *rand.Rand) Term {
	f := math.Float64frombits(r.Uint64())
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Float(r.Float64())
	}
	return Float(f)
}

func makeBinary(r *rand.Rand, n int) Binary {
	b := Binary{}
	for range n {
		b = append(b, byte(r.Uint32()))
	}
	return b
}

// makeText mixes plain letters with what needs escapes.
func makeText(r *rand.Rand, most int) string {
	odd := []rune("\x00\x1b\x7f\n\"'\\%.é÷日\u00a0\u202e\U0001F600{$")
	var s []rune
	for range r.IntN(most) {
		if r.IntN(4) == 0 {
			s = append(s, odd[r.IntN(len(odd))])
		} else {
			s = append(s, rune('a'+r.IntN(26)))
		}
	}
	return string(s)
}

// makeOpaque is a bitstring, an identifier or a fun.
func makeOpaque(r *rand.Rand) Term {
	switch r.IntN(5) {
	case 0:
		bits := 1 + r.IntN(7)
		b := makeBinary(r, 1+r.IntN(4))
		b[len(b)-1] &= 0xff << (8 - bits)
		return BitString{Bytes: b, Bits: uint8(bits)}
	case 1:
		return Pid{Node: "a@far", ID: r.Uint32(), Serial: r.Uint32(), Creation: r.Uint32()}
	case 2:
		return Port{Node: "a@far", ID: r.Uint64() >> r.IntN(64), Creation: r.Uint32()}
	case 3:
		ref := Ref{Node: "a@far", Creation: r.Uint32(), Len: uint8(1 + r.IntN(5))}
		for i := range ref.Len {
			ref.Words[i] = r.Uint32()
		}
		return ref
	}
	f, _ := exported([3]Term{Atom("lists"), Atom(makeText(r, 9)), Int(r.IntN(256))})
	return f
}

// shuffled is t with the pairs of every map in another order.
func shuffled(r *rand.Rand, t Term) Term {
	all := func(list []Term) []Term {
		var out []Term
		for _, t := range list {
			out = append(out, shuffled(r, t))
		}
		return out
	}
	switch t := t.(type) {
	case Tuple:
		return Tuple(all(t))
	case List:
		return List{Elems: all(t.Elems), Tail: t.Tail}
	case Map:
		var m Map
		for _, i := range r.Perm(len(t)) {
			m = append(m, Pair{shuffled(r, t[i].Key), shuffled(r, t[i].Value)})
		}
		return m
	}
	return t
}
