package judge

import (
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/distribution/wire/walk"
)

// maxLog bounds the text of one message for the guest's log, in bytes.
const maxLog = 4 << 10

// guestIO answers {io_request, From, ReplyAs, Request} in the place of a group
// leader: text goes to the guest's log, questions are not supported. The host's
// own io servers run functions that a request names (OTP's io protocol), so
// none of it may reach them. m stands behind the word io_request.
func (t *turn) guestIO(m walk.Reader) Verdict {
	from, ok := m.Pid()
	if !ok || !t.j.ofGuest(from) || t.broken == ruleUnknown || t.broken == ruleForeign {
		return t.refuse(ruleProcess)
	}
	as, ok := m.Skip()
	if !ok || len(as) > 512 || !t.plainName(as) {
		return t.refuse(ruleProcess)
	}
	text, written := ioText(m.B)
	t.o.log = append(t.o.log, text...)
	b := walk.AppendAtom(walk.AppendTuple(append(t.o.buf(), 131), 3), "io_reply")
	b = append(b, as...)
	if written {
		b = walk.AppendAtom(b, "ok")
	} else {
		b = walk.AppendAtom(walk.AppendAtom(walk.AppendTuple(b, 2), "error"), "enotsup")
	}
	b = t.o.keep(b)
	t.answer(t.head(wire.OpSend, 3).atom("").pid(from), b)
	return t.swallow()
}

// plainName says whether a term can be sent back as it is: a reference or a
// process of the guest, an atom or a number.
func (t *turn) plainName(b []byte) bool {
	m := walk.Reader{Names: t.j.names, B: b}
	if p, ok := m.Pid(); ok {
		return t.j.ofGuest(p)
	}
	if r, ok := m.Ref(); ok {
		return t.j.ownRef(r)
	}
	_, atom := m.Atom()
	_, number := m.Int()
	return atom || number
}

// ioText is the text of an io request, at most maxLog bytes of it, and whether
// it was one that writes. Only forms without code are understood, and the
// formats of io_lib without ever running it.
func ioText(request []byte) (text string, written bool) {
	t, _, err := term.Limits{Depth: 64, Nodes: 4 * maxLog}.DecodeBare(request)
	if err != nil {
		return "[output too large to show]\n", true
	}
	return requestText(t, 0)
}

func requestText(t term.Term, depth int) (string, bool) {
	req, ok := t.(term.Tuple)
	if !ok || len(req) < 2 || depth > 4 {
		return "", false
	}
	switch {
	case req[0] == term.Atom("requests"):
		return requestsText(req[1], depth)
	case req[0] != term.Atom("put_chars"):
		return "", false
	case len(req) == 2:
		return charsText(req[1]), true
	case len(req) == 3:
		return charsText(req[2]), true
	case len(req) == 5:
		return formatText(req[3], req[4]), true
	}
	return "", false
}

func requestsText(t term.Term, depth int) (string, bool) {
	l, _ := t.(term.List)
	var all strings.Builder
	for _, e := range l.Elems {
		s, ok := requestText(e, depth+1)
		if !ok {
			return all.String(), false
		}
		all.WriteString(s)
	}
	return bound(all.String()), true
}

// charsText flattens chardata: nested lists of characters and UTF-8 binaries.
func charsText(t term.Term) string {
	var b strings.Builder
	chars(&b, t)
	return bound(b.String())
}

func chars(b *strings.Builder, t term.Term) {
	if b.Len() > maxLog {
		return
	}
	switch t := t.(type) {
	case term.Int:
		if t >= 0 && t <= 0x10FFFF {
			b.WriteRune(rune(t))
		}
	case term.Binary:
		b.Write(t[:min(len(t), maxLog)])
	case term.List:
		for _, e := range t.Elems {
			chars(b, e)
		}
		if t.Tail != nil {
			chars(b, t.Tail)
		}
	}
}

// formatText is what io_lib:format(Format, Args) would write, roughly: widths
// and paddings are left out. A function other than format has its arguments
// shown.
func formatText(function, args term.Term) string {
	l, _ := args.(term.List)
	if function != term.Atom("format") && function != term.Atom("fwrite") || len(l.Elems) != 2 {
		return term.Brief(args, maxLog) + "\n"
	}
	format := charsText(l.Elems[0])
	if a, ok := l.Elems[0].(term.Atom); ok {
		format = string(a)
	}
	values, _ := l.Elems[1].(term.List)
	var b strings.Builder
	rest := values.Elems
	for len(format) > 0 && b.Len() <= maxLog {
		before, after, found := strings.Cut(format, "~")
		b.WriteString(before)
		if !found {
			break
		}
		format, rest = directive(&b, after, rest)
	}
	return bound(b.String())
}

// directive writes what one "~F.P.PadModC" of a format stands for, and returns
// the format and the arguments behind it.
func directive(b *strings.Builder, format string, args []term.Term) (string, []term.Term) {
	format = strings.TrimLeft(format, "-0123456789.*")
	format = strings.TrimLeft(format, "tlkK")
	if format == "" {
		return "", args
	}
	c := format[0]
	format = format[1:]
	switch {
	case c == 'n':
		b.WriteByte('\n')
		return format, args
	case c == '~':
		b.WriteByte('~')
		return format, args
	case len(args) == 0:
		return format, args
	}
	switch c {
	case 's':
		if a, ok := args[0].(term.Atom); ok {
			b.WriteString(string(a))
		} else {
			chars(b, args[0])
		}
	case 'c':
		chars(b, args[0])
	case 'i':
	default:
		b.WriteString(term.Brief(args[0], maxLog))
	}
	return format, args[1:]
}

func bound(s string) string {
	if len(s) > maxLog {
		return s[:maxLog] + "...\n"
	}
	return s
}
