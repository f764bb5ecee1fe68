package walk

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// briefDepth is how deep Brief shows a term.
const briefDepth = 8

// Brief shows the encoded term b as text of about most bytes, "..." where it
// was cut. A large or broken term costs no more than a small one. The text is
// of printable characters on one line.
func Brief(b []byte, most int, names Names) string {
	p := printer{r: Reader{Names: names, B: b}, most: most}
	p.term(0)
	if len(p.out) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(p.out[cut]) {
			cut--
		}
		return string(p.out[:cut]) + "..."
	}
	return string(p.out)
}

type printer struct {
	r      Reader
	out    []byte
	most   int
	broken bool
}

func (p *printer) full() bool { return p.broken || len(p.out) > p.most }

func (p *printer) text(s string) { p.out = append(p.out, s...) }

func (p *printer) term(depth int) {
	if p.full() {
		return
	}
	if depth > briefDepth {
		p.text("...")
		_, ok := p.r.Skip()
		p.broken = !ok
		return
	}
	if n, ok := p.r.Tuple(); ok {
		p.sequence("{", "}", n, depth)
	} else if n, ok := p.r.List(); ok {
		p.list(n, depth)
	} else if n, ok := p.r.Map(); ok {
		p.pairs(n, depth)
	} else {
		p.leaf()
	}
}

func (p *printer) sequence(open, closing string, n, depth int) {
	p.text(open)
	for i := 0; i < n && !p.full(); i++ {
		if i > 0 {
			p.text(",")
		}
		p.term(depth + 1)
	}
	p.text(closing)
}

func (p *printer) list(n, depth int) {
	p.sequence("[", "", n, depth)
	if p.full() {
		return
	}
	if !p.r.Nil() {
		p.text("|")
		p.term(depth + 1)
	}
	p.text("]")
}

func (p *printer) pairs(n, depth int) {
	p.text("#{")
	for i := 0; i < n && !p.full(); i++ {
		if i > 0 {
			p.text(",")
		}
		p.term(depth + 1)
		p.text(" => ")
		p.term(depth + 1)
	}
	p.text("}")
}

func (p *printer) leaf() {
	if name, ok := p.r.Atom(); ok {
		p.quoted(name, '\'', false)
	} else if b, ok := p.r.Binary(); ok {
		p.text("<<")
		p.quoted(b, '"', true)
		p.text(">>")
	} else if n, ok := p.r.Int(); ok {
		p.out = strconv.AppendInt(p.out, int64(n), 10)
	} else if n, ok := p.r.Uint(); ok {
		p.out = strconv.AppendUint(p.out, n, 10)
	} else if id, ok := p.r.Pid(); ok {
		p.text("<" + p.r.Names.text(id.Node) + "." + strconv.Itoa(int(id.ID)) + "." + strconv.Itoa(int(id.Serial)) + ">")
	} else if ref, ok := p.r.Ref(); ok {
		p.text("#Ref<" + p.r.Names.text(ref.Node) + "." + strconv.Itoa(int(ref.Words[0])) + ">")
	} else {
		p.rest()
	}
}

// rest shows the kinds that are rare in refused messages.
func (p *printer) rest() {
	tag := p.r.At()
	b, ok := p.r.Skip()
	if !ok {
		p.text("?")
		p.broken = true
		return
	}
	switch tag {
	case tagNil:
		p.text("[]")
	case tagString:
		p.quoted(b[3:], '"', true)
	case tagNewFloat:
		p.out = strconv.AppendFloat(p.out, math.Float64frombits(binary.BigEndian.Uint64(b[1:])), 'g', -1, 64)
	case tagNewFun, tagExport:
		p.text("#Fun<>")
	case tagNewPort, tagV4Port:
		p.text("#Port<>")
	case tagBitBinary:
		p.text("<<...>>")
	default:
		p.text("#Int<" + strconv.Itoa(len(b)) + " bytes>")
	}
}

// quoted shows text; an atom that reads the same without quotes gets none.
func (p *printer) quoted(b []byte, quote byte, always bool) {
	if !always && plain(b) {
		p.out = append(p.out, b...)
		return
	}
	p.out = append(p.out, quote)
	for len(b) > 0 && !p.full() {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1 || !unicode.IsPrint(r):
			p.text("\\x{" + strconv.FormatUint(uint64(b[0]), 16) + "}")
			n = 1
		case r == rune(quote) || r == '\\':
			p.out = append(p.out, '\\', byte(r))
		default:
			p.out = append(p.out, b[:n]...)
		}
		b = b[n:]
	}
	p.out = append(p.out, quote)
}

func plain(b []byte) bool {
	for i, c := range b {
		lower := c >= 'a' && c <= 'z'
		if !lower && (i == 0 || !(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '@')) {
			return false
		}
	}
	return len(b) > 0
}
