package walk

import "encoding/binary"

// AppendTuple appends the head of a tuple of n elements.
func AppendTuple(dst []byte, n int) []byte {
	if n > 255 {
		return binary.BigEndian.AppendUint32(append(dst, tagLargeTuple), uint32(n))
	}
	return append(dst, tagSmallTuple, byte(n))
}

// AppendUint appends an integer in its shortest form.
func AppendUint(dst []byte, v uint64) []byte {
	switch {
	case v <= 255:
		return append(dst, tagSmallInteger, byte(v))
	case v <= 1<<31-1:
		return binary.BigEndian.AppendUint32(append(dst, tagInteger), uint32(v))
	}
	at := len(dst) + 1
	dst = append(dst, tagSmallBig, 0, 0)
	for ; v > 0; v >>= 8 {
		dst = append(dst, byte(v))
		dst[at]++
	}
	return dst
}

// AppendAtom appends an atom of UTF-8, at most 255 characters.
func AppendAtom(dst []byte, name string) []byte {
	if len(name) > 255 {
		dst = append(dst, tagAtomUTF8, byte(len(name)>>8), byte(len(name)))
	} else {
		dst = append(dst, tagSmallAtomUTF8, byte(len(name)))
	}
	return append(dst, name...)
}

// AppendPid appends a pid of one of the two nodes.
func AppendPid(dst []byte, p Pid, names Names) []byte {
	dst = AppendAtom(append(dst, tagNewPid), names.text(p.Node))
	dst = binary.BigEndian.AppendUint32(dst, p.ID)
	dst = binary.BigEndian.AppendUint32(dst, p.Serial)
	return binary.BigEndian.AppendUint32(dst, p.Creation)
}

// AppendRef appends a reference of one of the two nodes.
func AppendRef(dst []byte, r Ref, names Names) []byte {
	dst = AppendAtom(append(dst, tagNewerRef, 0, r.Len), names.text(r.Node))
	dst = binary.BigEndian.AppendUint32(dst, r.Creation)
	for _, w := range r.Words[:r.Len] {
		dst = binary.BigEndian.AppendUint32(dst, w)
	}
	return dst
}
