package term

import (
	"math"
	"math/big"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	tests := []struct {
		term Term
		want string
		ok   bool
	}{
		{Atom("a"), "a", true}, {Binary("é"), "é", true}, {String("日"), "日", true}, {List{}, "", true},
		{Binary{0xe9}, "", false}, {List{Elems: []Term{Int(-1)}}, "", false}, {List{Elems: []Term{Int(0xd800)}}, "", false},
		{List{Elems: []Term{Int('a')}, Tail: Int('b')}, "", false}, {List{Elems: []Term{Atom("a")}}, "", false}, {Int(1), "", false}, {nil, "", false},
	}
	for _, tt := range tests {
		got, ok := Text(tt.term)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: got %q, %v", Format(tt.term), got, ok)
		}
	}
}

func TestProplist(t *testing.T) {
	tests := []struct {
		text, want string
	}{
		{"#{a => 1, b => 2}.", "{a,1} {b,2} "}, {"[{a,1}, b, {\"c\",d}].", "{a,1} {b,true} {\"c\",d} "}, {"[].", ""},
		{"[{a,1,2}].", "no"}, {"[1].", "no"}, {"[a|b].", "no"}, {"a.", "no"}, {"{a,1}.", "no"},
	}
	for _, tt := range tests {
		terms, err := Parse([]byte(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		pairs, ok := Proplist(terms[0])
		got := "no"
		if ok {
			got = ""
			for _, p := range pairs {
				got += Format(Tuple{p.Key, p.Value}) + " "
			}
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestMapGet(t *testing.T) {
	m := Map{{Int(1), Atom("int")}, {Float(1), Atom("float")}, {String("k"), Atom("list")}}
	for _, p := range m {
		if got, ok := m.Get(p.Key); !ok || got != p.Value {
			t.Errorf("%s: got %v, %v", Format(p.Key), got, ok)
		}
	}
	if got, ok := m.Get(Binary("k")); ok {
		t.Errorf("got %v for a key that is not there", got)
	}
}

func TestEncodeRefuses(t *testing.T) {
	var noInt *big.Int
	tests := map[string]Term{
		"nil":             nil,
		"Go int":          5,
		"Go string":       Tuple{"text"},
		"nil big":         noInt,
		"huge big":        new(big.Int).Lsh(big.NewInt(1), 8*maxIntBytes),
		"NaN":             Float(math.NaN()),
		"infinity":        List{Elems: []Term{Float(math.Inf(1))}},
		"long atom":       Atom(strings.Repeat("é", 256)),
		"atom not UTF-8":  Atom("\xff"),
		"no bits":         BitString{Bytes: []byte{1}},
		"bits of nothing": BitString{Bits: 3},
		"empty reference": Ref{},
		"long reference":  Ref{Len: 6},
		"empty fun":       Fun{},
		"fun of others":   Fun{Encoded: []byte{tagNil}},
		"only a tail":     List{Tail: Atom("a")},
		"bad key":         Map{{nil, Int(1)}},
		"bad value":       Map{{Int(1), nil}},
	}
	for name, tt := range tests {
		b, err := Append([]byte("x"), tt)
		if err == nil || string(b) != "x" {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
		if _, err := Canonical(tt); err == nil {
			t.Errorf("%s: Canonical wrote it", name)
		}
		_ = Format(tt) // must not panic
	}
}
