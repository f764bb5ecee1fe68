package term

import (
	"fmt"
	"math/big"
	"unicode/utf8"
)

// terms is the terms of nodes.
func terms(nodes []*Node) []Term {
	if len(nodes) == 0 {
		return nil
	}
	all := make([]Term, len(nodes))
	for i, n := range nodes {
		all[i] = n.Term
	}
	return all
}

// withTail adds what follows '|'; a tail that is a list continues l.
func withTail(elems []*Node, l List, tail *Node) ([]*Node, List) {
	rest, ok := tail.Term.(List)
	if !ok {
		l.Tail = tail.Term
		return append(elems, tail), l
	}
	l.Elems = append(l.Elems, rest.Elems...)
	l.Tail = rest.Tail
	if tail.Children == nil { // a string
		for _, c := range rest.Elems {
			elems = append(elems, &Node{Term: c, Line: tail.Line, Column: tail.Column})
		}
	}
	return append(elems, tail.Children...), l
}

func negated(t Term) (Term, bool) {
	switch t := t.(type) {
	case Int:
		return shrink(new(big.Int).Neg(bigOf(t))), true
	case *big.Int:
		return shrink(new(big.Int).Neg(t)), true
	case Float:
		return -t, true
	}
	return nil, false
}

// exported makes fun m:f/a.
func exported(parts [3]Term) (Term, error) {
	arity, ok := parts[2].(Int)
	if !ok || arity < 0 || arity > 255 {
		return nil, fmt.Errorf("fun needs an arity from 0 to 255")
	}
	e := encoder{buf: []byte{tagExport}}
	for _, t := range []Term{parts[0], parts[1], arity} {
		if err := e.term(t); err != nil {
			return nil, err
		}
	}
	return Fun{Encoded: e.buf}, nil
}

// mapping reads #{key => value, …}.
func (p *parser) mapping() (*Node, error) {
	open := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	if !p.at("{") {
		return nil, p.unexpected("'{' of a map after '#'")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	n := p.node(open, Map{})
	seen := newKeySet(0)
	for !p.at("}") || len(n.Children) > 0 {
		if err := p.pair(n, seen); err != nil {
			return nil, err
		}
		if !p.at(",") {
			break
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	return n, p.expect("}", "',' or '}'")
}

// pair reads one association into the node of a map.
func (p *parser) pair(n *Node, seen keySet) error {
	key, err := p.key()
	if err != nil {
		return err
	}
	if !seen.add(key.Term) {
		return &SyntaxError{key.Line, key.Column, "map has the key " + brief(key.Term) + " twice"}
	}
	if err := p.expect("=>", "'=>' after a key"); err != nil {
		return err
	}
	value, err := p.term()
	if err != nil {
		return err
	}
	n.Term = append(n.Term.(Map), Pair{key.Term, value.Term})
	n.Children = append(n.Children, key, value)
	return nil
}

func (p *parser) key() (*Node, error) {
	if p.keyDepth == maxKeyDepth {
		return nil, p.tok.errorf("maps in keys of maps are nested too deep")
	}
	p.keyDepth++
	defer func() { p.keyDepth-- }()
	return p.term()
}

// binary reads <<segment, …>>.
func (p *parser) binary() (*Node, error) {
	open := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	b := Binary{}
	for !p.at(">>") || len(b) > 0 {
		var err error
		if b, err = p.segment(b); err != nil {
			return nil, err
		}
		if !p.at(",") {
			break
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.at(">>") {
			return nil, p.unexpected("a segment")
		}
	}
	return p.node(open, b), p.expect(">>", "',' or '>>'")
}

// segment appends one segment: a byte or a string, either with /utf8 or without.
func (p *parser) segment(b Binary) (Binary, error) {
	first := p.tok
	points, isText, err := p.segmentValue()
	if err != nil {
		return nil, err
	}
	if p.at(":") {
		return nil, p.tok.errorf("sized segments of binaries are not read, write the bytes")
	}
	asUTF8, err := p.segmentType()
	if err != nil {
		return nil, err
	}
	for _, c := range points {
		switch {
		case asUTF8 && !utf8.ValidRune(c):
			return nil, first.errorf("%d in a binary is no character", c)
		case asUTF8:
			b = utf8.AppendRune(b, c)
		case c < 0 || c > 255:
			return nil, byteRange(first, c, isText)
		default:
			b = append(b, byte(c))
		}
	}
	return b, nil
}

func byteRange(first token, c rune, isText bool) error {
	if isText {
		return first.errorf("character %q in a binary does not fit one byte, write <<\"...\"/utf8>>", c)
	}
	return first.errorf("%d in a binary does not fit one byte, expected 0 to 255", c)
}

// segmentValue reads the code points of a segment.
func (p *parser) segmentValue() (points []rune, isText bool, err error) {
	if p.tok.kind == quotedText {
		s, err := p.strings()
		return []rune(s), true, err
	}
	n, err := p.term()
	if err != nil {
		return nil, false, err
	}
	c, ok := n.Term.(Int)
	if !ok || Int(rune(c)) != c {
		return nil, false, &SyntaxError{n.Line, n.Column, "expected a byte from 0 to 255 or a string in a binary, found " + brief(n.Term)}
	}
	return []rune{rune(c)}, false, nil
}

func (p *parser) segmentType() (asUTF8 bool, err error) {
	if !p.at("/") {
		return false, nil
	}
	if err := p.advance(); err != nil {
		return false, err
	}
	if p.tok.kind != atomToken || p.tok.text != "utf8" {
		return false, p.tok.errorf("type %s of a segment is not read, only /utf8", p.tok)
	}
	return true, p.advance()
}
