package term

import (
	"errors"
	"math/big"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	tests := []struct {
		text string
		want Term
	}{
		{"ok.", Atom("ok")},
		{"a@b_C1.", Atom("a@b_C1")},
		{"été.", Atom("été")},
		{"maybe.", Atom("maybe")},
		{"''.", Atom("")},
		{`'it\'s a "b"'.`, Atom(`it's a "b"`)},
		{"'two\nlines'.", Atom("two\nlines")},
		{"'日本'.", Atom("日本")},
		{"0.", Int(0)},
		{"1_000_000.", Int(1000000)},
		{"16#ff.", Int(255)},
		{"16#F_F.", Int(255)},
		{"1_6#ff.", Int(255)},
		{"36#Zz.", Int(35*36 + 35)},
		{"2#1010.", Int(10)},
		{"-7.", Int(-7)},
		{"- 7.", Int(-7)},
		{"+7.", Int(7)},
		{"-(7).", Int(-7)},
		{"((7)).", Int(7)},
		{"-16#ff.", Int(-255)},
		{"9223372036854775807.", Int(1<<63 - 1)},
		{"-9223372036854775808.", Int(-1 << 63)},
		{"123456789012345678901234567890.", huge},
		{"-123456789012345678901234567890.", new(big.Int).Neg(huge)},
		{"1.5.", Float(1.5)},
		{"1.5e3.", Float(1500)},
		{"1.5E+3.", Float(1500)},
		{"1_0.0_1e-1_0.", Float(10.01e-10)},
		{"-0.5.", Float(-0.5)},
		{"1.0e-400.", Float(0)},
		{"$a.", Int('a')},
		{"$ .", Int(' ')},
		{"$日.", Int('日')},
		{"$'.", Int('\'')},
		{`$\n.`, Int('\n')},
		{`$\\.`, Int('\\')},
		{`$\^A.`, Int(1)},
		{`$\^a.`, Int(1)},
		{`$\^[.`, Int(27)},
		{`$\x41.`, Int('A')},
		{`$\x{1F600}.`, Int(0x1F600)},
		{`$\7.`, Int(7)},
		{`$\777.`, Int(511)},
		{`$\8.`, Int('8')},
		{`$\q.`, Int('q')},
		{"$\\\n.", Int('\n')},
		{"-$a.", Int(-'a')},
		{`"".`, List{}},
		{`"abc".`, String("abc")},
		{"\"a\" \"b\"\n%c\n\"c\".", String("abc")},
		{`"\b\d\e\f\n\r\s\t\v\"\'".`, String("\b\x7f\x1b\f\n\r \t\v\"'")},
		{`"\x{65E5}é\1012".`, String("日éA2")},
		{`"% no comment".`, String("% no comment")},
		{"[].", List{}},
		{"[1,2].", List{Elems: []Term{Int(1), Int(2)}}},
		{"[1|2].", List{Elems: []Term{Int(1)}, Tail: Int(2)}},
		{"[1|[2]].", List{Elems: []Term{Int(1), Int(2)}}},
		{"[1|[2|3]].", List{Elems: []Term{Int(1), Int(2)}, Tail: Int(3)}},
		{`[$a|"bc"].`, String("abc")},
		{`["a" "b"].`, List{Elems: []Term{String("ab")}}},
		{"{}.", Tuple{}},
		{"{a,{b}}.", Tuple{Atom("a"), Tuple{Atom("b")}}},
		{"#{}.", Map{}},
		{"#{a=>1,\"k\" => #{b => <<>>}}.", Map{{Atom("a"), Int(1)}, {String("k"), Map{{Atom("b"), Binary{}}}}}},
		{"#{1 => a, 1.0 => b}.", Map{{Int(1), Atom("a")}, {Float(1), Atom("b")}}},
		{"<<>>.", Binary{}},
		{"<<1,255,$a>>.", Binary{1, 255, 'a'}},
		{`<<"abc">>.`, Binary("abc")},
		{`<<"é">>.`, Binary{0xe9}},
		{`<<"é"/utf8>>.`, Binary("é")},
		{`<<"a", 0, "b" "c", 16#ff>>.`, Binary("a\x00bc\xff")},
		{`<<1024/utf8>>.`, Binary("Ѐ")},
		{`<<"">>.`, Binary{}},
		{`<<(1),+2>>.`, Binary{1, 2}},
		{"fun lists:map/2.", Fun{Encoded: []byte("q\x77\x05lists\x77\x03mapa\x02")}},
		{"a.%comment", Atom("a")},
		{"% -*- erlang -*-\n\u00a0 a . ", Atom("a")},
		{"%% -*- coding: latin-1 -*-\n\"\xe9\".", String("é")},
		{"#!/bin\n", nil},
	}
	for _, tt := range tests {
		got, err := Parse([]byte(tt.text))
		if tt.want == nil {
			if err == nil {
				t.Errorf("%s: no error", tt.text)
			}
			continue
		}
		if err != nil || len(got) != 1 || !Equal(got[0], tt.want) {
			t.Errorf("%s: got %v, %v, want %s", tt.text, got, err, Format(tt.want))
		}
	}
}

