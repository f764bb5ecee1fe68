// Package walk goes through terms of the external format without building
// them: it checks every byte, names each atom and identifier to its caller, and
// lets the caller write other numbers into identifiers where they stand.
//
// It is what stands between bytes that a stranger wrote and a node that would
// believe them: what passes Walk is decoded by term.Decode and by a BEAM.
// Sources: ERTS guide "External Term Format" (erl_ext_dist). The package is
// pure and takes no memory in the steady state.
package walk

// Tags of the external term format that can come from a node of OTP 25 or
// later; all others are refused.
const (
	tagNewFloat      = 70
	tagBitBinary     = 77
	tagCompressed    = 80
	tagNewPid        = 88
	tagNewPort       = 89
	tagNewerRef      = 90
	tagSmallInteger  = 97
	tagInteger       = 98
	tagAtom          = 100
	tagSmallTuple    = 104
	tagLargeTuple    = 105
	tagNil           = 106
	tagString        = 107
	tagList          = 108
	tagBinary        = 109
	tagSmallBig      = 110
	tagLargeBig      = 111
	tagNewFun        = 112
	tagExport        = 113
	tagSmallAtom     = 115
	tagMap           = 116
	tagAtomUTF8      = 118
	tagSmallAtomUTF8 = 119
	tagV4Port        = 120
)

// Reason says why a term did not pass.
type Reason uint8

// The reasons of Walk.
const (
	OK        Reason = iota
	Malformed        // no term of the external format, or one that no node would take
	Tag              // a tag that no node of OTP 25 or later sends: compressed, local, obsolete, unknown
	Depth            // nested deeper than the limit
	Nodes            // more terms than the limit
	Integer          // an integer of more bytes than the limit
	Fun              // a fun or an export
	Port             // a port
	Atom             // refused by the caller's Atom
	Ident            // refused by the caller's Pid or Ref
)

// maxDepth is the most that Walker.Depth may ask for.
const maxDepth = 256

// keepHashes bounds what a Walker keeps between walks, in map keys.
const keepHashes = 16 << 10

// Walker goes through terms, one after the other; it is not for two goroutines
// at once.
type Walker struct {
	Names Names
	Depth int // most levels of tuples, lists and maps, at most 256
	Nodes int // most terms, each character of a STRING_EXT counted
	Bytes int // most bytes of one integer's magnitude

	// Lenient lets funs, exports and ports pass, and does not look for a key
	// that comes twice in a map: for terms of a trusted node.
	Lenient bool

	// Atom is told of every atom outside of identifiers, in its encoded bytes;
	// latin1 says that they are not UTF-8 but Latin-1. False refuses the term.
	Atom func(name []byte, latin1 bool) bool
	// Pid is told of every pid with the 12 bytes id, serial, creation; what it
	// writes there takes their place. False refuses the term.
	Pid func(p Pid, body []byte) bool
	// Ref is the same for references, with the creation and the words.
	Ref func(r Ref, body []byte) bool

	left   []level
	hashes []uint64
	parts  []part // of the levels that are in keys
	nodes  int
	buf    []byte
	off    int
}

// level is one open tuple, list or map.
type level struct {
	left   int32 // elements still to come
	hashes int32 // map: where its keys' hashes begin
	kind   uint8 // the tag
	keys   uint8 // how many keys of maps it is in
}

// Walk goes through the one term, without version byte, that b begins with and
// returns its length in bytes. The term may have been changed in part by the
// callbacks when it does not pass.
func (w *Walker) Walk(b []byte) (n int, why Reason) {
	w.buf, w.off, w.nodes = b, 0, w.Nodes
	w.left, w.hashes, w.parts = w.left[:0], w.hashes[:0], w.parts[:0]
	why = w.walk()
	n, w.buf = w.off, nil
	if cap(w.hashes) > keepHashes {
		w.hashes = nil
	}
	return n, why
}

func (w *Walker) walk() Reason {
	for {
		if w.nodes == 0 {
			return Nodes
		}
		w.nodes--
		if w.off == len(w.buf) {
			return Malformed
		}
		tag := w.buf[w.off]
		start := w.off
		w.off++
		var why Reason
		if isCompound(tag) {
			why = w.open(tag)
		} else if why = w.leaf(tag); why == OK {
			why = w.closed(start)
		}
		if why != OK || len(w.left) == 0 {
			return why
		}
	}
}

func isCompound(tag byte) bool {
	return tag == tagSmallTuple || tag == tagLargeTuple || tag == tagList || tag == tagMap
}

// open begins a tuple, list or map.
func (w *Walker) open(tag byte) Reason {
	n, ok := w.size(tag == tagSmallTuple)
	each := 1
	if tag == tagMap {
		each = 2
	}
	if !ok || n > (len(w.buf)-w.off)/each || tag == tagList && n == 0 {
		return Malformed
	}
	if n*each > w.nodes {
		return Nodes
	}
	keys := uint8(0)
	if top := len(w.left) - 1; top >= 0 {
		in := &w.left[top]
		if tag == tagList && in.kind == tagList && in.left == 1 {
			in.left = int32(n) + 1 // the tail of a list continues the list: its depth costs nothing
			return OK
		}
		if keys = in.keys; in.kind == tagMap && in.left%2 == 0 && !w.Lenient {
			keys++
		}
	}
	if len(w.left) >= min(w.Depth, maxDepth) || keys == maxKeyDepth && tag == tagMap {
		return Depth
	}
	if keys > 0 {
		w.parts = append(w.parts, part{hash: begin(tag, n)})
	}
	n *= each
	if tag == tagList {
		n++
	}
	w.left = append(w.left, level{left: int32(n), hashes: int32(len(w.hashes)), kind: tag, keys: keys})
	if n == 0 {
		return w.end()
	}
	return OK
}

// closed accounts for a finished leaf that began at start.
func (w *Walker) closed(start int) Reason {
	top := len(w.left) - 1
	if top < 0 {
		return OK
	}
	l := &w.left[top]
	if l.keys > 0 {
		w.leafHash(l, w.buf[start:w.off])
	} else if l.kind == tagMap && l.left%2 == 0 && !w.Lenient {
		w.hashes = append(w.hashes, hash(w.buf[start:w.off]))
	}
	l.left--
	if l.left == 0 {
		return w.end()
	}
	return OK
}

// end closes every level that has no more elements.
func (w *Walker) end() Reason {
	for top := len(w.left) - 1; top >= 0 && w.left[top].left == 0; top-- {
		l := &w.left[top]
		if l.kind == tagMap && !w.Lenient {
			if twice(w.hashes[l.hashes:]) {
				return Malformed
			}
			w.hashes = w.hashes[:l.hashes]
		}
		w.left = w.left[:top]
		if top == 0 {
			break
		}
		in := &w.left[top-1]
		if l.keys > 0 {
			w.partEnd(in)
		}
		in.left--
	}
	return OK
}
