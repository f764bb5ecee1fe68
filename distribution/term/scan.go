package term

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// SyntaxError says where text is no Erlang term. Line and Column count from 1,
// columns in characters; a tab is one.
type SyntaxError struct {
	Line, Column int
	Msg          string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Msg)
}

type tokenKind uint8

const (
	endOfText tokenKind = iota
	dot
	atomToken
	variable
	number     // value is Int, *big.Int or Float
	character  // value is Int
	quotedText // text holds the string
	keyword    // a reserved word
	mark       // punctuation
)

// token is one word of the text.
type token struct {
	kind         tokenKind
	text         string
	value        Term
	line, column int
}

// String names a token in an error.
func (t token) String() string {
	switch t.kind {
	case endOfText:
		return "the end of the text"
	case dot:
		return "'.'"
	case atomToken:
		return brief(Atom(t.text))
	case variable:
		return "variable " + t.text
	case number, character:
		return brief(t.value)
	case quotedText:
		return "a string"
	case keyword:
		return "reserved word " + t.text
	}
	return "'" + t.text + "'"
}

// brief is what one line of an error has room for.
func brief(t Term) string { return Brief(t, 60) }

// scanner cuts valid UTF-8 into tokens, as erl_scan does.
type scanner struct {
	src          string
	off          int
	line, column int
}

const atEnd = -1

func (s *scanner) peek() rune {
	if s.off == len(s.src) {
		return atEnd
	}
	if c := s.src[s.off]; c < utf8.RuneSelf {
		return rune(c)
	}
	r, _ := utf8.DecodeRuneInString(s.src[s.off:])
	return r
}

// peekSecond is the character after the next one.
func (s *scanner) peekSecond() rune {
	ahead := *s
	ahead.next()
	return ahead.peek()
}

func (s *scanner) next() rune {
	r := s.peek()
	switch r {
	case atEnd:
		return r
	case '\n':
		s.line, s.column = s.line+1, 1
	default:
		s.column++
	}
	s.off += utf8.RuneLen(r)
	return r
}

func (s *scanner) errorf(format string, args ...any) error {
	return &SyntaxError{s.line, s.column, fmt.Sprintf(format, args...)}
}

func (t token) errorf(format string, args ...any) error {
	return &SyntaxError{t.line, t.column, fmt.Sprintf(format, args...)}
}

// blank: erl_scan takes control characters and the no-break space too.
func blank(r rune) bool { return r >= 0 && r <= ' ' || r >= 0x80 && r <= 0xa0 }

func (s *scanner) skipBlanks() {
	for {
		switch r := s.peek(); {
		case r == '%':
			for r := s.peek(); r != '\n' && r != atEnd; r = s.peek() {
				s.next()
			}
		case blank(r):
			s.next()
		default:
			return
		}
	}
}

func (s *scanner) scan() (token, error) {
	s.skipBlanks()
	t := token{line: s.line, column: s.column}
	r := s.peek()
	var err error
	switch {
	case r == atEnd:
	case digit(r, 10):
		t.kind = number
		t.value, err = s.number()
	case lower(r):
		s.word(&t)
	case upper(r) || r == '_':
		t.kind, t.text = variable, s.name()
	case r == '\'':
		t.kind = atomToken
		t.text, err = s.quoted(r)
	case r == '"':
		t.kind = quotedText
		t.text, err = s.quoted(r)
	case r == '$':
		t.kind = character
		t.value, err = s.character()
	default:
		err = s.mark(&t)
	}
	if n := utf8.RuneCountInString(t.text); err == nil && t.kind == atomToken && n > maxAtomChars {
		err = t.errorf("atom of %d characters, at most %d are allowed", n, maxAtomChars)
	}
	return t, err
}

// Letters of names are those of Latin-1; others need quotes.
func lower(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'ß' && r <= 'ÿ' && r != '÷'
}

func upper(r rune) bool {
	return r >= 'A' && r <= 'Z' || r >= 'À' && r <= 'Þ' && r != '×'
}

func nameChar(r rune) bool {
	return lower(r) || upper(r) || digit(r, 10) || r == '_' || r == '@'
}

