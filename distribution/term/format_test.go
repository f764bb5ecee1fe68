package term

import (
	"math/big"
	"testing"
)

func TestFormat(t *testing.T) {
	tests := []struct {
		term Term
		want string
	}{
		{Atom("ok"), "ok"}, {Atom("a@b_C1"), "a@b_C1"}, {Atom(""), "''"}, {Atom("A"), "'A'"}, {Atom("end"), "'end'"},
		{Atom("maybe"), "'maybe'"}, {Atom("a-b"), "'a-b'"}, {Atom("é"), "'é'"}, {Atom("it's\n\x00\u202e"), `'it\'s\n\x{0}\x{202E}'`},
		{Int(-5), "-5"}, {new(big.Int).Lsh(big.NewInt(1), 70), "1180591620717411303424"},
		{Float(1), "1.0"}, {Float(1e22), "1.0e22"}, {Float(-1.5e-7), "-1.5e-7"}, {Float(100000), "100000.0"},
		{Binary{}, "<<>>"}, {Binary("a\"b\\"), `<<"a\"b\\">>`}, {Binary("日"), `<<"日"/utf8>>`}, {Binary{0, 255}, "<<0,255>>"},
		{Binary("\x1b[2J"), `<<"\e[2J">>`}, {BitString{[]byte{1, 0xa0}, 3}, "<<1,5:3>>"},
		{List{}, "[]"}, {String("ab\n"), `"ab\n"`}, {List{Elems: []Term{Int(0), Int(97)}}, "[0,97]"},
		{List{Elems: []Term{Int(1)}, Tail: Atom("t")}, "[1|t]"}, {List{Elems: []Term{Atom("a")}, Tail: List{Elems: []Term{Atom("b")}}}, "[a,b]"},
		{Tuple{}, "{}"}, {Tuple{Atom("a"), Tuple{}}, "{a,{}}"},
		{Map{{Atom("a"), Int(1)}, {Int(2), Map{}}}, "#{a => 1,2 => #{}}"},
		{Pid{Node: "a@b-c", ID: 1, Serial: 2}, "<'a@b-c'.1.2>"},
		{nil, "#Foreign<<nil>>"}, {"go", "#Foreign<string>"},
	}
	for _, tt := range tests {
		if got := Format(tt.term); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestPretty(t *testing.T) {
	long := Binary("a text that is as long as half of a line, about")
	value := Map{
		{Atom("name"), Atom("my_app")},
		{Atom("env"), List{Elems: []Term{Tuple{Atom("a"), long}, Tuple{Atom("b"), long, long}}}},
		{Atom("empty"), Map{}},
	}
	want := `#{
  name => my_app,
  env => [
    {a,<<"a text that is as long as half of a line, about">>},
    {
      b,
      <<"a text that is as long as half of a line, about">>,
      <<"a text that is as long as half of a line, about">>
    }
  ],
  empty => #{}
}`
	if got := Pretty(value); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWriteConsult(t *testing.T) {
	got := string(WriteConsult(Atom("a"), Tuple{Int(1), String("é")}))
	if want := "a.\n{1,\"é\"}.\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := WriteConsult(); len(got) > 0 {
		t.Errorf("no terms: got %q", got)
	}
}

func TestBrief(t *testing.T) {
	wide := make([]Term, 100000)
	for i := range wide {
		wide[i] = Tuple{Atom("a"), Int(i)}
	}
	tests := []struct {
		term Term
		most int
		want string
	}{
		{Atom("ok"), 2, "ok"},
		{Atom("word"), 2, "wo..."},
		{Binary(make([]byte, 1<<20)), 10, "<<0,0,0,0,..."},
		{String("日本日本"), 6, "\"日..."},
		{List{Elems: wide}, 12, "[{a,0},{a,1}..."},
		{Tuple(wide), 5, "{{a,0..."},
		{Map{{Atom("a"), Tuple(wide)}}, 14, "#{a => {{a,0},..."},
	}
	for _, tt := range tests {
		if got := Brief(tt.term, tt.most); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
	allocs := testing.AllocsPerRun(10, func() { Brief(List{Elems: wide}, 100) })
	if allocs > 200 {
		t.Errorf("a large term took %.0f allocations", allocs)
	}
}
