package term

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// quoted reads a string or a quoted atom up to its closing quote. Line ends may
// stand inside.
func (s *scanner) quoted(quote rune) (string, error) {
	start := token{line: s.line, column: s.column}
	s.next()
	var text strings.Builder
	for {
		switch r := s.peek(); r {
		case atEnd:
			return "", start.errorf("no closing %c", quote)
		case quote:
			s.next()
			return text.String(), nil
		case '\\':
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			text.WriteRune(r)
		default:
			text.WriteRune(s.next())
		}
	}
}

// character reads $c.
func (s *scanner) character() (Term, error) {
	s.next()
	switch s.peek() {
	case atEnd:
		return nil, s.errorf("no character after '$'")
	case '\\':
		r, err := s.escape()
		return Int(r), err
	}
	return Int(s.next()), nil
}

// escape reads a backslash and what it stands for ("Escape Sequences" of the
// Erlang Reference Manual). Letters without a meaning stand for themselves.
func (s *scanner) escape() (rune, error) {
	s.next()
	r := s.peek()
	switch {
	case r == atEnd:
		return 0, s.errorf("no character after '\\'")
	case r == 'x':
		return s.hexadecimal()
	case r == '^':
		return s.control()
	case r >= '0' && r <= '7':
		return s.octal(), nil
	}
	s.next()
	if i := strings.IndexRune(escapeLetters, r); i >= 0 {
		return rune(escapeValues[i]), nil
	}
	return r, nil
}

// A letter of escapeLetters stands for the byte of escapeValues below it.
const (
	escapeLetters = "bdefnrstv"
	escapeValues  = "\b\x7f\x1b\f\n\r \t\v"
)

// control reads ^C: the low five bits of C.
func (s *scanner) control() (rune, error) {
	s.next()
	if s.peek() == atEnd {
		return 0, s.errorf("no character after '\\^'")
	}
	return s.next() & 31, nil
}

// octal reads one to three digits.
func (s *scanner) octal() rune {
	n := rune(0)
	for range 3 {
		if !digit(s.peek(), 8) {
			break
		}
		n = n*8 + s.next() - '0'
	}
	return n
}

// hexadecimal reads xHH or x{H…}.
func (s *scanner) hexadecimal() (rune, error) {
	at := token{line: s.line, column: s.column}
	s.next()
	braces := s.peek() == '{'
	if braces {
		s.next()
	}
	start := s.off
	for digit(s.peek(), 16) && (braces || s.off-start < 2) {
		s.next()
	}
	n, err := strconv.ParseUint(s.src[start:s.off], 16, 32)
	if err != nil || !braces && s.off-start != 2 || !utf8.ValidRune(rune(n)) || n > utf8.MaxRune {
		return 0, at.errorf("escape is no character, expected \\xHH or \\x{H...} up to 10FFFF")
	}
	if braces && s.next() != '}' {
		return 0, at.errorf("escape \\x{ has no closing brace")
	}
	return rune(n), nil
}
