package term

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Decode reads one term of the external format, version byte 131 first, within
// the default Limits. rest is what follows the term in b; the term itself
// shares no memory with b.
func Decode(b []byte) (t Term, rest []byte, err error) {
	return Limits{}.Decode(b)
}

// DecodeBare is Decode for a term without the version byte, as inside another
// structure.
func DecodeBare(b []byte) (t Term, rest []byte, err error) {
	return Limits{}.DecodeBare(b)
}

// Decode is the function Decode within l.
func (l Limits) Decode(b []byte) (t Term, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errors.New("decode term: no bytes, expected version 131")
	}
	if b[0] != Version {
		return nil, nil, fmt.Errorf("decode term: version %d, expected %d", b[0], Version)
	}
	if len(b) > 1 && b[1] == tagCompressed {
		return l.inflate(b[2:])
	}
	return l.DecodeBare(b[1:])
}

// DecodeBare is the function DecodeBare within l.
func (l Limits) DecodeBare(b []byte) (t Term, rest []byte, err error) {
	l = l.withDefaults()
	d := &decoder{buf: b, depth: l.Depth, nodes: l.Nodes, shared: l.Shared}
	if err := d.reserve(1); err != nil {
		return nil, nil, err
	}
	t, err = d.term()
	if err != nil {
		return nil, nil, fmt.Errorf("decode term: byte %d: %w", d.off, err)
	}
	return t, b[d.off:], nil
}

// errShort says that a term ends before its announced length.
var errShort = errors.New("term is cut short")

// decoder walks one term. Every announced element is paid for before memory is
// taken for it: with a node, and with one byte that must still be in buf.
type decoder struct {
	buf      []byte
	off      int
	depth    int // levels still allowed
	nodes    int // terms still allowed
	owed     int // terms announced and not yet begun, each at least one byte
	keyDepth int // map keys around the current term
	shared   bool
	skipping int // funs around the current term: their parts are only walked
}

// reserve announces n more terms.
func (d *decoder) reserve(n int) error {
	if n > len(d.buf)-d.off-d.owed {
		return errShort
	}
	if n > d.nodes {
		return errors.New("term has more elements than the limit allows")
	}
	d.nodes -= n
	d.owed += n
	return nil
}

func (d *decoder) enter() error {
	if d.depth == 0 {
		return errors.New("term is nested deeper than the limit allows")
	}
	d.depth--
	return nil
}

func (d *decoder) leave() { d.depth++ }

// take returns the next n bytes, in place.
func (d *decoder) take(n int) ([]byte, error) {
	if n < 0 || n > len(d.buf)-d.off {
		return nil, errShort
	}
	b := d.buf[d.off : d.off+n : d.off+n]
	d.off += n
	return b, nil
}

// bytes is take into memory of its own, save inside funs, where nothing is kept.
func (d *decoder) bytes(n int) ([]byte, error) {
	b, err := d.take(n)
	if err != nil || d.skipping > 0 {
		return b, err
	}
	return append(make([]byte, 0, n), b...), nil
}

func (d *decoder) u8() (int, error) {
	b, err := d.take(1)
	if err != nil {
		return 0, err
	}
	return int(b[0]), nil
}

func (d *decoder) u16() (int, error) {
	b, err := d.take(2)
	if err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint16(b)), nil
}

