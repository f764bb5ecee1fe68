package walk

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"beamsandbox/distribution/term"
)

// with is a map of two keys.
func with(a, b []byte) []byte {
	m := append([]byte{116, 0, 0, 0, 2}, a...)
	m = append(append(m, 97, 1), b...)
	return append(m, 97, 2)
}

// cat joins what a term is written with.
func cat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func one() []byte { return []byte{97, 1} }

func pidOf(node string, n uint32) []byte {
	b := append([]byte{88}, node...)
	for _, w := range []uint32{n, 2, 3} {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

func refOf(node string, words ...uint32) []byte {
	b := append([]byte{90, 0, byte(len(words))}, node...)
	for _, w := range append([]uint32{7}, words...) {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// equals are pairs of ways to write one term.
func equals() map[string][2][]byte {
	small, long := "w\x01a", "v\x00\x01a"
	pair := []byte{104, 2}
	return map[string][2][]byte{
		"numbers":            {one(), {98, 0, 0, 0, 1}},
		"a large number":     {{98, 0xff, 0xff, 0xff, 0xff}, {110, 1, 1, 1}},
		"a larger number":    {{110, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {111, 0, 0, 0, 11, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0}},
		"2^63":               {{110, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0x80}, {110, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0x80, 0}},
		"0":                  {{97, 0}, {110, 0, 0}},
		"atoms":              {{119, 1, 'a'}, {100, 0, 1, 'a'}},
		"atoms of Latin-1":   {{115, 1, 0xe9}, {119, 2, 0xc3, 0xa9}},
		"binaries":           {{109, 0, 0, 0, 1, 7}, {77, 0, 0, 0, 1, 8, 7}},
		"empty binaries":     {{109, 0, 0, 0, 0}, {77, 0, 0, 0, 0, 0}},
		"bits":               {{77, 0, 0, 0, 1, 3, 0xff}, {77, 0, 0, 0, 1, 3, 0xe0}},
		"tuples":             {cat(pair, one(), one()), cat([]byte{105, 0, 0, 0, 2}, one(), []byte{98, 0, 0, 0, 1})},
		"strings":            {{107, 0, 1, 'a'}, {108, 0, 0, 0, 1, 97, 'a', 106}},
		"empty strings":      {{107, 0, 0}, {106}},
		"segments":           {{108, 0, 0, 0, 1, 97, 'a', 107, 0, 1, 'b'}, {107, 0, 2, 'a', 'b'}},
		"nested segments":    {{108, 0, 0, 0, 1, 97, 'a', 108, 0, 0, 0, 1, 97, 'b', 106}, {107, 0, 2, 'a', 'b'}},
		"improper lists":     {{108, 0, 0, 0, 1, 97, 'a', 97, 'b'}, {108, 0, 0, 0, 1, 97, 'a', 98, 0, 0, 0, 'b'}},
		"zeros":              {{70, 0, 0, 0, 0, 0, 0, 0, 0}, {70, 0x80, 0, 0, 0, 0, 0, 0, 0}},
		"pids":               {pidOf(small, 5), pidOf(long, 5)},
		"references":         {refOf(small, 5, 6), refOf(long, 5, 6)},
		"words of zero":      {refOf(small, 5), refOf(small, 5, 0, 0)},
		"maps, turned":       {{116, 0, 0, 0, 2, 97, 1, 97, 8, 97, 2, 97, 9}, {116, 0, 0, 0, 2, 97, 2, 97, 9, 97, 1, 97, 8}},
		"tuples with lists":  {cat(pair, []byte{107, 0, 1, 'x'}, one()), cat(pair, []byte{108, 0, 0, 0, 1, 97, 'x', 106}, one())},
		"maps with lists":    {with([]byte{107, 0, 1, 'x'}, one()), with([]byte{108, 0, 0, 0, 1, 97, 'x', 106}, one())},
		"tuples with nil":    {cat(pair, []byte{106}, one()), cat(pair, []byte{107, 0, 0}, one())},
		"tuples with a map":  {cat(pair, with([]byte{97, 5}, one()), one()), cat(pair, with([]byte{98, 0, 0, 0, 5}, one()), one())},
		"the same large one": {bytesOf(300), bytesOf(300)},
	}
}

func bytesOf(n int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{109}, uint32(n)), strings.Repeat("x", n)...)
}

func TestEqualKeysAreRefused(t *testing.T) {
	for name, pair := range equals() {
		for _, m := range [][]byte{with(pair[0], pair[1]), with(pair[1], pair[0]), with(with(pair[0], pair[1]), one()), cat([]byte{104, 1}, with(pair[1], pair[1]))} {
			if _, why := strict().Walk(m); why != Malformed {
				t.Errorf("%s: reason %d, want %d", name, why, Malformed)
			}
		}
	}
}

// TestDifferentKeysPass: no two of many keys that look much alike are taken for
// one.
func TestDifferentKeysPass(t *testing.T) {
	var m term.Map
	add := func(k term.Term) { m = append(m, term.Pair{Key: k, Value: term.Int(0)}) }
	for i := range 125 {
		for j := range 125 {
			a, b := term.Int(i), term.Int(j)
			add(term.Tuple{a, b})
			add(term.List{Elems: []term.Term{a, b}})
			add(term.List{Elems: []term.Term{a}, Tail: b})
			add(term.Map{{Key: a, Value: b}})
			add(term.Map{{Key: term.Atom("a"), Value: a}, {Key: term.Atom("b"), Value: b}})
			add(term.Tuple{a, term.Tuple{b}})
			add(term.Tuple{term.List{Elems: []term.Term{a}}, b})
			add(term.Binary([]byte{byte(i), byte(j), 0}))
			add(term.Atom(fmt.Sprint(i, "_", j)))
			add(term.Float(float64(i) + float64(j)/256))
			add(term.Pid{Node: "a@b", ID: uint32(i), Serial: uint32(j)})
			add(term.Ref{Node: "a@b", Len: 2, Words: [5]uint32{uint32(i), uint32(j + 1)}})
			add(term.BitString{Bytes: []byte{byte(i), byte(j << 1)}, Bits: 7})
		}
	}
	w := strict()
	w.Nodes = 1 << 21
	if _, why := w.Walk(bare(t, m)); why != OK {
		t.Errorf("%d keys: reason %d", len(m), why)
	}
}

// TestKeysOfManyPartsTakeNoMemory: neither does a map inside one.
func TestKeysOfManyPartsTakeNoMemory(t *testing.T) {
	var m term.Map
	for i := range 1000 {
		m = append(m, term.Pair{Key: term.Tuple{term.Int(i), manyNils(100), term.Map{{Key: term.Int(i), Value: term.String("abc")}}}, Value: term.Int(i)})
	}
	in := bare(t, m)
	w := strict()
	w.Nodes = 200_000
	if n := testing.AllocsPerRun(20, func() {
		if _, why := w.Walk(in); why != OK {
			t.Fatal(why)
		}
	}); n != 0 {
		t.Errorf("a walk takes %v allocations", n)
	}
}

func TestMapsInKeysAreBounded(t *testing.T) {
	nest := func(n int) term.Term {
		var t term.Term = term.Int(1)
		for range n {
			t = term.Tuple{term.Map{{Key: t, Value: term.Int(1)}}}
		}
		return t
	}
	if _, why := strict().Walk(bare(t, nest(maxKeyDepth))); why != OK {
		t.Errorf("%d levels: reason %d", maxKeyDepth, why)
	}
	if _, why := strict().Walk(bare(t, nest(maxKeyDepth+1))); why != Depth {
		t.Errorf("%d levels: reason %d", maxKeyDepth+1, why)
	}
}