func TestParseSequence(t *testing.T) {
	for text, want := range map[string]int{"": 0, " % nothing\n": 0, "a. b.\n{c}.": 3, "a.%x\nb.": 2} {
		got, err := Parse([]byte(text))
		if err != nil || len(got) != want {
			t.Errorf("%q: got %v, %v, want %d terms", text, got, err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		text         string
		line, column int
		want         string
	}{
		{"a", 1, 2, "expected '.' after a term, found the end of the text"},
		{"a.b.", 1, 2, "found '.' without a blank"},
		{"a b.", 1, 3, "found b"},
		{"1 + 2.", 1, 3, "found '+'"},
		{"{a,\n b c}.", 2, 4, "expected ',' or '}', found c"},
		{"{a,}.", 1, 4, "expected a term, found '}'"},
		{"{日, B}.", 1, 2, "illegal character"},
		{"{é, B}.", 1, 5, "found variable B (an atom needs quotes: 'B')"},
		{"[a|b|c].", 1, 5, "expected ',', '|' or ']', found '|'"},
		{"[|b].", 1, 2, "expected a term, found '|'"},
		{"#{a}.", 1, 4, "expected '=>' after a key, found '}'"},
		{"#{a := 1}.", 1, 5, "expected '=>' after a key, found ':='"},
		{"#{a => 1, }.", 1, 11, "expected a term, found '}'"},
		{"#{a => 1,\n  a => 2}.", 2, 3, "map has the key a twice"},
		{"#rec{}.", 1, 2, "expected '{' of a map"},
		{"end.", 1, 1, "found reserved word end (an atom needs quotes: 'end')"},
		{"- -1.", 1, 3, "expected a number after '-'"},
		{"-a.", 1, 2, "expected a number after '-', found a"},
		{"+\"a\".", 1, 2, "expected a number after '+'"},
		{"\"a\" ++ b.", 1, 5, "found '++'"},
		{"1__0.", 1, 2, "found variable __0"},
		{"1e5.", 1, 2, "found e5"},
		{"37#1.", 1, 1, "base 37"},
		{"1#0.", 1, 1, "base 1"},
		{"16#g.", 1, 4, "no digit of base 16"},
		{"1.0e.", 1, 5, "exponent"},
		{"[1.0e400].", 1, 2, "float is too large"},
		{strings.Repeat("1", maxDigits+2) + ".", 1, maxDigits + 2, "digits"},
		{"\"abc\n", 1, 1, "no closing \""},
		{"{'abc.}", 1, 2, "no closing '"},
		{"'" + strings.Repeat("é", 256) + "'.", 1, 1, "atom of 256 characters"},
		{strings.Repeat("a", 256) + ".", 1, 1, "atom of 256 characters"},
		{"$", 1, 2, "no character after '$'"},
		{`"\x4".`, 1, 3, "escape is no character"},
		{`"\x{}".`, 1, 3, "escape is no character"},
		{`"\x{D800}".`, 1, 3, "escape is no character"},
		{`"\x{110000}".`, 1, 3, "escape is no character"},
		{`"\x{41".`, 1, 3, "no closing brace"},
		{`"\`, 1, 3, "no character after '\\'"},
		{`$\^`, 1, 4, "no character after '\\^'"},
		{"<<1,2:16>>.", 1, 6, "sized segments"},
		{"<<256>>.", 1, 3, "256 in a binary does not fit one byte"},
		{"<<-1>>.", 1, 3, "-1 in a binary does not fit"},
		{"<<\"日\">>.", 1, 3, "write <<\"...\"/utf8>>"},
		{"<<1.0>>.", 1, 3, "expected a byte"},
		{"<<1/float>>.", 1, 5, "type float of a segment"},
		{"<<\"a\"/utf8-big>>.", 1, 11, "expected ',' or '>>', found '-'"},
		{"<<55296/utf8>>.", 1, 3, "no character"},
		{"<<1,>>.", 1, 5, "expected a segment"},
		{"~\"a\".", 1, 1, "sigils"},
		{"fun a/2.", 1, 6, "expected ':'"},
		{"fun a:b/300.", 1, 1, "arity"},
		{"fun () -> ok end.", 1, 5, "expected a module"},
		{"a.\n\nb \xff.", 3, 3, "byte 0xff is not UTF-8"},
		{"; .", 1, 1, "illegal character ';'"},
		{strings.Repeat("{", DefaultDepth+1), 1, DefaultDepth + 1, "nested deeper"},
		{strings.Repeat("#{", maxKeyDepth+1), 1, 2*maxKeyDepth + 3, "nested too deep"},
	}
	for _, tt := range tests {
		got, err := Parse([]byte(tt.text))
		var at *SyntaxError
		if !errors.As(err, &at) || got != nil {
			t.Errorf("%.40s: got %v, %v", tt.text, got, err)
			continue
		}
		if at.Line != tt.line || at.Column != tt.column || !strings.Contains(at.Msg, tt.want) {
			t.Errorf("%.40s: got %v, want %d:%d: %s", tt.text, err, tt.line, tt.column, tt.want)
		}
	}
}

func TestLatin1Comment(t *testing.T) {
	for first, want := range map[string]bool{
		"%% coding: latin-1":                 true,
		"% -*- mode: erlang; coding=LATIN-1": true,
		"\n%% coding: iso-8859-1":            true,
		"%% coding: utf-8":                   false,
		"\n\n%% coding: latin-1":             false,
		"%% encoding latin-1":                false,
		"coding: latin-1":                    false,
	} {
		if got := latin1([]byte(first + "\na.")); got != want {
			t.Errorf("%q: got %v", first, got)
		}
	}
}