func (s *scanner) name() string {
	start := s.off
	for nameChar(s.peek()) {
		s.next()
	}
	return s.src[start:s.off]
}

func (s *scanner) word(t *token) {
	t.kind, t.text = atomToken, s.name()
	if reserved(t.text) {
		t.kind = keyword
	}
}

// reserved are the words that are no atoms without quotes. maybe and else are
// reserved only by modules that ask for it (EEP 49).
func reserved(word string) bool {
	switch word {
	case "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor",
		"case", "catch", "cond", "div", "end", "fun", "if", "let", "not", "of", "or", "orelse",
		"receive", "rem", "try", "when", "xor":
		return true
	}
	return false
}

// mark reads punctuation; a '.' ends a term only before a blank or the end.
func (s *scanner) mark(t *token) error {
	t.kind = mark
	for _, m := range [...]string{"=>", ":=", "<<", ">>", "++", "{", "}", "[", "]", "(", ")", "|", ",", "#", "/", ":", "-", "+", "~"} {
		if strings.HasPrefix(s.src[s.off:], m) {
			for range m {
				s.next()
			}
			t.text = m
			return nil
		}
	}
	if s.peek() != '.' {
		return s.errorf("illegal character %q", s.peek())
	}
	s.next()
	t.text = "."
	if r := s.peek(); r == atEnd || r == '%' || blank(r) {
		t.kind = dot
	}
	return nil
}

// digit says whether r is one of the base's digits.
func digit(r rune, base int) bool {
	switch {
	case r >= '0' && r <= '9':
		return int(r-'0') < base
	case r >= 'a' && r <= 'z':
		return int(r-'a')+10 < base
	case r >= 'A' && r <= 'Z':
		return int(r-'A')+10 < base
	}
	return false
}

// digits reads digits with single underscores between them, which it drops.
func (s *scanner) digits(base int) (string, error) {
	start := s.off
	for digit(s.peek(), base) || s.peek() == '_' && digit(s.peekSecond(), base) && s.off > start {
		s.next()
		if s.off-start > maxDigits {
			return "", s.errorf("number of more than %d digits", maxDigits)
		}
	}
	return strings.ReplaceAll(s.src[start:s.off], "_", ""), nil
}

func (s *scanner) number() (Term, error) {
	at := token{line: s.line, column: s.column}
	whole, err := s.digits(10)
	if err != nil {
		return nil, err
	}
	switch {
	case s.peek() == '#':
		return s.based(whole, at)
	case s.peek() == '.' && digit(s.peekSecond(), 10):
		return s.float(whole, at)
	}
	return integer(whole, 10), nil
}

// integer reads digits that were checked.
func integer(digits string, base int) Term {
	if n, err := strconv.ParseInt(digits, base, 64); err == nil {
		return Int(n)
	}
	n, _ := new(big.Int).SetString(digits, base)
	return n
}

func (s *scanner) based(base string, at token) (Term, error) {
	b, err := strconv.Atoi(base)
	if err != nil || b < 2 || b > 36 {
		return nil, at.errorf("base %.8s of a number, expected 2 to 36", base)
	}
	s.next()
	digits, err := s.digits(b)
	if err != nil {
		return nil, err
	}
	if digits == "" {
		return nil, s.errorf("no digit of base %d after '#'", b)
	}
	return integer(digits, b), nil
}

func (s *scanner) float(whole string, at token) (Term, error) {
	s.next()
	fraction, err := s.digits(10)
	if err != nil {
		return nil, err
	}
	text := whole + "." + fraction
	if r := s.peek(); r == 'e' || r == 'E' {
		s.next()
		sign := ""
		if r := s.peek(); r == '+' || r == '-' {
			sign = string(s.next())
		}
		exponent, err := s.digits(10)
		if err != nil {
			return nil, err
		}
		if exponent == "" {
			return nil, s.errorf("no digit in the exponent of a float")
		}
		text += "e" + sign + exponent
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, at.errorf("float is too large for 64 bits")
	}
	return Float(f), nil
}
