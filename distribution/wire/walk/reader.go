package walk

import (
	"encoding/binary"
	"unicode/utf8"
)

// Reader takes a term apart from its beginning, part by part, in place. Each
// method reads the next term if it is of the kind asked for, else it returns
// false and stays where it is. It checks lengths itself, so the bytes need not
// have been walked.
type Reader struct {
	Names Names
	B     []byte // what is left to read
}

// Tuple reads the head of a tuple: its n elements follow.
func (r *Reader) Tuple() (n int, ok bool) {
	switch {
	case len(r.B) >= 2 && r.B[0] == tagSmallTuple:
		n, r.B = int(r.B[1]), r.B[2:]
	case len(r.B) >= 5 && r.B[0] == tagLargeTuple:
		n, r.B = int(binary.BigEndian.Uint32(r.B[1:])), r.B[5:]
	default:
		return 0, false
	}
	return n, true
}

// TupleOf reads the head of a tuple of n elements.
func (r *Reader) TupleOf(n int) bool {
	b := r.B
	if m, ok := r.Tuple(); ok && m == n {
		return true
	}
	r.B = b
	return false
}

// Tagged reads the head of a tuple of n elements and its first one, an atom.
func (r *Reader) Tagged(n int, tag string) bool {
	b := r.B
	if r.TupleOf(n) && r.IsAtom(tag) {
		return true
	}
	r.B = b
	return false
}

// List reads the head of a list: its n elements and a tail follow.
func (r *Reader) List() (n int, ok bool) {
	if len(r.B) < 5 || r.B[0] != tagList {
		return 0, false
	}
	n, r.B = int(binary.BigEndian.Uint32(r.B[1:])), r.B[5:]
	return n, true
}

// Nil reads an empty list.
func (r *Reader) Nil() bool { return r.one(tagNil) }

func (r *Reader) one(tag byte) bool {
	if len(r.B) == 0 || r.B[0] != tag {
		return false
	}
	r.B = r.B[1:]
	return true
}

// Map reads the head of a map: n times key and value follow.
func (r *Reader) Map() (n int, ok bool) {
	if len(r.B) < 5 || r.B[0] != tagMap {
		return 0, false
	}
	n, r.B = int(binary.BigEndian.Uint32(r.B[1:])), r.B[5:]
	return n, true
}

// Atom reads an atom: the bytes of its name, in whichever encoding it came.
func (r *Reader) Atom() (name []byte, ok bool) {
	name, n := atomAt(r.B)
	r.B = r.B[n:]
	return name, n > 0
}

// Name reads an atom that is the name of something: its name in UTF-8, and
// only if it has one that an atom may have.
func (r *Reader) Name() (name []byte, ok bool) {
	name, n := atomAt(r.B)
	if n == 0 || !valid(name, isLatin1(r.B[0])) {
		return nil, false
	}
	if isLatin1(r.B[0]) {
		name = UTF8(name)
	}
	r.B = r.B[n:]
	return name, true
}

// UTF8 is a name of Latin-1 in UTF-8; one of ASCII stays where it is.
func UTF8(latin1 []byte) []byte {
	for _, c := range latin1 {
		if c >= utf8.RuneSelf {
			s := make([]byte, 0, 2*len(latin1))
			for _, c := range latin1 {
				s = utf8.AppendRune(s, rune(c))
			}
			return s
		}
	}
	return latin1
}

// IsAtom reads the atom of that name, which is ASCII.
func (r *Reader) IsAtom(name string) bool {
	got, n := atomAt(r.B)
	if n == 0 || string(got) != name {
		return false
	}
	r.B = r.B[n:]
	return true
}

// Binary reads a binary.
func (r *Reader) Binary() (b []byte, ok bool) {
	if len(r.B) < 5 || r.B[0] != tagBinary {
		return nil, false
	}
	n := binary.BigEndian.Uint32(r.B[1:])
	if uint64(n) > uint64(len(r.B)-5) {
		return nil, false
	}
	b, r.B = r.B[5:5+n], r.B[5+n:]
	return b, true
}

