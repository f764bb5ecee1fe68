package app

import (
	"strconv"

	"beamsandbox/distribution/term"
)

// Bounds of one file: who writes it is not trusted, and every reader here
// recurses.
const (
	maxFile  = 1 << 20 // bytes
	maxDepth = 100
)

// node is one term and its place. The children of a map are its keys and
// values in turn, those of a list or tuple its elements. All three formats
// are read into this tree, so that one mapping serves them.
type node struct {
	line, column int
	term         term.Term
	children     []*node
	anyText      bool // a text where Erlang would have an atom (YAML and JSON)
}

// entry is one key of a map or proplist.
type entry struct {
	key   string // the key's text, "" when it has none
	at    *node
	value *node
}

// entries returns the keys of a map or proplist in file order; a bare atom in
// a proplist means true, as in Erlang.
func (n *node) entries() ([]entry, bool) {
	if _, ok := n.term.(term.Map); ok {
		list := make([]entry, 0, len(n.children)/2)
		for i := 0; i+1 < len(n.children); i += 2 {
			list = append(list, newEntry(n.children[i], n.children[i+1]))
		}
		return list, true
	}
	l, ok := n.term.(term.List)
	if !ok || l.Tail != nil || n.anyText || len(l.Elems) != len(n.children) {
		return nil, false
	}
	list := make([]entry, 0, len(n.children))
	for _, c := range n.children {
		switch t := c.term.(type) {
		case term.Atom:
			list = append(list, newEntry(c, &node{line: c.line, column: c.column, term: term.Atom("true")}))
		case term.Tuple:
			if len(t) != 2 {
				return nil, false
			}
			list = append(list, newEntry(c.children[0], c.children[1]))
		default:
			return nil, false
		}
	}
	return list, true
}

func newEntry(key, value *node) entry {
	s, _ := key.term.(term.Atom)
	return entry{key: string(s), at: key, value: value}
}

// absent reports whether the value stands for no value at all.
func (n *node) absent() bool {
	return n == nil || n.term == term.Term(term.Atom("undefined")) || n.anyText && n.term == term.Term(term.Atom("null"))
}

// text returns a binary, a charlist or an atom as a string; true, false and
// null of YAML and JSON are none.
func (n *node) text() (string, bool) {
	if _, ok := n.term.(term.Atom); ok && n.anyText {
		return "", false
	}
	return term.Text(n.term)
}

// show writes a term as its file would, shortened to one short line.
func (n *node) show() string {
	const most = 60
	s := n.render()
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}

func (n *node) render() string {
	if !n.anyText {
		return term.Format(n.term)
	}
	switch t := n.term.(type) {
	case term.Binary:
		return strconv.Quote(string(t))
	case term.Atom:
		return string(t)
	case term.Map:
		return "an object"
	case term.List:
		return "a list"
	}
	return term.Format(n.term)
}
