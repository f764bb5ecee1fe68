// Package term holds Erlang terms and their two encodings: the text that
// file:consult/1 reads and the external term format (erl_ext_dist).
//
// The package is pure: no I/O, no clock, standard library only. Terms are
// immutable by convention: whoever receives one does not write to it.
package term

import "math/big"

// Term is one Erlang term. Its dynamic type is exactly one of Atom, Int,
// *big.Int (outside int64), Float, Binary, BitString, Tuple, List, Map, Pid,
// Ref, Port or Fun.
type Term any

// Atom is an Erlang atom, at most 255 characters of UTF-8.
type Atom string

// Int is an integer that fits in 64 bits; larger ones are *big.Int.
type Int int64

// Float is an Erlang float; never NaN or infinite.
type Float float64

// Binary is a whole number of bytes.
type Binary []byte

// BitString is a bitstring whose length is not a multiple of eight: Bits
// (1 to 7) counts the used high bits of the last byte, the rest are zero.
type BitString struct {
	Bytes []byte
	Bits  uint8
}

// Tuple is {A, B, …}.
type Tuple []Term

// List is [A, B | Tail]. A nil Tail is the proper end []; a List with no
// Elems and nil Tail is []. Strings are lists of Int, as in Erlang.
type List struct {
	Elems []Term
	Tail  Term
}

// Map keeps its pairs in the order read or given; keys are any term and are
// unique under exact equality (=:=). Equal ignores the order.
type Map []Pair

// Pair is one association of a Map.
type Pair struct{ Key, Value Term }

// Pid is a process identifier as it travels between nodes (NEW_PID_EXT).
type Pid struct {
	Node     Atom
	ID       uint32
	Serial   uint32
	Creation uint32
}

// Ref is a reference (NEWER_REFERENCE_EXT) of one to five words.
type Ref struct {
	Node     Atom
	Creation uint32
	Len      uint8
	Words    [5]uint32
}

// Port is a port identifier (V4_PORT_EXT).
type Port struct {
	Node     Atom
	ID       uint64
	Creation uint32
}

// Fun is a fun or an export, kept as the bytes it arrived in: nothing here
// ever calls one.
type Fun struct{ Encoded []byte }

// Big is the arbitrary-size integer type of this package.
type Big = *big.Int
