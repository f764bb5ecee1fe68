package term

import (
	"math/big"
	"testing"
)

func TestCompareOrder(t *testing.T) {
	large := new(big.Int).Lsh(big.NewInt(1), 80)
	a := Atom("a")
	ascending := []Term{
		new(big.Int).Neg(large), Int(-1), Float(-0.5), Int(0), Float(0.5), Int(1), Float(9007199254740992), Int(1<<53 + 1), large,
		a, Atom("ab"), Atom("b"), Atom("é"), Atom("日"),
		Ref{Len: 1, Words: [5]uint32{1}}, Ref{Len: 1, Words: [5]uint32{2}},
		Fun{Encoded: []byte{tagExport}}, Port{ID: 1}, Port{ID: 2}, Pid{ID: 2}, Pid{ID: 1, Serial: 1},
		Tuple{}, Tuple{Int(9)}, Tuple{Int(1), Int(2)},
		Map{}, Map{{a, Int(2)}}, Map{{Atom("b"), Int(1)}}, Map{{a, Int(1)}, {Atom("b"), Int(1)}},
		List{}, List{Elems: []Term{Int(1)}, Tail: a}, List{Elems: []Term{Int(1)}}, List{Elems: []Term{Int(1), Int(2)}, Tail: a},
		List{Elems: []Term{Int(1), Int(2)}}, List{Elems: []Term{Int(2)}},
		Binary{}, Binary{32}, BitString{[]byte{33, 0}, 1}, BitString{[]byte{64}, 3}, Binary{64}, nil,
	}
	for i, x := range ascending {
		for j, y := range ascending {
			want := min(1, max(-1, i-j))
			if got := Compare(x, y); got != want {
				t.Errorf("Compare(%s, %s) = %d, want %d", Format(x), Format(y), got, want)
			}
			if got := Equal(x, y); got != (i == j && x != nil) {
				t.Errorf("Equal(%s, %s) = %v", Format(x), Format(y), got)
			}
		}
	}
}

func TestEqual(t *testing.T) {
	tests := []struct {
		a, b           Term
		equal, compare bool
	}{
		{Int(1), Float(1), false, true},
		{Float(0), -Float(0) * -1, true, true},
		{Int(1), big.NewInt(1), true, true},
		{Tuple(nil), Tuple{}, true, true},
		{List{}, List{Elems: []Term{}}, true, true},
		{List{Elems: []Term{Int(1)}, Tail: List{Elems: []Term{Int(2)}}}, List{Elems: []Term{Int(1), Int(2)}}, true, true},
		{List{Elems: []Term{Int(1)}, Tail: List{}}, List{Elems: []Term{Int(1)}}, true, true},
		{Map{{Int(1), Int(2)}}, Map{{Float(1), Int(2)}}, false, false},
		{Map{{Int(1), Int(2)}}, Map{{Int(1), Float(2)}}, false, true},
		{Map{{Tuple{Int(1)}, Int(2)}, {Atom("b"), nil}}, Map{{Atom("b"), nil}, {Tuple{Int(1)}, Int(3)}}, false, false},
		{Atom("a"), "a", false, false},
		{Binary("a"), BitString{[]byte("a"), 7}, false, false},
	}
	for _, tt := range tests {
		if got := Equal(tt.a, tt.b); got != tt.equal {
			t.Errorf("Equal(%s, %s) = %v", Format(tt.a), Format(tt.b), got)
		}
		if got := Compare(tt.a, tt.b) == 0; got != tt.compare {
			t.Errorf("Compare(%s, %s) = 0 is %v", Format(tt.a), Format(tt.b), got)
		}
	}
}
