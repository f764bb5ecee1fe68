package term

// Parse reads text as file:consult/1 does: terms that each end in a '.'.
// The text is UTF-8, or Latin-1 where a comment in its first two lines says
// "coding: latin-1". It differs from OTP on purpose in two points: a key that
// comes twice in one map is an error, and segments of binaries are bytes 0 to
// 255 and strings only, with no type but /utf8. Errors are *SyntaxError.
func Parse(src []byte) ([]Term, error) {
	nodes, err := ParseNodes(src)
	if err != nil {
		return nil, err
	}
	terms := make([]Term, len(nodes))
	for i, n := range nodes {
		terms[i] = n.Term
	}
	return terms, nil
}

// ParseNodes is Parse with the place of every part.
func ParseNodes(src []byte) ([]*Node, error) { return Limits{}.ParseNodes(src) }

// ParseNodes is the function ParseNodes within l.
func (l Limits) ParseNodes(src []byte) ([]*Node, error) {
	text, err := decodeSource(src)
	if err != nil {
		return nil, err
	}
	l = l.withDefaults()
	p := &parser{scanner: scanner{src: text, line: 1, column: 1}, depth: l.Depth, nodes: l.Nodes}
	if err := p.advance(); err != nil {
		return nil, err
	}
	var all []*Node
	for p.tok.kind != endOfText {
		n, err := p.term()
		if err != nil {
			return nil, err
		}
		if p.tok.kind != dot {
			return nil, p.unexpected("'.' after a term")
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// parser reads terms from tokens, one ahead.
type parser struct {
	scanner  scanner
	tok      token // not yet used
	depth    int   // levels still allowed
	nodes    int   // terms still allowed
	keyDepth int   // map keys around the current term
}

func (p *parser) advance() (err error) {
	p.tok, err = p.scanner.scan()
	return err
}

func (p *parser) unexpected(expected string) error {
	switch p.tok.kind {
	case variable:
		return p.tok.errorf("expected %s, found variable %s (an atom needs quotes: '%s')", expected, p.tok.text, p.tok.text)
	case keyword:
		return p.tok.errorf("expected %s, found reserved word %s (an atom needs quotes: '%s')", expected, p.tok.text, p.tok.text)
	case mark:
		if p.tok.text == "." {
			return p.tok.errorf("expected %s, found '.' without a blank or the end after it", expected)
		}
	}
	return p.tok.errorf("expected %s, found %s", expected, p.tok)
}

func (p *parser) at(text string) bool { return p.tok.kind == mark && p.tok.text == text }

// expect uses up a mark.
func (p *parser) expect(text, expected string) error {
	if !p.at(text) {
		return p.unexpected(expected)
	}
	return p.advance()
}

// node makes the node of a part that begins at tok.
func (p *parser) node(tok token, t Term, children ...*Node) *Node {
	return &Node{Term: t, Line: tok.line, Column: tok.column, Children: children}
}

// term reads one term and the token after it.
func (p *parser) term() (*Node, error) {
	if p.nodes == 0 {
		return nil, p.tok.errorf("text has more terms than the limit allows")
	}
	p.nodes--
	switch p.tok.kind {
	case atomToken:
		return p.leaf(Atom(p.tok.text))
	case number, character:
		return p.leaf(p.tok.value)
	case quotedText:
		return p.text()
	case keyword:
		if p.tok.text == "fun" {
			return p.export()
		}
	case mark:
		return p.compound()
	}
	return nil, p.unexpected("a term")
}

func (p *parser) leaf(t Term) (*Node, error) {
	n := p.node(p.tok, t)
	return n, p.advance()
}

func (p *parser) compound() (*Node, error) {
	if p.depth == 0 {
		return nil, p.tok.errorf("term is nested deeper than the limit allows")
	}
	p.depth--
	defer func() { p.depth++ }()
	switch p.tok.text {
	case "{":
		return p.tuple()
	case "[":
		return p.list()
	case "#":
		return p.mapping()
	case "<<":
		return p.binary()
	case "-", "+":
		return p.signed()
	case "(":
		return p.parens()
	case "~":
		return nil, p.tok.errorf("sigils are not read, write <<\"...\"/utf8>>")
	}
	return nil, p.unexpected("a term")
}

func (p *parser) parens() (*Node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.term()
	if err != nil {
		return nil, err
	}
	return n, p.expect(")", "')'")
}

// signed reads a number after one sign; a second sign is no term in Erlang.
func (p *parser) signed() (*Node, error) {
	sign := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.at("-") || p.at("+") {
		return nil, p.unexpected("a number after '" + sign.text + "'")
	}
	at := p.tok
	n, err := p.term()
	if err != nil {
		return nil, err
	}
	t, ok := n.Term, true
	if sign.text == "-" {
		t, ok = negated(t)
	} else {
		_, ok = negated(t)
	}
	if !ok {
		return nil, at.errorf("expected a number after '%s', found %s", sign.text, at)
	}
	return p.node(sign, t), nil
}

// text reads "a" "b", one charlist.
func (p *parser) text() (*Node, error) {
	first := p.tok
	s, err := p.strings()
	return p.node(first, String(s)), err
}

// strings joins strings that follow each other.
func (p *parser) strings() (string, error) {
	s := []byte(p.tok.text)
	for {
		if err := p.advance(); err != nil {
			return "", err
		}
		if p.tok.kind != quotedText {
			return string(s), nil
		}
		s = append(s, p.tok.text...)
	}
}

func (p *parser) tuple() (*Node, error) {
	open := p.tok
	elems, err := p.sequence("}")
	if err != nil {
		return nil, err
	}
	if err := p.expect("}", "',' or '}'"); err != nil {
		return nil, err
	}
	return p.node(open, append(Tuple{}, terms(elems)...), elems...), nil
}

// sequence uses up the opening mark and reads terms with commas up to, but not
// including, what is no comma. None may stand before the closing mark.
func (p *parser) sequence(closing string) ([]*Node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.at(closing) {
		return nil, nil
	}
	var elems []*Node
	for {
		n, err := p.term()
		if err != nil {
			return nil, err
		}
		elems = append(elems, n)
		if !p.at(",") {
			return elems, nil
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
}

func (p *parser) list() (*Node, error) {
	open := p.tok
	elems, err := p.sequence("]")
	if err != nil {
		return nil, err
	}
	l := List{Elems: terms(elems)}
	if p.at("|") && len(elems) > 0 {
		if err := p.advance(); err != nil {
			return nil, err
		}
		tail, err := p.term()
		if err != nil {
			return nil, err
		}
		elems, l = withTail(elems, l, tail)
	}
	if err := p.expect("]", "',', '|' or ']'"); err != nil {
		return nil, err
	}
	return p.node(open, l, elems...), nil
}

// export reads fun m:f/1, the one fun that has a text form.
func (p *parser) export() (*Node, error) {
	first := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	var parts [3]Term
	for i, after := range [...]string{":", "/", ""} {
		parts[i] = p.tok.value
		if i < 2 {
			if p.tok.kind != atomToken {
				return nil, p.unexpected("a module, ':', a function, '/' and an arity after fun")
			}
			parts[i] = Atom(p.tok.text)
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		if after != "" {
			if err := p.expect(after, "'"+after+"' in fun m:f/1"); err != nil {
				return nil, err
			}
		}
	}
	f, err := exported(parts)
	if err != nil {
		return nil, first.errorf("%v", err)
	}
	return p.node(first, f), nil
}
