package app

import (
	"errors"

	"beamsandbox/distribution/term"
)

// readErlang reads the one term of an Erlang configuration file.
func readErlang(src []byte) (*term.Node, *SyntaxError) {
	terms, err := term.Limits{Depth: maxDepth}.ParseNodes(src)
	var syntax *term.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, &SyntaxError{Line: syntax.Line, Column: syntax.Column, Msg: syntax.Msg}
	case err != nil:
		return nil, &SyntaxError{Line: 1, Column: 1, Msg: err.Error()}
	case len(terms) == 0:
		return nil, &SyntaxError{Line: 1, Column: 1, Msg: "the file is empty: it needs one map or proplist and a full stop"}
	case len(terms) > 1:
		return nil, &SyntaxError{Line: terms[1].Line, Column: terms[1].Column, Msg: "a second term begins: the file is one map or proplist and a full stop"}
	}
	return terms[0], nil
}
