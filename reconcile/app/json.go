package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"

	"beamsandbox/distribution/term"
)

// readJSON reads one JSON value (RFC 8259): objects with atom keys, strings as
// binaries, true, false and null as atoms.
func readJSON(src []byte) (*node, *SyntaxError) {
	d := jsonReader{src: src, dec: json.NewDecoder(bytes.NewReader(src))}
	d.dec.UseNumber()
	n, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if at := d.next(); at < len(src) {
		return nil, d.refusal(at, "more follows the first value")
	}
	return n, nil
}

type jsonReader struct {
	src        []byte
	dec        *json.Decoder
	seen       int // bytes whose lines are counted
	line, from int // line of seen, and where that line begins
}

// next returns where the next token begins.
func (d *jsonReader) next() int {
	at := int(d.dec.InputOffset())
	for at < len(d.src) && bytes.IndexByte([]byte(" \t\r\n,:"), d.src[at]) >= 0 {
		at++
	}
	return at
}

// locate returns line and column of an offset that is not before the last one
// asked for.
func (d *jsonReader) locate(at int) (line, column int) {
	for ; d.seen < min(at, len(d.src)); d.seen++ {
		if d.src[d.seen] == '\n' {
			d.line++
			d.from = d.seen + 1
		}
	}
	return d.line + 1, at - d.from + 1
}

func (d *jsonReader) refusal(at int, msg string) *SyntaxError {
	line, column := d.locate(at)
	return &SyntaxError{Line: line, Column: column, Msg: msg}
}

// token reads one token and says where it began.
func (d *jsonReader) token() (json.Token, *node, *SyntaxError) {
	at := d.next()
	t, err := d.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, nil, d.refusal(max(int(syntax.Offset)-1, at), syntax.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, nil, d.refusal(len(d.src), "the file ends too early")
	case err != nil:
		return nil, nil, d.refusal(at, err.Error())
	}
	line, column := d.locate(at)
	return t, &node{line: line, column: column, anyText: true}, nil
}

func (d *jsonReader) value(depth int) (*node, *SyntaxError) {
	t, n, err := d.token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, &SyntaxError{Line: n.line, Column: n.column, Msg: "values are nested too deeply"}
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return d.object(n, depth)
		}
		return d.array(n, depth)
	case string:
		n.term = term.Binary(t)
	case bool:
		n.term = term.Atom("false")
		if t {
			n.term = term.Atom("true")
		}
	case nil:
		n.term = term.Atom("null")
	case json.Number:
		return jsonNumber(n, t)
	}
	return n, nil
}

func jsonNumber(n *node, s json.Number) (*node, *SyntaxError) {
	if t, ok := integer(s.String()); ok {
		n.term = t
		return n, nil
	}
	f, err := s.Float64()
	if err != nil || math.IsInf(f, 0) {
		return nil, &SyntaxError{Line: n.line, Column: n.column, Msg: "the number is too large"}
	}
	n.term = term.Float(f)
	return n, nil
}

func (d *jsonReader) object(n *node, depth int) (*node, *SyntaxError) {
	m := term.Map{}
	for d.dec.More() {
		t, at, err := d.token()
		if err != nil {
			return nil, err
		}
		s, _ := t.(string) // the decoder takes nothing else for a key
		key, err := keyNode(s, at.line, at.column)
		if err != nil {
			return nil, err
		}
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		m = append(m, term.Pair{Key: key.term, Value: value.term})
		n.children = append(n.children, key, value)
	}
	n.term = m
	return d.end(n, unique(n))
}

func (d *jsonReader) array(n *node, depth int) (*node, *SyntaxError) {
	var l term.List
	for d.dec.More() {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l.Elems = append(l.Elems, v.term)
		n.children = append(n.children, v)
	}
	n.term = l
	return d.end(n, nil)
}

// end reads the closing bracket.
func (d *jsonReader) end(n *node, err *SyntaxError) (*node, *SyntaxError) {
	if _, _, syntax := d.token(); syntax != nil {
		return nil, syntax
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}
