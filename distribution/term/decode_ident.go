package term

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// identifier reads the body of a pid, port or reference.
func (d *decoder) identifier(tag int) (Term, error) {
	words := 0
	switch tag {
	case tagNewerRef, tagNewReference:
		n, err := d.u16()
		if err != nil {
			return nil, err
		}
		if n < 1 || n > 5 {
			return nil, fmt.Errorf("reference of %d words, expected 1 to 5", n)
		}
		words = n
	case tagReference:
		words = 1
	}
	node, err := d.nodeName()
	if err != nil {
		return nil, err
	}
	switch tag {
	case tagNewPid, tagPid:
		return boxed(d.pid(node, tag == tagPid))
	case tagNewPort, tagV4Port, tagPort:
		return boxed(d.port(node, tag))
	}
	return boxed(d.ref(node, words, tag))
}

// nodeName reads the atom that begins every identifier.
func (d *decoder) nodeName() (Atom, error) {
	tag, err := d.u8()
	if err != nil {
		return "", err
	}
	switch tag {
	case tagAtom, tagSmallAtom, tagAtomUTF8, tagSmallAtomUTF8:
		return d.atom(tag)
	}
	return "", fmt.Errorf("tag %d where a node's name belongs", tag)
}

// creation reads one of 32 bits, or of 8 in the tags from before OTP 23.
func (d *decoder) creation(old bool) (uint32, error) {
	if old {
		c, err := d.u8()
		return uint32(c), err
	}
	return d.u32()
}

func (d *decoder) pid(node Atom, old bool) (Pid, error) {
	b, err := d.take(8)
	if err != nil {
		return Pid{}, err
	}
	creation, err := d.creation(old)
	return Pid{
		Node: node, ID: binary.BigEndian.Uint32(b), Serial: binary.BigEndian.Uint32(b[4:]),
		Creation: creation,
	}, err
}

func (d *decoder) port(node Atom, tag int) (Port, error) {
	var id uint64
	if tag == tagV4Port {
		b, err := d.take(8)
		if err != nil {
			return Port{}, err
		}
		id = binary.BigEndian.Uint64(b)
	} else {
		n, err := d.u32()
		if err != nil {
			return Port{}, err
		}
		id = uint64(n)
	}
	creation, err := d.creation(tag == tagPort)
	return Port{Node: node, ID: id, Creation: creation}, err
}

// ref reads words after the node. The oldest tag alone puts them before the
// creation.
func (d *decoder) ref(node Atom, words, tag int) (Ref, error) {
	r := Ref{Node: node, Len: uint8(words)}
	var err error
	if tag == tagReference {
		if r.Words[0], err = d.u32(); err != nil {
			return Ref{}, err
		}
		r.Creation, err = d.creation(true)
		return r, err
	}
	if r.Creation, err = d.creation(tag == tagNewReference); err != nil {
		return Ref{}, err
	}
	for i := range words {
		if r.Words[i], err = d.u32(); err != nil {
			return Ref{}, err
		}
	}
	return r, nil
}

// fun walks a fun whose tag was read and keeps its bytes.
func (d *decoder) fun(tag int) (Fun, error) {
	if err := d.enter(); err != nil {
		return Fun{}, err
	}
	defer d.leave()
	start := d.off - 1
	d.skipping++
	var err error
	if tag == tagExport {
		err = d.export()
	} else {
		err = d.closure()
	}
	d.skipping--
	if err != nil {
		return Fun{}, err
	}
	end := d.off
	d.off = start
	b, err := d.bytes(end - start)
	return Fun{Encoded: b}, err
}

// export walks EXPORT_EXT: module, function, arity.
func (d *decoder) export() error {
	for range 2 {
		if _, err := d.nodeName(); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	tag, err := d.u8()
	if err != nil {
		return err
	}
	if tag != tagSmallInteger {
		return fmt.Errorf("export: tag %d where an arity belongs", tag)
	}
	_, err = d.u8()
	return err
}

// closure walks NEW_FUN_EXT: its size (itself included), arity, 16 bytes of
// digest, index, number of free variables, then module, old index, old uniq,
// creator and the free variables as terms.
func (d *decoder) closure() error {
	start := d.off
	size, err := d.size()
	if err != nil {
		return err
	}
	if _, err := d.take(1 + 16 + 4); err != nil {
		return err
	}
	free, err := d.size()
	if err != nil {
		return err
	}
	if err := d.reserve(4 + free); err != nil {
		return err
	}
	for i := range 4 + free {
		t, err := d.term()
		if err != nil {
			return err
		}
		if i < 4 && !closureField(i, t) {
			return errors.New("fun has a field of a wrong type")
		}
	}
	if d.off-start != size {
		return fmt.Errorf("fun of %d bytes announces %d", d.off-start, size)
	}
	return nil
}

func closureField(i int, t Term) bool {
	var ok bool
	switch i {
	case 0:
		_, ok = t.(Atom)
	case 1, 2:
		_, ok = t.(Int)
	case 3:
		_, ok = t.(Pid)
	}
	return ok
}
