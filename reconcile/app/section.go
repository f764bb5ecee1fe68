package app

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"beamsandbox/distribution/term"
)

// reader collects what is wrong with one file.
type reader struct {
	file   string
	format Format
	errs   Errors
	more   bool // errors beyond maxErrors
}

// maxErrors is how many errors of one file are kept.
const maxErrors = 50

func (r *reader) fail(at *term.Node, field, expected, hint string) {
	r.failFound(at, field, expected, r.show(at), hint)
}

func (r *reader) failFound(at *term.Node, field, expected, found, hint string) {
	if len(r.errs) == maxErrors {
		r.more = true
		return
	}
	r.errs = append(r.errs, &FieldError{
		File: r.file, Line: at.Line, Column: at.Column,
		Field: field, Expected: expected, Found: found, Hint: hint,
	})
}

// section is one map or proplist with a fixed set of keys. Its readers return
// the zero value for a key that is absent or wrong, and note the latter.
type section struct {
	r      *reader
	at     *term.Node
	path   string // "vm_config", "" at the top
	values map[string]*term.Node
}

// section reads n as a map or proplist; every key that is not in known is
// noted with the nearest one that is.
func (r *reader) section(n *term.Node, path string, known ...string) section {
	s := section{r: r, at: n, path: path, values: map[string]*term.Node{}}
	entries, ok := r.entries(n)
	if !ok {
		r.fail(n, path, "a map or a proplist", "")
		return s
	}
	slices.Sort(known)
	for _, e := range entries {
		switch {
		case s.values[e.key] != nil:
			r.failFound(e.at, s.field(e.key), "each key once", "it again", "")
		case !slices.Contains(known, e.key):
			s.unknown(e, known)
		default:
			s.values[e.key] = e.value
		}
	}
	return s
}

func (s section) unknown(e entry, known []string) {
	hint := ""
	if e.key == "cookie" {
		hint = "cookies do not belong into git: every guest gets one of its own"
	} else if k := Nearest(e.key, known); k != "" {
		hint = "did you mean " + k + "?"
	}
	name := e.key
	if !printable(name) {
		name = s.r.show(e.at)
	}
	s.r.failFound(e.at, s.field(name), "one of the keys "+strings.Join(known, ", "), "an unknown one", hint)
}

func (s section) field(key string) string {
	if s.path == "" {
		return key
	}
	return s.path + "." + key
}

// value returns what key holds, nil when it is absent.
func (s section) value(key string) *term.Node {
	if n := s.values[key]; !s.r.absent(n) {
		return n
	}
	return nil
}

// fail notes that the key's value is wrong, or missing.
func (s section) fail(key, expected, hint string) {
	if n := s.value(key); n != nil {
		s.r.fail(n, s.field(key), expected, hint)
		return
	}
	s.r.failFound(s.at, s.field(key), expected, "nothing", hint)
}

// text reads a binary, charlist or atom that passes ok.
func (s section) text(key, expected string, ok func(string) bool) string {
	n := s.value(key)
	if n == nil {
		return ""
	}
	if v, is := s.r.text(n); is && ok(v) {
		return v
	}
	hint := ""
	switch n.Term.(type) {
	case term.Int, term.Float:
		hint = "put it in quotes"
	}
	s.fail(key, expected, hint)
	return ""
}

// required notes it when key is absent.
func (s section) required(key, expected string) bool {
	if s.value(key) == nil {
		s.fail(key, expected, "")
		return false
	}
	return true
}

// integer reads a whole number of unit ("megabytes") from least to most.
func (s section) integer(key, unit string, least, most int) int {
	n := s.value(key)
	if n == nil {
		return 0
	}
	if i, ok := n.Term.(term.Int); ok && int64(i) >= int64(least) && int64(i) <= int64(most) {
		return int(i)
	}
	hint := ""
	if t, ok := s.r.text(n); ok {
		if _, err := strconv.Atoi(t); err == nil {
			hint = "write " + t + " without quotes"
		}
	}
	s.fail(key, fmt.Sprintf("an integer of %s from %d to %d", unit, least, most), hint)
	return 0
}

// port reads a TCP port that is the app's to use.
func (s section) port(key string) uint16 {
	return uint16(s.integer(key, "a TCP port", 1, 65535))
}

// choice reads one of a few words; otherwise counts when key is absent.
func (s section) choice(key, otherwise string, words ...string) string {
	n := s.value(key)
	if n == nil {
		return otherwise
	}
	v, ok := s.r.text(n)
	if ok && slices.Contains(words, v) {
		return v
	}
	hint := ""
	if w := Nearest(v, words); ok && w != "" {
		hint = "did you mean " + w + "?"
	}
	s.fail(key, "one of "+strings.Join(words, ", "), hint)
	return ""
}

// list returns the elements of a list; path of the i-th is field(key)[i].
func (s section) list(key, expected string) []*term.Node {
	n := s.value(key)
	if n == nil {
		return nil
	}
	list, ok := elements(n)
	if !ok {
		s.fail(key, expected, "")
	}
	return list
}