func (d *decoder) u32() (uint32, error) {
	b, err := d.take(4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

// size reads a 32-bit length; one that no slice can have is short in any case.
func (d *decoder) size() (int, error) {
	n, err := d.u32()
	if err != nil {
		return 0, err
	}
	if n > 1<<31-1 {
		return 0, errShort
	}
	return int(n), nil
}

// sized reads a length of 1 or 4 bytes.
func (d *decoder) sized(small bool) (int, error) {
	if small {
		return d.u8()
	}
	return d.size()
}

// term reads one announced term.
func (d *decoder) term() (Term, error) {
	tag, err := d.u8()
	if err != nil {
		return nil, err
	}
	d.owed--
	switch tag {
	case tagSmallInteger, tagInteger, tagSmallBig, tagLargeBig:
		return d.integer(tag)
	case tagNewFloat, tagFloat:
		return d.float(tag)
	case tagAtom, tagSmallAtom, tagAtomUTF8, tagSmallAtomUTF8:
		return boxed(d.atom(tag))
	case tagBinary, tagBitBinary:
		return d.binary(tag)
	case tagNewPid, tagPid, tagNewPort, tagV4Port, tagPort, tagNewerRef, tagNewReference, tagReference:
		return d.identifier(tag)
	case tagNewFun, tagExport:
		return boxed(d.fun(tag))
	case tagSmallTuple, tagLargeTuple, tagNil, tagString, tagList, tagMap:
		return d.compound(tag)
	}
	return nil, refused(tag)
}

func (d *decoder) compound(tag int) (Term, error) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.leave()
	switch tag {
	case tagSmallTuple, tagLargeTuple:
		return boxed(d.tuple(tag))
	case tagMap:
		return boxed(d.mapping())
	}
	return boxed(d.list(tag))
}

// boxed turns a typed result into a Term, nil on error.
func boxed[T any](t T, err error) (Term, error) {
	if err != nil {
		return nil, err
	}
	return t, nil
}

func refused(tag int) error {
	switch tag {
	case tagCompressed:
		return errors.New("compressed term inside another term")
	case tagAtomCacheRef:
		return errors.New("atom cache reference outside of a distribution header")
	case tagFun:
		return errors.New("fun of a release before OTP 23 (FUN_EXT)")
	case tagLocal:
		return errors.New("node-local term (LOCAL_EXT)")
	}
	return fmt.Errorf("unknown tag %d", tag)
}

func (d *decoder) tuple(tag int) (Tuple, error) {
	n, err := d.sized(tag == tagSmallTuple)
	if err != nil {
		return nil, err
	}
	return d.terms(Tuple{}, n)
}

// terms appends n announced terms to list.
func (d *decoder) terms(list []Term, n int) ([]Term, error) {
	if err := d.reserve(n); err != nil {
		return nil, err
	}
	if cap(list)-len(list) < n {
		list = append(make([]Term, 0, len(list)+n), list...)
	}
	for range n {
		t, err := d.term()
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// list reads a list whose tag was read. A LIST_EXT whose tail is again a list
// is one list, joined here in a loop so that its depth costs nothing.
func (d *decoder) list(tag int) (List, error) {
	var l List
	for {
		switch tag {
		case tagNil:
			return l, nil
		case tagString:
			chars, err := d.characters()
			l.Elems = append(l.Elems, chars...)
			return l, err
		}
		tail, err := d.segment(&l)
		if err != nil {
			return List{}, err
		}
		if tail != tagNil && tail != tagString && tail != tagList {
			return d.improper(l)
		}
		d.off++
		d.owed--
		tag = tail
	}
}

// segment reads the elements of one LIST_EXT and announces its tail, whose tag
// it returns unread.
func (d *decoder) segment(l *List) (tail int, err error) {
	n, err := d.size()
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errors.New("list of no elements with a tail")
	}
	if l.Elems != nil && cap(l.Elems)-len(l.Elems) < n {
		l.Elems, err = d.grow(l.Elems, n)
	} else {
		l.Elems, err = d.terms(l.Elems, n)
	}
	if err != nil {
		return 0, err
	}
	if err := d.reserve(1); err != nil {
		return 0, err
	}
	if d.off == len(d.buf) {
		return 0, errShort
	}
	return int(d.buf[d.off]), nil
}

// grow is terms for a list that continues: doubling, so that a list sent in
// many segments is not copied once for each.
func (d *decoder) grow(list []Term, n int) ([]Term, error) {
	if err := d.reserve(n); err != nil {
		return nil, err
	}
	for range n {
		t, err := d.term()
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

func (d *decoder) improper(l List) (List, error) {
	tail, err := d.term()
	if err != nil {
		return List{}, err
	}
	l.Tail = tail
	return l, nil
}

// characters reads the body of a STRING_EXT, a list of bytes. Its elements are
// paid for with nodes only: they stand in one byte each that is checked here.
func (d *decoder) characters() ([]Term, error) {
	n, err := d.u16()
	if err != nil {
		return nil, err
	}
	if n > d.nodes {
		return nil, errors.New("term has more elements than the limit allows")
	}
	d.nodes -= n
	b, err := d.take(n)
	if err != nil {
		return nil, err
	}
	list := make([]Term, n)
	for i, c := range b {
		list[i] = Int(c)
	}
	return list, nil
}

func (d *decoder) mapping() (Map, error) {
	n, err := d.size()
	if err != nil {
		return nil, err
	}
	if err := d.reserve(2 * n); err != nil {
		return nil, err
	}
	m := make(Map, 0, n)
	seen := newKeySet(n)
	for range n {
		key, err := d.key()
		if err != nil {
			return nil, err
		}
		if !seen.add(key) {
			return nil, errors.New("map has one key twice")
		}
		value, err := d.term()
		if err != nil {
			return nil, err
		}
		m = append(m, Pair{key, value})
	}
	return m, nil
}

func (d *decoder) key() (Term, error) {
	if d.keyDepth == maxKeyDepth {
		return nil, errors.New("maps in keys of maps are nested too deep")
	}
	d.keyDepth++
	defer func() { d.keyDepth-- }()
	return d.term()
}
