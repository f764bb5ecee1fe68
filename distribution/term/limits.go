package term

// Bounds that hold whatever Limits says.
const (
	// maxAtomChars is Erlang's own bound on an atom's length in characters.
	maxAtomChars = 255
	// maxIntBytes bounds one integer's magnitude: half a million bits.
	maxIntBytes = 64 << 10
	// maxDigits bounds one integer literal, since reading digits takes time
	// quadratic in their number. 65536 digits of base 36 stay below maxIntBytes.
	maxDigits = 64 << 10
	// maxKeyDepth bounds maps inside keys of maps inside keys …: finding
	// duplicate keys reads a key once for each level above it.
	maxKeyDepth = 8
)

// Defaults of Limits.
const (
	DefaultDepth = 256
	DefaultNodes = 1 << 20
)

// Limits bounds what Decode and Parse build from bytes that someone else wrote.
// Zero fields mean the defaults.
type Limits struct {
	// Depth is the most levels of tuples, lists, maps and funs; DefaultDepth.
	Depth int
	// Nodes is the most terms, each element and each character of a
	// STRING_EXT counted; DefaultNodes. One node costs up to about 100 bytes.
	Nodes int
	// Inflated is the most bytes that a compressed term may inflate to.
	// Zero refuses compressed terms. Parse does not look at it.
	Inflated int
	// Shared lets binaries share the memory of what is decoded: for a look at a
	// term that is not kept.
	Shared bool
}

func (l Limits) withDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	if l.Nodes <= 0 {
		l.Nodes = DefaultNodes
	}
	return l
}
