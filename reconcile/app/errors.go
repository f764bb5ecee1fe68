package app

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// FieldError is one value of a spec that cannot be used.
type FieldError struct {
	File         string
	Line, Column int    // from 1; 0 when the place is not known
	Field        string // "vm_config.memory_limit", "" for the file as a whole
	Expected     string // "an integer of megabytes from 16 to 1048576"
	Found        string // "<<\"512\">>", "nothing"
	Hint         string // what to do, "" when the rest says it
}

func (e *FieldError) Error() string {
	s := place(e.File, e.Line, e.Column)
	if e.Field != "" {
		s += e.Field + ": "
	}
	s += "expected " + e.Expected + ", found " + e.Found
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// SyntaxError is a file that is not Erlang terms, YAML or JSON at all.
type SyntaxError struct {
	File         string
	Line, Column int // from 1; 0 when the place is not known
	Msg          string
}

func (e *SyntaxError) Error() string {
	return place(e.File, e.Line, e.Column) + e.Msg
}

// place returns "file:line:column: " as far as it is known.
func place(file string, line, column int) string {
	if line == 0 {
		return oneLine(file) + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", oneLine(file), line, max(column, 1))
}

// oneLine quotes s when it could break a line of a message or a terminal; the
// names in a git tree are as untrusted as its files.
func oneLine(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// Errors is everything wrong with one file, from top to bottom. Each is a
// *FieldError or a *SyntaxError and prints on a line of its own.
type Errors []error

func (e Errors) Error() string { return strings.Join(e.Lines(), "\n") }

// Lines returns each error's line.
func (e Errors) Lines() []string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return lines
}

// sort orders errors by their places in the file.
func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b error) int {
		var x, y *FieldError
		if !errors.As(a, &x) || !errors.As(b, &y) {
			return 0 // a syntax error is the only one of its file
		}
		return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column))
	})
}

// Unwrap lets errors.As find one of them.
func (e Errors) Unwrap() []error { return e }
