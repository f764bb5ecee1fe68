package app

import (
	"slices"
	"strconv"

	"beamsandbox/distribution/term"
)

// Bounds of one file: who writes it is not trusted, and every reader here
// recurses.
const (
	maxFile  = 1 << 20 // bytes
	maxDepth = 100
)

// A file of any format is read into a tree of term.Node, so that one mapping
// serves all three. YAML and JSON have fewer types: their texts are binaries,
// and true, false and null the only atoms that they write by themselves.

// entry is one key of a map or proplist.
type entry struct {
	key   string // the atom's text; "" when the key is no atom
	at    *term.Node
	value *term.Node
}

// entries returns the keys of a map or proplist in file order. A list of YAML
// or JSON is never a proplist.
func (r *reader) entries(n *term.Node) ([]entry, bool) {
	if _, list := n.Term.(term.List); list && r.format != Erlang {
		return nil, false
	}
	pairs, ok := n.Entries()
	list := make([]entry, len(pairs))
	for i, p := range pairs {
		key, _ := p.Key.Term.(term.Atom)
		list[i] = entry{key: string(key), at: p.Key, value: p.Value}
	}
	return list, ok
}

// absent reports whether n stands for no value at all.
func (r *reader) absent(n *term.Node) bool {
	if n == nil {
		return true
	}
	a, _ := n.Term.(term.Atom)
	return a == "undefined" || a == "null" && r.format != Erlang
}

// text returns a binary, a charlist or an atom as a string.
func (r *reader) text(n *term.Node) (string, bool) {
	if a, ok := n.Term.(term.Atom); ok && r.format != Erlang && slices.Contains([]term.Atom{"true", "false", "null"}, a) {
		return "", false
	}
	return term.Text(n.Term)
}

// elements returns the parts of a list. A charlist has none: it is text,
// whatever its list holds.
func elements(n *term.Node) ([]*term.Node, bool) {
	l, ok := n.Term.(term.List)
	if !ok || l.Tail != nil || len(l.Elems) != len(n.Children) {
		return nil, false
	}
	return n.Children, true
}

// show writes a term as its file would, cut to one short line.
func (r *reader) show(n *term.Node) string {
	const most = 60
	s := r.render(n.Term)
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return s
}

func (r *reader) render(t term.Term) string {
	if r.format == Erlang {
		return term.Format(t)
	}
	switch t := t.(type) {
	case term.Binary:
		return strconv.Quote(string(t))
	case term.Atom:
		return string(t)
	case term.Map:
		return "a map"
	case term.List:
		return "a list"
	}
	return term.Format(t)
}
