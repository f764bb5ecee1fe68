package walk

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"beamsandbox/distribution/term"
)

func names() Names { return Names{Guest: "pulse@vm", Host: "demo_web@vm"} }

func strict() *Walker { return &Walker{Names: names(), Depth: 64, Nodes: 1000, Bytes: 256} }

// bare is t in the external format without its version byte.
func bare(t testing.TB, v term.Term) []byte {
	t.Helper()
	b, err := term.AppendBare(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func nested(n int, inner term.Term) term.Term {
	for range n {
		inner = term.Tuple{term.Int(1), inner, term.Int(2)}
	}
	return inner
}

func TestWalk(t *testing.T) {
	guest := term.Pid{Node: "pulse@vm", ID: 90, Creation: 7}
	ref := term.Ref{Node: "demo_web@vm", Creation: 9, Len: 3, Words: [5]uint32{1, 2, 3}}
	for name, tc := range map[string]struct {
		in   []byte
		want Reason
	}{
		"atom":                  {bare(t, term.Atom("ok")), OK},
		"tuple of everything":   {bare(t, term.Tuple{guest, ref, term.Float(1.5), term.Binary("x"), term.String("abc"), term.List{}, term.BitString{Bytes: []byte{0x80}, Bits: 1}}), OK},
		"map":                   {bare(t, term.Map{{Key: term.Int(1), Value: term.Int(2)}, {Key: term.Atom("a"), Value: term.Map{}}}), OK},
		"map with guest's pid":  {bare(t, term.Map{{Key: guest, Value: term.Int(2)}}), OK},
		"map in a key":          {bare(t, term.Map{{Key: term.Map{{Key: term.Int(1), Value: term.Int(1)}}, Value: term.Int(2)}}), OK},
		"improper list":         {bare(t, term.List{Elems: []term.Term{term.Atom("alias")}, Tail: ref}), OK},
		"at the depth":          {bare(t, nested(64, term.Int(1))), OK},
		"too deep":              {bare(t, nested(65, term.Int(1))), Depth},
		"too deep to the right": {deepRight(65), Depth},
		"long chain of lists":   {chain(300), OK},
		"too many nodes":        {bare(t, term.String(strings.Repeat("a", 1001))), Nodes},
		"too many elements":     {bare(t, manyNils(1001)), Nodes},
		"huge integer":          {bare(t, new(big.Int).Lsh(big.NewInt(1), 256*8)), Integer},
		"large integer":         {bare(t, new(big.Int).Lsh(big.NewInt(1), 255*8)), OK},
		"export":                {[]byte{113, 119, 1, 'a', 119, 1, 'b', 97, 1}, Fun},
		"fun":                   {[]byte{112, 0, 0, 0, 0}, Fun},
		"port":                  {bare(t, term.Port{Node: "pulse@vm", ID: 1}), Port},
		"compressed":            {[]byte{80, 0, 0, 0, 1}, Tag},
		"local":                 {[]byte{121, 1, 2, 3}, Tag},
		"atom cache":            {[]byte{82, 0}, Tag},
		"old pid":               {[]byte{103, 119, 1, 'a', 0, 0, 0, 1, 0, 0, 0, 0, 0}, Tag},
		"unknown tag":           {[]byte{7}, Tag},
		"nothing":               {nil, Malformed},
		"short tuple":           {[]byte{104, 2, 97, 1}, Malformed},
		"announced list":        {[]byte{108, 0xff, 0xff, 0xff, 0xff, 106}, Malformed},
		"list of none":          {[]byte{108, 0, 0, 0, 0, 106}, Malformed},
		"not a number":          {[]byte{70, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0}, Malformed},
		"atom of no UTF-8":      {[]byte{119, 1, 0xff}, Malformed},
		"key twice":             {[]byte{116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 1}, Malformed},
		"key twice, otherwise":  {[]byte{116, 0, 0, 0, 2, 97, 1, 97, 1, 98, 0, 0, 0, 1, 97, 1}, Malformed},
		"atom key twice":        {[]byte{116, 0, 0, 0, 2, 119, 1, 'a', 97, 1, 100, 0, 1, 'a', 97, 1}, Malformed},
		"list key twice":        {[]byte{116, 0, 0, 0, 2, 107, 0, 1, 'a', 97, 1, 108, 0, 0, 0, 1, 97, 'a', 106, 97, 1}, Malformed},
		"latin-1 key twice":     {[]byte{116, 0, 0, 0, 2, 115, 1, 0xe9, 97, 1, 119, 2, 0xc3, 0xa9, 97, 1}, Malformed},
		"ref of no words":       {[]byte{90, 0, 0, 119, 1, 'a', 0, 0, 0, 1}, Malformed},
		"bits without bytes":    {[]byte{77, 0, 0, 0, 0, 3}, Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			n, got := strict().Walk(tc.in)
			if got != tc.want {
				t.Errorf("reason %d, want %d", got, tc.want)
			}
			if got == OK && n != len(tc.in) {
				t.Errorf("walked %d of %d bytes", n, len(tc.in))
			}
		})
	}
}

func deepRight(n int) []byte {
	b := []byte{}
	for range n {
		b = append(b, 104, 2, 97, 1)
	}
	return append(b, 97, 1)
}

func chain(n int) []byte {
	b := []byte{}
	for range n {
		b = append(b, 108, 0, 0, 0, 1, 97, 1)
	}
	return append(b, 106)
}

func manyNils(n int) term.List {
	l := term.List{}
	for range n {
		l.Elems = append(l.Elems, term.List{})
	}
	return l
}

func TestWalkManyKeys(t *testing.T) {
	var m term.Map
	for i := range 100 {
		m = append(m, term.Pair{Key: term.Int(i * 1000), Value: term.Binary("v")})
	}
	if _, why := strict().Walk(bare(t, m)); why != OK {
		t.Errorf("100 keys: reason %d", why)
	}
	b := bare(t, m)
	copy(b[len(b)-6-5:], []byte{98, 0, 0, 0, 0}) // the last key becomes 0, as the first
	if _, why := strict().Walk(b); why != Malformed {
		t.Errorf("key twice among 100: reason %d", why)
	}
}

func TestWalkRewritesIdentifiers(t *testing.T) {
	w := strict()
	w.Pid = func(p Pid, body []byte) bool {
		if p.Node == Host {
			Pid{ID: p.ID + 1, Serial: p.Serial, Creation: p.Creation}.Put(body)
		}
		return true
	}
	w.Ref = func(r Ref, body []byte) bool {
		r.Words[0]++
		r.Put(body)
		return true
	}
	b := bare(t, term.Tuple{term.Pid{Node: "demo_web@vm", ID: 5, Creation: 9}, term.Pid{Node: "pulse@vm", ID: 5}, term.Ref{Node: "demo_web@vm", Creation: 9, Len: 1, Words: [5]uint32{8}}})
	if _, why := w.Walk(b); why != OK {
		t.Fatalf("reason %d", why)
	}
	got, _, err := term.DecodeBare(b)
	want := term.Tuple{term.Pid{Node: "demo_web@vm", ID: 6, Creation: 9}, term.Pid{Node: "pulse@vm", ID: 5}, term.Ref{Node: "demo_web@vm", Creation: 9, Len: 1, Words: [5]uint32{9}}}
	if err != nil || !term.Equal(got, want) {
		t.Errorf("got %s, %v", term.Format(got), err)
	}
}

func TestWalkRefusals(t *testing.T) {
	w := strict()
	w.Atom = func(name []byte, _ bool) bool { return string(name) != "bad" }
	w.Pid = func(p Pid, _ []byte) bool { return p.Node == Guest }
	if _, why := w.Walk(bare(t, term.List{Elems: []term.Term{term.Atom("bad")}})); why != Atom {
		t.Errorf("atom: reason %d", why)
	}
	if _, why := w.Walk(bare(t, term.Pid{Node: "other@vm"})); why != Ident {
		t.Errorf("pid: reason %d", why)
	}
}

func TestLenientWalksFuns(t *testing.T) {
	// A closure over one pid, as term_to_binary writes it.
	fun := append([]byte{112, 0, 0, 0, 0, 0}, make([]byte, 16+4)...)
	fun = append(fun, 0, 0, 0, 1, 119, 1, 'm', 97, 0, 97, 0)
	fun = append(fun, bare(t, term.Pid{Node: "demo_web@vm", ID: 1})...)
	fun = append(fun, bare(t, term.Pid{Node: "demo_web@vm", ID: 2})...)
	fun[4] = byte(len(fun) - 1)
	in := append([]byte{104, 2}, append(fun, 113, 119, 1, 'a', 119, 1, 'b', 97, 1)...)
	seen := 0
	w := strict()
	w.Lenient = true
	w.Pid = func(Pid, []byte) bool { seen++; return true }
	if n, why := w.Walk(in); why != OK || n != len(in) || seen != 2 {
		t.Errorf("walked %d of %d, reason %d, %d pids", n, len(in), why, seen)
	}
	r := Reader{Names: names(), B: in}
	if b, ok := r.Skip(); !ok || len(b) != len(in) {
		t.Errorf("skipped %d of %d", len(b), len(in))
	}
}

func TestAppendIsCanonical(t *testing.T) {
	pid := Pid{Node: Guest, ID: 1, Serial: 2, Creation: 3}
	ref := Ref{Node: Host, Len: 2, Creation: 9, Words: [5]uint32{4, 5}}
	got := AppendTuple(nil, 6)
	got = AppendPid(got, pid, names())
	got = AppendRef(got, ref, names())
	got = AppendAtom(got, "ok")
	for _, v := range []uint64{255, 256, 1 << 40} {
		got = AppendUint(got, v)
	}
	want := bare(t, term.Tuple{
		term.Pid{Node: "pulse@vm", ID: 1, Serial: 2, Creation: 3}, term.Ref{Node: "demo_web@vm", Creation: 9, Len: 2, Words: [5]uint32{4, 5}},
		term.Atom("ok"), term.Int(255), term.Int(256), term.Int(1 << 40),
	})
	if string(got) != string(want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	r := Reader{Names: names(), B: got}
	r.TupleOf(6)
	if p, ok := r.Pid(); !ok || p != pid {
		t.Errorf("pid %v", p)
	}
	if f, ok := r.Ref(); !ok || f != ref {
		t.Errorf("ref %v", f)
	}
	r.IsAtom("ok")
	for _, v := range []uint64{255, 256, 1 << 40} {
		if n, ok := r.Uint(); !ok || n != v {
			t.Errorf("integer %d, want %d", n, v)
		}
	}
}

func TestBrief(t *testing.T) {
	for in, want := range map[string]term.Term{
		`{system,<pulse@vm.1.2>,[a,1|b]}`:         term.Tuple{term.Atom("system"), term.Pid{Node: "pulse@vm", ID: 1, Serial: 2}, term.List{Elems: []term.Term{term.Atom("a"), term.Int(1)}, Tail: term.Atom("b")}},
		`#{'$x' => <<"a\x{a}\"">>}`:               term.Map{{Key: term.Atom("$x"), Value: term.Binary("a\n\"")}},
		`{-1,1.5,"abc",[],#Port<>,1099511627776}`: term.Tuple{term.Int(-1), term.Float(1.5), term.String("abc"), term.List{}, term.Port{Node: "a@b"}, term.Int(1 << 40)},
	} {
		if got := Brief(bare(t, want), 200, names()); got != in {
			t.Errorf("got %s, want %s", got, in)
		}
	}
	if got := Brief(bare(t, term.Binary(strings.Repeat("x", 1<<20))), 20, names()); len(got) > 30 {
		t.Errorf("%d bytes", len(got))
	}
}

func FuzzWalk(f *testing.F) {
	f.Add([]byte{104, 2, 97, 1, 116, 0, 0, 0, 1, 119, 1, 'a', 106})
	f.Add(chain(4))
	f.Add(deepRight(5))
	f.Add([]byte{116, 0, 0, 0, 2, 107, 0, 1, 'a', 97, 1, 108, 0, 0, 0, 1, 97, 'b', 106, 97, 1})
	f.Add(bare(f, term.Tuple{term.Pid{Node: "pulse@vm"}, term.Ref{Node: "x@y", Len: 3}, term.Float(math.Pi)}))
	for _, pair := range equals() {
		f.Add(with(pair[0], pair[1]))
		f.Add(with(pair[0], with(pair[1], one())))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := strict()
		n, why := w.Walk(b)
		Brief(b, 100, names())
		r := Reader{Names: names(), B: b}
		skipped, ok := r.Skip()
		if why != OK {
			return
		}
		if !ok || len(skipped) != n {
			t.Fatalf("walked %d, skipped %d", n, len(skipped))
		}
		v, rest, err := term.DecodeBare(b)
		if err != nil || len(rest) != len(b)-n {
			t.Fatalf("walked %d of %d bytes, decode leaves %d: %v", n, len(b), len(rest), err)
		}
		if _, err := term.AppendBare(nil, v); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	for name, size := range map[string]int{"100B": 100, "1KB": 1 << 10, "64KB": 64 << 10, "1MB": 1 << 20} {
		for kind, v := range map[string]term.Term{
			"binary":  term.Tuple{term.Atom("forward_to_local"), term.Binary("stats"), term.Binary(strings.Repeat("x", size)), term.Atom("d")},
			"structs": structs(size),
		} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				w := strict()
				w.Nodes = 1 << 20
				known := map[string]struct{}{"a": {}, "b": {}, "ok": {}}
				w.Atom = func(name []byte, _ bool) bool { _, ok := known[string(name)]; return ok || len(known) == 3 }
				in := bare(b, v)
				b.SetBytes(int64(len(in)))
				b.ReportAllocs()
				for b.Loop() {
					if _, why := w.Walk(in); why != OK {
						b.Fatal(why)
					}
				}
			})
		}
	}
}

// structs is a list of small maps of about size bytes.
func structs(size int) term.Term {
	var l term.List
	for n := 0; n < size; n += 40 {
		l.Elems = append(l.Elems, term.Map{{Key: term.Atom("a"), Value: term.Int(n)}, {Key: term.Atom("b"), Value: term.Tuple{term.Atom("ok"), term.Binary("12345678")}}})
	}
	return l
}

// TestWalkTakesNoMemory: the steady state, which BenchmarkWalk times.
func TestWalkTakesNoMemory(t *testing.T) {
	for name, v := range map[string]term.Term{"binary": term.Binary(strings.Repeat("x", 1<<20)), "structs": structs(64 << 10)} {
		w := strict()
		w.Nodes = 1 << 20
		in := bare(t, v)
		if n := testing.AllocsPerRun(50, func() {
			if _, why := w.Walk(in); why != OK {
				t.Fatal(why)
			}
		}); n != 0 {
			t.Errorf("%s: a walk takes %v allocations", name, n)
		}
	}
}
