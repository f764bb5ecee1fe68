package term

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

const randomTerms = 3000

func TestDecodeReadsWhatEncodeWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range randomTerms {
		want := makeTerm(r, 5, false)
		b, err := Append([]byte("before"), want)
		if err != nil {
			t.Fatalf("term %d: %v", i, err)
		}
		got, rest, err := Decode(append(b[len("before"):], "after"...))
		if err != nil || string(rest) != "after" {
			t.Fatalf("term %d: %v, rest %q", i, err, rest)
		}
		if !Equal(got, want) {
			t.Fatalf("term %d: got %s, want %s", i, Format(got), Format(want))
		}
		again, err := Encode(got)
		if err != nil || !bytes.Equal(again, b[len("before"):]) {
			t.Fatalf("term %d is written differently the second time (%v)", i, err)
		}
	}
}

func TestParseReadsWhatFormatWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for i := range randomTerms {
		want := makeTerm(r, 5, true)
		texts := map[string][]byte{
			"Format": []byte(Format(want) + "."), "Pretty": []byte(Pretty(want) + "."), "WriteConsult": WriteConsult(want),
		}
		for name, text := range texts {
			got, err := Parse(text)
			if err != nil || len(got) != 1 {
				t.Fatalf("term %d, %s: %v\n%s", i, name, err, text)
			}
			if !Equal(got[0], want) {
				t.Fatalf("term %d, %s: got %s, want %s", i, name, Format(got[0]), Format(want))
			}
		}
	}
}

func TestOrderOfPairsDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for i := range randomTerms {
		a := makeTerm(r, 5, false)
		b := shuffled(r, a)
		if !Equal(a, b) || Compare(a, b) != 0 {
			t.Fatalf("term %d: %s differs from itself shuffled", i, Format(a))
		}
		x, errX := Canonical(a)
		y, errY := Canonical(b)
		if errX != nil || errY != nil || !bytes.Equal(x, y) {
			t.Fatalf("term %d: canonical bytes differ: %s", i, Format(a))
		}
		if c, _, err := Decode(x); err != nil || !Equal(a, c) {
			t.Fatalf("term %d: canonical bytes are another term (%v)", i, err)
		}
	}
}

func TestEqualAgreesWithCanonicalAndCompare(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range randomTerms {
		a, b := makeTerm(r, 1, false), makeTerm(r, 1, false)
		x, _ := Canonical(a)
		y, _ := Canonical(b)
		if Equal(a, b) != bytes.Equal(x, y) {
			t.Fatalf("Equal(%s, %s) = %v, canonical bytes say otherwise", Format(a), Format(b), Equal(a, b))
		}
		if Compare(a, b) != -Compare(b, a) {
			t.Fatalf("Compare(%s, %s) is not antisymmetric", Format(a), Format(b))
		}
	}
}
