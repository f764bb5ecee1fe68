package term

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// decodeSource gives the text of a file as UTF-8.
func decodeSource(src []byte) (string, error) {
	if latin1(src) {
		return fromLatin1(src), nil
	}
	if utf8.Valid(src) {
		return string(src), nil
	}
	s := scanner{line: 1, column: 1}
	for {
		r, n := utf8.DecodeRune(src)
		if r == utf8.RuneError && n == 1 {
			return "", s.errorf("byte %#02x is not UTF-8 (Latin-1 needs the first line %%%% -*- coding: latin-1 -*-)", src[0])
		}
		s.src, s.off = string(src[:n]), 0
		s.next()
		src = src[n:]
	}
}

// latin1 says whether a comment in the first two lines names that encoding, in
// the way of epp: "coding", ':' or '=', blanks, the name.
func latin1(src []byte) bool {
	for range 2 {
		line, rest, _ := bytes.Cut(src, []byte{'\n'})
		src = rest
		_, comment, ok := bytes.Cut(line, []byte{'%'})
		if !ok {
			continue
		}
		_, name, ok := bytes.Cut(comment, []byte("coding"))
		name = bytes.TrimLeft(name, " \t")
		if !ok || len(name) == 0 || name[0] != ':' && name[0] != '=' {
			continue
		}
		word := strings.ToLower(string(bytes.TrimLeft(name[1:], " \t")))
		return strings.HasPrefix(word, "latin-1") || strings.HasPrefix(word, "latin1") || strings.HasPrefix(word, "iso-8859-1")
	}
	return false
}