// Int reads an integer of at most 32 bits, with sign.
func (r *Reader) Int() (int32, bool) {
	switch {
	case len(r.B) >= 2 && r.B[0] == tagSmallInteger:
		n := int32(r.B[1])
		r.B = r.B[2:]
		return n, true
	case len(r.B) >= 5 && r.B[0] == tagInteger:
		n := int32(binary.BigEndian.Uint32(r.B[1:]))
		r.B = r.B[5:]
		return n, true
	}
	return 0, false
}

// Uint reads an integer from 0 to 2^64-1.
func (r *Reader) Uint() (uint64, bool) {
	if len(r.B) >= 3 && r.B[0] == tagSmallBig {
		n := int(r.B[1])
		if n > 8 || r.B[2] != 0 || len(r.B) < 3+n {
			return 0, false
		}
		var v uint64
		for i := range n {
			v |= uint64(r.B[3+i]) << (8 * i)
		}
		r.B = r.B[3+n:]
		return v, true
	}
	b := r.B
	n, ok := r.Int()
	if !ok || n < 0 {
		r.B = b
		return 0, false
	}
	return uint64(n), true
}

// Pid reads a pid.
func (r *Reader) Pid() (Pid, bool) {
	p, n := pidAt(r.B, r.Names)
	r.B = r.B[n:]
	return p, n > 0
}

// Ref reads a reference.
func (r *Reader) Ref() (Ref, bool) {
	f, n := refAt(r.B, r.Names)
	r.B = r.B[n:]
	return f, n > 0
}

// At is the tag of the next term, 0 at the end.
func (r *Reader) At() byte {
	if len(r.B) == 0 {
		return 0
	}
	return r.B[0]
}

// IsTuple says whether the next term is a tuple.
func (r *Reader) IsTuple() bool { t := r.At(); return t == tagSmallTuple || t == tagLargeTuple }

// IsMap says whether the next term is a map.
func (r *Reader) IsMap() bool { return r.At() == tagMap }

// Skip goes past the next term and returns its bytes.
func (r *Reader) Skip() ([]byte, bool) {
	b := r.B
	for left := 1; left > 0; left-- {
		more, ok := r.part()
		if !ok || more > len(r.B) {
			r.B = b
			return nil, false
		}
		left += more
	}
	return b[:len(b)-len(r.B)], true
}

// part goes past one leaf, or past the head of a compound with more elements.
func (r *Reader) part() (more int, ok bool) {
	if n, ok := r.Tuple(); ok {
		return n, true
	}
	if n, ok := r.List(); ok {
		return n + 1, true
	}
	if n, ok := r.Map(); ok {
		return 2 * n, true
	}
	n := r.leaf()
	if n <= 0 || n > len(r.B) {
		return 0, false
	}
	more = 0
	switch r.B[0] {
	case tagNewFun:
		more = 4 + int(binary.BigEndian.Uint32(r.B[26:]))
	case tagExport:
		more = 3
	}
	r.B = r.B[n:]
	return more, true
}

// leaf is the length of the next term, or of what a fun has before its parts.
func (r *Reader) leaf() int {
	b := r.B
	word := func(at int) int {
		if len(b) < at+4 {
			return len(b)
		}
		return int(binary.BigEndian.Uint32(b[at:]))
	}
	switch r.At() {
	case tagSmallInteger:
		return 2
	case tagInteger:
		return 5
	case tagNil, tagExport:
		return 1
	case tagNewFloat:
		return 9
	case tagBinary:
		return 5 + word(1)
	case tagBitBinary, tagLargeBig:
		return 6 + word(1)
	case tagNewFun:
		return 30
	case tagString:
		if len(b) >= 3 {
			return 3 + int(binary.BigEndian.Uint16(b[1:]))
		}
	case tagSmallBig:
		if len(b) >= 2 {
			return 3 + int(b[1])
		}
	case tagNewPid:
		_, n := pidAt(b, r.Names)
		return n
	case tagNewerRef:
		_, n := refAt(b, r.Names)
		return n
	case tagNewPort, tagV4Port:
		_, n := atomAt(b[1:])
		switch {
		case n == 0:
			return 0
		case b[0] == tagV4Port:
			return 1 + n + 12
		}
		return 1 + n + 8
	}
	_, n := atomAt(b)
	return n
}
