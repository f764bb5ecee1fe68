package app

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"beamsandbox/distribution/term"
)

// readYAML reads one YAML document. Keys become atoms and strings binaries, as
// bc_gitops has it; the tags !atom and !charlist give the other two texts of
// Erlang. Aliases and merge keys are refused: a few lines of them expand
// without bound.
func readYAML(src []byte) (*term.Node, *SyntaxError) {
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(src))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, &SyntaxError{Line: 1, Column: 1, Msg: "the file is empty"}
	case err != nil:
		return nil, yamlError(err)
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		return nil, yamlRefusal(&more, "a second document begins: one file describes one app")
	case !errors.Is(err, io.EOF):
		return nil, yamlError(err)
	}
	return fromYAML(doc.Content[0], 0)
}

// yamlError takes the place out of the reader's message, "yaml: line 3: …".
func yamlError(err error) *SyntaxError {
	m := regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`).FindStringSubmatch(err.Error())
	if m == nil {
		return &SyntaxError{Line: 1, Column: 1, Msg: oneLine(err.Error())}
	}
	line, err := strconv.Atoi(m[1])
	if err != nil {
		line = 1
	}
	return &SyntaxError{Line: line, Column: 1, Msg: m[2]}
}

func yamlRefusal(n *yaml.Node, msg string) *SyntaxError {
	return &SyntaxError{Line: n.Line, Column: n.Column, Msg: msg}
}

func fromYAML(n *yaml.Node, depth int) (*term.Node, *SyntaxError) {
	if depth > maxDepth {
		return nil, yamlRefusal(n, "values are nested too deeply")
	}
	switch n.Kind {
	case yaml.MappingNode:
		return yamlMap(n, depth)
	case yaml.SequenceNode:
		return yamlList(n, depth)
	case yaml.ScalarNode:
		return yamlScalar(n)
	}
	return nil, yamlRefusal(n, "aliases are not supported: write the value out")
}

func yamlMap(n *yaml.Node, depth int) (*term.Node, *SyntaxError) {
	out := &term.Node{Line: n.Line, Column: n.Column}
	m := make(term.Map, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := yamlKey(n.Content[i])
		if err != nil {
			return nil, err
		}
		value, err := fromYAML(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		m = append(m, term.Pair{Key: key.Term, Value: value.Term})
		out.Children = append(out.Children, key, value)
	}
	out.Term = m
	return out, unique(out)
}

func yamlKey(n *yaml.Node) (*term.Node, *SyntaxError) {
	switch {
	case n.Kind != yaml.ScalarNode:
		return nil, yamlRefusal(n, "keys must be plain words")
	case n.ShortTag() == "!!merge":
		return nil, yamlRefusal(n, "merge keys are not supported: write the keys out")
	}
	return keyNode(n.Value, n.Line, n.Column)
}

// keyNode makes the key of a map. Erlang ends atoms at 255 characters.
func keyNode(s string, line, column int) (*term.Node, *SyntaxError) {
	if utf8.RuneCountInString(s) > 255 {
		return nil, &SyntaxError{Line: line, Column: column, Msg: "a key has more than 255 characters"}
	}
	return &term.Node{Line: line, Column: column, Term: term.Atom(s)}, nil
}

// unique refuses a second value for one key, which YAML and JSON readers let
// pass.
func unique(n *term.Node) *SyntaxError {
	lines := map[term.Term]int{}
	for i := 0; i < len(n.Children); i += 2 {
		k := n.Children[i]
		if first, twice := lines[k.Term]; twice {
			return &SyntaxError{Line: k.Line, Column: k.Column,
				Msg: "key " + oneLine(string(k.Term.(term.Atom))) + " is there twice, first on line " + strconv.Itoa(first)}
		}
		lines[k.Term] = k.Line
	}
	return nil
}

func yamlList(n *yaml.Node, depth int) (*term.Node, *SyntaxError) {
	out := &term.Node{Line: n.Line, Column: n.Column}
	var l term.List
	for _, c := range n.Content {
		v, err := fromYAML(c, depth+1)
		if err != nil {
			return nil, err
		}
		l.Elems = append(l.Elems, v.Term)
		out.Children = append(out.Children, v)
	}
	out.Term = l
	return out, nil
}

func yamlScalar(n *yaml.Node) (*term.Node, *SyntaxError) {
	out := &term.Node{Line: n.Line, Column: n.Column}
	var ok bool
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		out.Term, ok = term.Binary(n.Value), true
	case "!!null":
		out.Term, ok = term.Atom("null"), true
	case "!!bool":
		var b bool
		ok = n.Decode(&b) == nil
		out.Term = term.Atom(strconv.FormatBool(b))
	case "!!int", "!!float":
		out.Term, ok = yamlNumber(n)
	case "!atom":
		out.Term, ok = term.Atom(n.Value), utf8.RuneCountInString(n.Value) <= 255
	case "!charlist":
		out.Term, ok = term.String(n.Value), true
	default:
		return nil, yamlRefusal(n, "tag "+oneLine(n.Tag)+" is not supported: only !atom and !charlist are")
	}
	if !ok {
		return nil, yamlRefusal(n, oneLine(n.Value)+" is not a value of type "+n.ShortTag()+" that Erlang has")
	}
	return out, nil
}

// yamlNumber returns an integer or a finite float. The reader makes floats of
// decimal integers beyond 64 bits, so those are read here.
func yamlNumber(n *yaml.Node) (term.Term, bool) {
	if t, ok := integer(n.Value); ok && (len(n.Value) == 1 || n.Value[0] != '0') {
		return t, true
	}
	var v any
	if n.Decode(&v) != nil {
		return nil, false
	}
	switch v := v.(type) {
	case int:
		return term.Int(v), true
	case int64:
		return term.Int(v), true
	case uint64:
		return new(big.Int).SetUint64(v), true
	case float64:
		return term.Float(v), !math.IsNaN(v) && !math.IsInf(v, 0)
	}
	return nil, false
}

// integer reads decimal digits of any number up to a thousand.
func integer(s string) (term.Term, bool) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return term.Int(i), true
	}
	if len(s) > 1000 {
		return nil, false
	}
	if b, ok := new(big.Int).SetString(s, 10); ok {
		return b, true
	}
	return nil, false
}
