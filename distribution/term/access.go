package term

import "unicode/utf8"

// String is s as a charlist, the list of its code points, as "..." in Erlang.
func String(s string) List {
	var l List
	for _, r := range s {
		l.Elems = append(l.Elems, Int(r))
	}
	return l
}

// Text is the text in t: a binary of UTF-8, a charlist or an atom.
// The empty list is the empty text.
func Text(t Term) (string, bool) {
	switch t := t.(type) {
	case Atom:
		return string(t), true
	case Binary:
		return string(t), utf8.Valid(t)
	case List:
		return t.text()
	}
	return "", false
}

func (l List) text() (string, bool) {
	elems, ok := l.Proper()
	if !ok {
		return "", false
	}
	s := make([]byte, 0, len(elems))
	for _, t := range elems {
		c, ok := t.(Int)
		if !ok || c < 0 || c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
			return "", false
		}
		s = utf8.AppendRune(s, rune(c))
	}
	return string(s), true
}

// Get is the value at key, compared exactly (1 is not 1.0).
func (m Map) Get(key Term) (Term, bool) {
	for _, p := range m {
		if Equal(p.Key, key) {
			return p.Value, true
		}
	}
	return nil, false
}

// Proper is the elements of l, unless l is improper ([a|b]).
func (l List) Proper() ([]Term, bool) {
	l = l.joined()
	return l.Elems, l.Tail == nil
}

// joined is l with a Tail that is itself a list taken in: [a|[b]] is [a, b].
func (l List) joined() List {
	rest, ok := l.Tail.(List)
	if !ok {
		return l
	}
	elems := append(make([]Term, 0, len(l.Elems)+len(rest.Elems)), l.Elems...)
	for ok {
		elems = append(elems, rest.Elems...)
		l.Tail = rest.Tail
		rest, ok = l.Tail.(List)
	}
	return List{Elems: elems, Tail: l.Tail}
}

// Proplist is the pairs of a map or a property list, in their order; a bare
// atom of a property list counts as {Atom, true}. Keys may come twice in a
// property list, where the first one holds.
func Proplist(t Term) ([]Pair, bool) {
	switch t := t.(type) {
	case Map:
		return t, true
	case List:
		elems, ok := t.Proper()
		if !ok {
			return nil, false
		}
		pairs := make([]Pair, 0, len(elems))
		for _, e := range elems {
			p, ok := property(e)
			if !ok {
				return nil, false
			}
			pairs = append(pairs, p)
		}
		return pairs, true
	}
	return nil, false
}

func property(t Term) (Pair, bool) {
	switch t := t.(type) {
	case Atom:
		return Pair{t, Atom("true")}, true
	case Tuple:
		if len(t) == 2 {
			return Pair{t[0], t[1]}, true
		}
	}
	return Pair{}, false
}
