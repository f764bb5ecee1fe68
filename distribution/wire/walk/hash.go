package walk

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// A node takes no map with one key twice, so the keys of each map are told
// apart by a hash. Terms that are equal have equal hashes, in whatever way they
// were written; a key of many parts is hashed part by part, as it is walked.

// maxKeyDepth bounds maps inside keys of maps inside keys …, as term does.
const maxKeyDepth = 8

// What hashes of each kind of term begin with (digits of pi): far apart, so that
// terms of two kinds do not meet where their parts are small.
const (
	seedInteger uint64 = 0x243f6a8885a308d3
	seedLarge   uint64 = 0x13198a2e03707344
	seedFloat   uint64 = 0xa4093822299f31d0
	seedAtom    uint64 = 0x082efa98ec4e6c89
	seedBinary  uint64 = 0x452821e638d01377
	seedBits    uint64 = 0xbe5466cf34e90c6c
	seedPid     uint64 = 0xc0ac29b7c97c50dd
	seedRef     uint64 = 0x3f84d5b5b5470917
	seedTuple   uint64 = 0x9216d5d98979fb1b
	seedList    uint64 = 0xd1310ba698dfb5ac
	seedTail    uint64 = 0x2ffd72dbd01adfb7
	seedMap     uint64 = 0xb8e1afed6a267e96
	seedOther   uint64 = 0xba7c9045f12c7f99
)

// part is what is known of an open level that is in a key.
type part struct {
	hash uint64 // of the elements so far
	key  uint64 // map: hash of the key whose value comes next
}

// leafHash takes a finished leaf into the hash of the level that it is in, which
// is in a key.
func (w *Walker) leafHash(l *level, leaf []byte) {
	p := &w.parts[len(w.parts)-1]
	tail := l.kind == tagList && l.left == 1
	switch {
	case tail && leaf[0] == tagNil: // the list is a proper one
	case tail && leaf[0] == tagString: // a list whose tail is a list is one list
		p.hash = characters(p.hash, leaf[3:])
	default:
		w.partHash(l, hash(leaf))
	}
}

// partEnd ends the hash of the innermost level, which was in a key, and takes
// it into that of the level around it.
func (w *Walker) partEnd(around *level) {
	last := len(w.parts) - 1
	h := finish(w.parts[last].hash)
	w.parts = w.parts[:last]
	w.partHash(around, h)
}

// partHash takes the hash of a finished part into that of its level, and keeps
// it where the part is a key.
func (w *Walker) partHash(l *level, h uint64) {
	key := l.kind == tagMap && l.left%2 == 0
	if key {
		w.hashes = append(w.hashes, h)
	}
	if l.keys == 0 {
		return
	}
	p := &w.parts[len(w.parts)-1]
	switch {
	case key:
		p.key = h
	case l.kind == tagMap: // pairs may come in any order
		p.hash += finish(mix(p.key, h))
	case l.kind == tagList && l.left == 1:
		p.hash = mix(mix(p.hash, seedTail), h)
	default:
		p.hash = mix(p.hash, h)
	}
}

// begin is what the hash of a compound of n elements begins with.
func begin(tag byte, n int) uint64 {
	switch tag {
	case tagList:
		return seedList
	case tagMap:
		return mix(seedMap, uint64(n))
	}
	return mix(seedTuple, uint64(n))
}

// finish ends the hash of a compound (the finalizer of MurmurHash3).
func finish(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// characters goes on with the hash of a list whose next elements are bytes.
func characters(h uint64, all []byte) uint64 {
	for _, c := range all {
		h = mix(h, integer(int64(c)))
	}
	return h
}

func integer(n int64) uint64 { return mix(seedInteger, uint64(n)) }

// hash is that of a leaf.
func hash(b []byte) uint64 {
	switch b[0] {
	case tagSmallAtomUTF8:
		return hashBytes(seedAtom, b[2:])
	case tagSmallInteger:
		return integer(int64(b[1]))
	case tagInteger:
		return integer(int64(int32(binary.BigEndian.Uint32(b[1:]))))
	case tagSmallBig:
		return large(b[2], b[3:])
	case tagLargeBig:
		return large(b[5], b[6:])
	case tagAtom, tagSmallAtom, tagAtomUTF8:
		return atom(b)
	case tagBinary:
		return hashBytes(seedBinary, b[5:])
	case tagBitBinary:
		return bitString(b[5], b[6:])
	case tagString:
		return finish(characters(seedList, b[3:]))
	case tagNil:
		return finish(seedList)
	case tagNewFloat:
		return float(binary.BigEndian.Uint64(b[1:]))
	case tagNewPid:
		_, n := atomAt(b[1:])
		return hashBytes(mix(seedPid, atom(b[1:])), b[1+n:])
	case tagNewerRef:
		_, n := atomAt(b[3:])
		return reference(atom(b[3:]), b[3+n:])
	}
	return hashBytes(seedOther, b)
}

// large is the hash of an integer with that magnitude, which may be written
// with more bytes than it needs.
func large(sign byte, magnitude []byte) uint64 {
	magnitude = bytes.TrimRight(magnitude, "\x00")
	if len(magnitude) > 8 {
		return hashBytes(seedLarge^uint64(min(sign, 1)), magnitude)
	}
	var v uint64
	for i, c := range magnitude {
		v |= uint64(c) << (8 * i)
	}
	switch {
	case v > math.MaxInt64:
		return mix(seedLarge^uint64(min(sign, 1)), v)
	case sign != 0:
		return integer(-int64(v))
	}
	return integer(int64(v))
}

// float is the hash of a float; 0.0 and -0.0 are one key until OTP 26.
func float(f uint64) uint64 {
	if f<<1 == 0 {
		f = 0
	}
	return mix(seedFloat, f)
}

func atom(b []byte) uint64 {
	name, _ := atomAt(b)
	if isLatin1(b[0]) {
		name = UTF8(name)
	}
	return hashBytes(seedAtom, name)
}

// bitString is the hash of a bit string; those bits of its last byte that do not
// belong to it may be anything.
func bitString(last byte, b []byte) uint64 {
	if last%8 == 0 {
		return hashBytes(seedBinary, b)
	}
	n := len(b) - 1
	return mix(hashBytes(seedBits^uint64(last), b[:n]), uint64(b[n]>>(8-last)))
}

// reference is the hash of a reference: creation and words. Words of zero at
// the end make no difference to a node.
func reference(node uint64, body []byte) uint64 {
	for len(body) > 8 && binary.BigEndian.Uint32(body[len(body)-4:]) == 0 {
		body = body[:len(body)-4]
	}
	return hashBytes(mix(seedRef, node), body)
}

// twice says whether a number comes twice; it changes their order.
func twice(hashes []uint64) bool {
	if len(hashes) <= 12 {
		for i, h := range hashes {
			if slices.Contains(hashes[:i], h) {
				return true
			}
		}
		return false
	}
	slices.Sort(hashes)
	for i := 1; i < len(hashes); i++ {
		if hashes[i] == hashes[i-1] {
			return true
		}
	}
	return false
}

// mix is a step of a hash that needs to spread well and no more: who makes two
// keys collide has only his own term refused.
func mix(h, v uint64) uint64 {
	h = (bits.RotateLeft64(h, 29) ^ v) * 0x9E3779B97F4A7C15
	return h ^ h>>32
}

func hashBytes(h uint64, b []byte) uint64 {
	h = mix(h, uint64(len(b)))
	for len(b) >= 8 {
		h = mix(h, binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	var last uint64
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	return mix(h, last)
}
