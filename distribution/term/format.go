package term

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Format writes t as text on one line, as ~0p does. What Parse can read it
// reads back Equal, which leaves out bitstrings (<<1:3>>), pids, references,
// ports and closures (<...>, #Ref<...>, #Port<...>, #Fun<...>). Control
// characters and what Unicode does not count as printable are escaped.
func Format(t Term) string {
	f := formatter{}
	f.term(t)
	return f.out.String()
}

// WriteConsult writes terms as a file that Parse and file:consult/1 read back,
// one term a line, in UTF-8. Terms for which Format has no such text (pids and
// the like) make a file that neither reads.
func WriteConsult(terms ...Term) []byte {
	f := formatter{}
	for _, t := range terms {
		f.term(t)
		f.out.WriteString(".\n")
	}
	return []byte(f.out.String())
}

// Brief is Format for errors and logs: cut after about most bytes, "..." where
// it was. A large term costs no more than a small one.
func Brief(t Term, most int) string {
	most = max(most, 1)
	f := formatter{most: most}
	f.term(t)
	s := f.out.String()
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "..."
}

type formatter struct {
	out  strings.Builder
	most int // bytes after which no more is written, roughly; 0 for no bound
}

func (f *formatter) full() bool { return f.most > 0 && f.out.Len() > f.most }

// visible is how many of n elements, each a byte or more, are worth writing.
func (f *formatter) visible(n int) int {
	if f.most == 0 {
		return n
	}
	return min(n, f.most+1)
}

func (f *formatter) term(t Term) {
	if f.full() {
		return
	}
	switch t := t.(type) {
	case Atom:
		f.atom(t)
	case Int:
		f.out.WriteString(strconv.FormatInt(int64(t), 10))
	case *big.Int:
		f.out.WriteString(t.String())
	case Float:
		f.out.WriteString(formatFloat(float64(t)))
	case Binary:
		f.binary(t)
	case BitString:
		f.bits(t)
	case Tuple:
		f.out.WriteByte('{')
		f.terms(t)
		f.out.WriteByte('}')
	case List:
		f.list(t.joined())
	case Map:
		f.mapping(t)
	case Fun:
		f.fun(t)
	default:
		f.identifier(t)
	}
}

func (f *formatter) terms(list []Term) {
	for i, t := range list[:f.visible(len(list))] {
		if i > 0 {
			f.out.WriteByte(',')
		}
		f.term(t)
	}
}

func (f *formatter) atom(a Atom) {
	if plainAtom(string(a)) {
		f.out.WriteString(string(a))
		return
	}
	f.quoted(string(a), '\'')
}

// plainAtom says whether a needs no quotes in any release of OTP.
func plainAtom(a string) bool {
	if a == "" || a[0] < 'a' || a[0] > 'z' || reserved(a) || a == "maybe" || a == "else" {
		return false
	}
	for _, r := range a {
		if r >= utf8.RuneSelf || !nameChar(r) {
			return false
		}
	}
	return true
}

func (f *formatter) quoted(s string, quote rune) {
	f.out.WriteRune(quote)
	for _, r := range s {
		switch i := strings.IndexRune(escapeValues, r); {
		case r == quote || r == '\\':
			f.out.WriteByte('\\')
			f.out.WriteRune(r)
		case i >= 0 && r != ' ':
			f.out.WriteByte('\\')
			f.out.WriteByte(escapeLetters[i])
		case unicode.IsPrint(r):
			f.out.WriteRune(r)
		default:
			fmt.Fprintf(&f.out, "\\x{%X}", r)
		}
	}
	f.out.WriteRune(quote)
}

// formatFloat writes the shortest digits that read back the same, with a point.
func formatFloat(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	mantissa, exponent, scientific := strings.Cut(s, "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if !scientific {
		return mantissa
	}
	sign := strings.TrimRight(exponent[:1], "+")
	return mantissa + "e" + sign + strings.TrimLeft(exponent[1:], "0")
}

// printable says whether s reads better as text than as numbers.
func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) && !strings.ContainsRune(escapeValues, r) || r == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

func (f *formatter) binary(b Binary) {
	s := string(b[:f.visible(len(b))])
	b = Binary(s)
	f.out.WriteString("<<")
	if len(b) > 0 && printable(s) {
		f.quoted(s, '"')
		if strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) {
			f.out.WriteString("/utf8")
		}
	} else {
		f.bytes(b)
	}
	f.out.WriteString(">>")
}

func (f *formatter) bytes(b []byte) {
	for i, c := range b[:f.visible(len(b))] {
		if i > 0 {
			f.out.WriteByte(',')
		}
		f.out.WriteString(strconv.Itoa(int(c)))
	}
}

func (f *formatter) bits(b BitString) {
	f.out.WriteString("<<")
	if n := len(b.Bytes); n > 0 && b.Bits < 8 {
		f.bytes(b.Bytes[:n-1])
		if n > 1 {
			f.out.WriteByte(',')
		}
		fmt.Fprintf(&f.out, "%d:%d", b.Bytes[n-1]>>(8-b.Bits), b.Bits)
	}
	f.out.WriteString(">>")
}

func (f *formatter) list(l List) {
	l.Elems = l.Elems[:f.visible(len(l.Elems))]
	if s, ok := l.text(); ok && s != "" && printable(s) {
		f.quoted(s, '"')
		return
	}
	f.out.WriteByte('[')
	f.terms(l.Elems)
	if l.Tail != nil {
		f.out.WriteByte('|')
		f.term(l.Tail)
	}
	f.out.WriteByte(']')
}

func (f *formatter) mapping(m Map) {
	f.out.WriteString("#{")
	for i, p := range m[:f.visible(len(m))] {
		if i > 0 {
			f.out.WriteByte(',')
		}
		f.term(p.Key)
		f.out.WriteString(" => ")
		f.term(p.Value)
	}
	f.out.WriteByte('}')
}

func (f *formatter) fun(t Fun) {
	if len(t.Encoded) > 0 && t.Encoded[0] == tagExport {
		d := &decoder{buf: t.Encoded[1:], depth: 1, nodes: 3}
		if d.reserve(3) == nil {
			module, err1 := d.term()
			function, err2 := d.term()
			arity, err3 := d.term()
			if err1 == nil && err2 == nil && err3 == nil {
				fmt.Fprintf(&f.out, "fun %s:%s/%s", Format(module), Format(function), Format(arity))
				return
			}
		}
	}
	fmt.Fprintf(&f.out, "#Fun<%d bytes>", len(t.Encoded))
}

func (f *formatter) identifier(t Term) {
	switch t := t.(type) {
	case Pid:
		fmt.Fprintf(&f.out, "<%s.%d.%d>", Format(t.Node), t.ID, t.Serial)
	case Port:
		fmt.Fprintf(&f.out, "#Port<%s.%d>", Format(t.Node), t.ID)
	case Ref:
		fmt.Fprintf(&f.out, "#Ref<%s", Format(t.Node))
		for _, w := range t.Words[:min(int(t.Len), len(t.Words))] {
			fmt.Fprintf(&f.out, ".%d", w)
		}
		f.out.WriteByte('>')
	default:
		fmt.Fprintf(&f.out, "#Foreign<%T>", t)
	}
}
