package term

import (
	"bytes"
	"testing"
)

func FuzzDecode(f *testing.F) {
	for _, b := range captured(f) {
		f.Add(b)
	}
	for _, b := range hostile() {
		f.Add(b[:200])
	}
	limits := Limits{Depth: 64, Nodes: 10000, Inflated: 1 << 16}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, rest, err := limits.Decode(b)
		if err != nil {
			if got != nil || rest != nil {
				t.Fatalf("%v and %x beside %v", got, rest, err)
			}
			return
		}
		again, err := Encode(got)
		if err != nil {
			t.Fatalf("read %s and cannot write it: %v", Format(got), err)
		}
		same, none, err := limits.Decode(again)
		if err != nil || len(none) > 0 || !Equal(same, got) || Compare(same, got) != 0 {
			t.Fatalf("%s became %v (%v)", Format(got), same, err)
		}
		canonical, err := Canonical(got)
		if err != nil || len(canonical) != len(again) {
			t.Fatalf("canonical form of %s: %d bytes instead of %d (%v)", Format(got), len(canonical), len(again), err)
		}
		if text := Format(got); text != Format(same) || !printable(text) {
			t.Fatalf("%q is not printable text", text)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"[{bc_gitops, [{repo_url, <<\"https://x/y\">>}, {reconcile_interval, 60000}]}].",
		"#{name => my_app, env => #{\"k\" => <<\"x\"/utf8>>, $a => -16#ff, 1.5e-3 => [a|b]}}. % end",
		"'it\\'s'. \"a\" \"\\x{1F600}\\^A\\777\". <<1,2,\"abc\">>. {}. fun lists:map/2.",
		"%% coding: latin-1\n\"\xe9\". 1_000. +1. -0.0. (a).", "<<1,2:16>>.", "#{a => 1, a => 2}.", "\"abc", "$\\",
		"[[[[[1|2]|3]]]]. 123456789012345678901234567890.", "~\"x\".", "\u00a0'\u202e'. \"\u65e5\".",
	} {
		f.Add([]byte(s))
	}
	limits := Limits{Depth: 64, Nodes: 10000}
	f.Fuzz(func(t *testing.T, src []byte) {
		nodes, err := limits.ParseNodes(src)
		if err != nil {
			if nodes != nil {
				t.Fatalf("nodes beside %v", err)
			}
			return
		}
		var read []Term
		for _, n := range nodes {
			checkPlaces(t, n)
			read = append(read, n.Term)
		}
		text := WriteConsult(read...)
		again, err := limits.ParseNodes(text)
		if err != nil || len(again) != len(read) {
			t.Fatalf("%q written as %q: %v", src, text, err)
		}
		for i, n := range again {
			if !Equal(n.Term, read[i]) {
				t.Fatalf("%s became %s", Format(read[i]), Format(n.Term))
			}
			b, err := Encode(n.Term)
			if err != nil {
				t.Fatalf("%s cannot be encoded: %v", Format(n.Term), err)
			}
			if back, _, err := (Limits{Depth: 70, Nodes: 1 << 20}).Decode(b); err != nil || !Equal(back, n.Term) {
				t.Fatalf("%s became %v in the external format: %v", Format(n.Term), back, err)
			}
		}
		if !bytes.Equal(text, WriteConsult(read...)) {
			t.Fatal("text is not the same twice")
		}
	})
}

// checkPlaces holds that every part begins inside the text, and that children
// are what Term says.
func checkPlaces(t *testing.T, n *Node) {
	if n.Line < 1 || n.Column < 1 {
		t.Fatalf("%s at %d:%d", Format(n.Term), n.Line, n.Column)
	}
	switch term := n.Term.(type) {
	case Tuple:
		if len(term) != len(n.Children) {
			t.Fatalf("tuple of %d has %d children", len(term), len(n.Children))
		}
	case Map:
		if 2*len(term) != len(n.Children) {
			t.Fatalf("map of %d has %d children", len(term), len(n.Children))
		}
	}
	for _, c := range n.Children {
		checkPlaces(t, c)
	}
}
