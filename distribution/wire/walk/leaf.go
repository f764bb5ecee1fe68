package walk

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// leaf checks a term without elements.
func (w *Walker) leaf(tag byte) Reason {
	switch tag {
	case tagSmallInteger:
		return w.skip(1)
	case tagInteger:
		return w.skip(4)
	case tagSmallAtomUTF8, tagSmallAtom, tagAtomUTF8, tagAtom:
		return w.atom(tag)
	case tagNil:
		return OK
	case tagBinary:
		n, ok := w.size(false)
		if !ok {
			return Malformed
		}
		return w.skip(n)
	case tagString:
		return w.characters()
	case tagNewPid:
		return w.pid()
	case tagNewerRef:
		return w.ref()
	case tagNewFloat:
		return w.float()
	case tagSmallBig, tagLargeBig:
		return w.big(tag)
	case tagBitBinary:
		return w.bits()
	case tagNewFun, tagExport:
		return w.fun(tag)
	case tagNewPort, tagV4Port:
		return w.port(tag)
	}
	return Tag
}

func (w *Walker) skip(n int) Reason {
	if n > len(w.buf)-w.off {
		return Malformed
	}
	w.off += n
	return OK
}

// size reads a length of one or four bytes.
func (w *Walker) size(small bool) (int, bool) {
	if small {
		if w.off >= len(w.buf) {
			return 0, false
		}
		w.off++
		return int(w.buf[w.off-1]), true
	}
	if len(w.buf)-w.off < 4 {
		return 0, false
	}
	n := binary.BigEndian.Uint32(w.buf[w.off:])
	w.off += 4
	return int(n), n <= math.MaxInt32/2
}

func (w *Walker) atom(tag byte) Reason {
	name, n := atomAt(w.buf[w.off-1:])
	if n == 0 {
		return Malformed
	}
	latin1 := isLatin1(tag)
	if !valid(name, latin1) {
		return Malformed
	}
	w.off += n - 1
	if w.Atom != nil && !w.Atom(name, latin1) {
		return Atom
	}
	return OK
}

func isLatin1(tag byte) bool { return tag == tagAtom || tag == tagSmallAtom }

// valid says whether an atom may have that name: at most 255 characters.
func valid(name []byte, latin1 bool) bool {
	if latin1 {
		return len(name) <= 255
	}
	return utf8.Valid(name) && (len(name) <= 255 || utf8.RuneCount(name) <= 255)
}

func (w *Walker) characters() Reason {
	if len(w.buf)-w.off < 2 {
		return Malformed
	}
	n := int(binary.BigEndian.Uint16(w.buf[w.off:]))
	if n > w.nodes {
		return Nodes
	}
	w.nodes -= n
	return w.skip(2 + n)
}

func (w *Walker) pid() Reason {
	p, n := pidAt(w.buf[w.off-1:], w.Names)
	if n == 0 || p.Node == Other && !w.validNode(w.off) {
		return Malformed
	}
	w.off += n - 1
	if w.Pid != nil && !w.Pid(p, w.buf[w.off-12:w.off]) {
		return Ident
	}
	return OK
}

// validNode checks the name of a strange node, the atom at off.
func (w *Walker) validNode(off int) bool {
	name, n := atomAt(w.buf[off:])
	return n > 0 && valid(name, isLatin1(w.buf[off]))
}

func (w *Walker) ref() Reason {
	r, n := refAt(w.buf[w.off-1:], w.Names)
	if n == 0 || r.Node == Other && !w.validNode(w.off+2) {
		return Malformed
	}
	w.off += n - 1
	if w.Ref != nil && !w.Ref(r, w.buf[w.off-4-4*int(r.Len):w.off]) {
		return Ident
	}
	return OK
}

func (w *Walker) float() Reason {
	if len(w.buf)-w.off < 8 {
		return Malformed
	}
	if bits := binary.BigEndian.Uint64(w.buf[w.off:]); bits>>52&0x7ff == 0x7ff {
		return Malformed
	}
	w.off += 8
	return OK
}

func (w *Walker) big(tag byte) Reason {
	n, ok := w.size(tag == tagSmallBig)
	if !ok || n+1 > len(w.buf)-w.off {
		return Malformed
	}
	if n > w.Bytes {
		return Integer
	}
	w.off += n + 1
	return OK
}

func (w *Walker) bits() Reason {
	n, ok := w.size(false)
	if !ok || n+1 > len(w.buf)-w.off {
		return Malformed
	}
	if bits := w.buf[w.off]; bits > 8 || (bits == 0) != (n == 0) {
		return Malformed
	}
	w.off += n + 1
	return OK
}

func (w *Walker) port(tag byte) Reason {
	if !w.Lenient {
		return Port
	}
	_, n := atomAt(w.buf[w.off:])
	if n == 0 {
		return Malformed
	}
	if tag == tagV4Port {
		return w.skip(n + 12)
	}
	return w.skip(n + 8)
}

// fun goes through a fun's parts as if they were a tuple: the head of
// NEW_FUN_EXT is 29 bytes, then come module, index, uniq, creator and the free
// variables. An export is module, function and arity.
func (w *Walker) fun(tag byte) Reason {
	if !w.Lenient {
		return Fun
	}
	n := 3
	if tag == tagNewFun {
		if len(w.buf)-w.off < 29 {
			return Malformed
		}
		free := binary.BigEndian.Uint32(w.buf[w.off+25:])
		if uint64(free)+4 > uint64(len(w.buf)-w.off) {
			return Malformed
		}
		n = 4 + int(free)
		w.off += 29
	}
	if n > w.nodes {
		return Nodes
	}
	if len(w.left) >= min(w.Depth, maxDepth) {
		return Depth
	}
	// closed counts the fun off as soon as leaf returns: one element more.
	w.left = append(w.left, level{left: int32(n) + 1, kind: tagSmallTuple})
	return OK
}
