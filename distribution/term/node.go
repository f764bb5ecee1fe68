package term

// Node is a term that was read from text, with the place of its first
// character. Line and Column count from 1, columns in characters.
//
// Children are the elements of a tuple or list (an improper tail comes last)
// and the keys and values of a map in turn: key, value, key, value. They are in
// the order of the elements of Term. Numbers, atoms, binaries and strings have
// none.
type Node struct {
	Term         Term
	Line, Column int
	Children     []*Node
}

// Entry is one association of a map or a property list.
type Entry struct{ Key, Value *Node }

// Entries is Proplist with places: the associations of a map or a property
// list. A bare atom of a property list has the value true at its own place.
func (n *Node) Entries() ([]Entry, bool) {
	switch t := n.Term.(type) {
	case Map:
		return n.associations(), true
	case List:
		if t.Tail != nil || len(t.Elems) != len(n.Children) {
			return nil, false
		}
		entries := make([]Entry, 0, len(n.Children))
		for _, c := range n.Children {
			e, ok := c.property()
			if !ok {
				return nil, false
			}
			entries = append(entries, e)
		}
		return entries, true
	}
	return nil, false
}

func (n *Node) associations() []Entry {
	entries := make([]Entry, 0, len(n.Children)/2)
	for i := 0; i+1 < len(n.Children); i += 2 {
		entries = append(entries, Entry{n.Children[i], n.Children[i+1]})
	}
	return entries
}

func (n *Node) property() (Entry, bool) {
	if _, ok := n.Term.(Atom); ok {
		return Entry{n, &Node{Term: Atom("true"), Line: n.Line, Column: n.Column}}, true
	}
	if t, ok := n.Term.(Tuple); ok && len(t) == 2 && len(n.Children) == 2 {
		return Entry{n.Children[0], n.Children[1]}, true
	}
	return Entry{}, false
}

// Get is the first entry with that key in a map or a property list.
func (n *Node) Get(key Term) (Entry, bool) {
	entries, _ := n.Entries()
	for _, e := range entries {
		if Equal(e.Key.Term, key) {
			return e, true
		}
	}
	return Entry{}, false
}
