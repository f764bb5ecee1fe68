package walk

import "encoding/binary"

// Node says whose process or reference an identifier is.
type Node uint8

// The nodes that an identifier may be of.
const (
	Other Node = iota
	Guest
	Host
)

// Names are the two nodes that identifiers are told apart by, "name@host".
type Names struct{ Guest, Host string }

func (n Names) of(name []byte) Node {
	switch string(name) {
	case n.Guest:
		return Guest
	case n.Host:
		return Host
	}
	return Other
}

func (n Names) text(o Node) string {
	switch o {
	case Guest:
		return n.Guest
	case Host:
		return n.Host
	}
	return "?"
}

// Pid is a process of one of the two nodes, or of another one; then its node's
// name is not kept.
type Pid struct {
	Node                 Node
	ID, Serial, Creation uint32
}

// Ref is a reference of one to five words.
type Ref struct {
	Node     Node
	Len      uint8
	Creation uint32
	Words    [5]uint32
}

// atomAt reads the atom that b begins with and the bytes it takes, 0 when
// there is none.
func atomAt(b []byte) (name []byte, n int) {
	if len(b) < 2 {
		return nil, 0
	}
	head, size := 2, int(b[1])
	switch b[0] {
	case tagSmallAtomUTF8, tagSmallAtom:
	case tagAtomUTF8, tagAtom:
		if len(b) < 3 {
			return nil, 0
		}
		head, size = 3, int(binary.BigEndian.Uint16(b[1:]))
	default:
		return nil, 0
	}
	if head+size > len(b) {
		return nil, 0
	}
	return b[head : head+size], head + size
}

// pidAt reads NEW_PID_EXT: tag, node, id, serial, creation.
func pidAt(b []byte, names Names) (Pid, int) {
	if len(b) == 0 || b[0] != tagNewPid {
		return Pid{}, 0
	}
	name, n := atomAt(b[1:])
	if n == 0 || len(b) < 1+n+12 {
		return Pid{}, 0
	}
	body := b[1+n:]
	return Pid{
		Node: names.of(name), ID: binary.BigEndian.Uint32(body),
		Serial: binary.BigEndian.Uint32(body[4:]), Creation: binary.BigEndian.Uint32(body[8:]),
	}, 1 + n + 12
}

// refAt reads NEWER_REFERENCE_EXT: tag, number of words, node, creation, words.
func refAt(b []byte, names Names) (Ref, int) {
	if len(b) < 3 || b[0] != tagNewerRef {
		return Ref{}, 0
	}
	words := int(binary.BigEndian.Uint16(b[1:]))
	name, n := atomAt(b[3:])
	if n == 0 || words < 1 || words > 5 || len(b) < 3+n+4+4*words {
		return Ref{}, 0
	}
	body := b[3+n:]
	r := Ref{Node: names.of(name), Len: uint8(words), Creation: binary.BigEndian.Uint32(body)}
	for i := range words {
		r.Words[i] = binary.BigEndian.Uint32(body[4+4*i:])
	}
	return r, 3 + n + 4 + 4*words
}

// Put writes p over the body that Walker.Pid was given.
func (p Pid) Put(body []byte) {
	binary.BigEndian.PutUint32(body, p.ID)
	binary.BigEndian.PutUint32(body[4:], p.Serial)
	binary.BigEndian.PutUint32(body[8:], p.Creation)
}

// Put writes r over the body that Walker.Ref was given; r has as many words.
func (r Ref) Put(body []byte) {
	binary.BigEndian.PutUint32(body, r.Creation)
	for i := range int(r.Len) {
		binary.BigEndian.PutUint32(body[4+4*i:], r.Words[i])
	}
}
