package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"unicode/utf8"

	"beamsandbox/distribution/term"
)

// readJSON reads one JSON value (RFC 8259): objects with atom keys, strings as
// binaries, true, false and null as atoms.
func readJSON(src []byte) (*term.Node, *SyntaxError) {
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
	src          []byte
	dec          *json.Decoder
	seen         int // bytes that line and column count
	line, column int // from 0; columns are characters
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
		switch b := d.src[d.seen]; {
		case b == '\n':
			d.line, d.column = d.line+1, 0
		case utf8.RuneStart(b):
			d.column++
		}
	}
	return d.line + 1, d.column + 1
}

func (d *jsonReader) refusal(at int, msg string) *SyntaxError {
	line, column := d.locate(at)
	return &SyntaxError{Line: line, Column: column, Msg: msg}
}

// token reads one token and says where it began.
func (d *jsonReader) token() (json.Token, *term.Node, *SyntaxError) {
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
	return t, &term.Node{Line: line, Column: column}, nil
}

func (d *jsonReader) value(depth int) (*term.Node, *SyntaxError) {
	t, n, err := d.token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, &SyntaxError{Line: n.Line, Column: n.Column, Msg: "values are nested too deeply"}
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return d.object(n, depth)
		}
		return d.array(n, depth)
	case string:
		n.Term = term.Binary(t)
	case bool:
		n.Term = term.Atom("false")
		if t {
			n.Term = term.Atom("true")
		}
	case nil:
		n.Term = term.Atom("null")
	case json.Number:
		return jsonNumber(n, t)
	}
	return n, nil
}

func jsonNumber(n *term.Node, s json.Number) (*term.Node, *SyntaxError) {
	if t, ok := integer(s.String()); ok {
		n.Term = t
		return n, nil
	}
	f, err := s.Float64()
	if err != nil || math.IsInf(f, 0) {
		return nil, &SyntaxError{Line: n.Line, Column: n.Column, Msg: "the number is too large"}
	}
	n.Term = term.Float(f)
	return n, nil
}

func (d *jsonReader) object(n *term.Node, depth int) (*term.Node, *SyntaxError) {
	m := term.Map{}
	for d.dec.More() {
		t, at, err := d.token()
		if err != nil {
			return nil, err
		}
		s, _ := t.(string) // the decoder takes nothing else for a key
		key, err := keyNode(s, at.Line, at.Column)
		if err != nil {
			return nil, err
		}
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		m = append(m, term.Pair{Key: key.Term, Value: value.Term})
		n.Children = append(n.Children, key, value)
	}
	n.Term = m
	return d.end(n, unique(n))
}

func (d *jsonReader) array(n *term.Node, depth int) (*term.Node, *SyntaxError) {
	var l term.List
	for d.dec.More() {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l.Elems = append(l.Elems, v.Term)
		n.Children = append(n.Children, v)
	}
	n.Term = l
	return d.end(n, nil)
}

// end reads the closing bracket.
func (d *jsonReader) end(n *term.Node, err *SyntaxError) (*term.Node, *SyntaxError) {
	if _, _, syntax := d.token(); syntax != nil {
		return nil, syntax
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}
