package app

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"

	"beamsandbox/distribution/term"
)

// Digest names everything that the running app was made from: RunDigest and
// EnvDigest together, 64 hex digits. Two specs with the same digest run the
// same; description, icon, folder, depends_on and the times of a health check
// are not part of it.
func (s Spec) Digest() string {
	d := newDigest("app")
	d.text(s.RunDigest(), s.EnvDigest())
	return d.sum()
}

// RunDigest names all that only a new start can change: the build, where the
// app runs, its limits and, for a guest, its declared ports. When it is equal
// and EnvDigest is not, the app can be reconfigured in place.
func (s Spec) RunDigest() string {
	d := newDigest("run")
	d.text(s.BuildDigest(), string(s.Isolation))
	if s.Isolation == VM {
		d.vm(s.VM)
		for _, p := range s.Ports() {
			d.text("port", strconv.Itoa(int(p)))
		}
		d.variables(s.Env)
	}
	return d.sum()
}

// EnvDigest names the application environment.
func (s Spec) EnvDigest() string {
	d := newDigest("env")
	for _, key := range slices.Sorted(maps.Keys(s.Env)) {
		d.text(key)
		d.bytes(canonical(nil, s.Env[key]))
	}
	return d.sum()
}

// BuildDigest names what an image is built from: name, version and source.
func (s Spec) BuildDigest() string {
	d := newDigest("build")
	src := s.Source
	d.text(string(s.Name), s.Version, string(src.Type), src.URL, src.Ref, src.SHA256, src.MCID, src.Name)
	return d.sum()
}

// digest hashes fields, each behind its length so that two neighbours never
// run into each other.
type digest struct{ hash.Hash }

// newDigest starts a digest of one kind; the number after it changes with the
// layout.
func newDigest(kind string) digest {
	d := digest{sha256.New()}
	d.text("beamsandbox", kind, "1")
	return d
}

func (d digest) text(fields ...string) {
	for _, f := range fields {
		d.bytes([]byte(f))
	}
}

func (d digest) bytes(b []byte) {
	d.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
	d.Write(b)
}

func (d digest) vm(vm VMConfig) {
	d.text(strconv.Itoa(vm.MemoryLimit), strconv.Itoa(vm.SchedulerLimit))
	if vm.NodePrefix != nil {
		d.text("node_prefix", *vm.NodePrefix)
	}
	d.text("extra_args", strconv.Itoa(len(vm.ExtraArgs)))
	d.text(vm.ExtraArgs...)
	// Interactive is what guests ran in before there was a choice.
	if vm.CodeLoading == LoadEmbedded {
		d.text("code_loading", string(vm.CodeLoading))
	}
}

// variables are part of how a guest starts: only a new start changes them.
func (d digest) variables(env map[string]term.Term) {
	for _, key := range slices.Sorted(maps.Keys(env)) {
		if text, ok := VariableText(env[key]); ok && IsVariable(key) {
			d.text("variable", key, text)
		}
	}
}

func (d digest) sum() string { return hex.EncodeToString(d.Sum(nil)) }

// canonical appends bytes that are equal for equal terms (=:=) and different
// for different ones: a letter for the type, a length where there is one, map
// pairs in the order of their encoded keys. It lives here and not in term
// because running guests carry digests made from it: it must never change.
func canonical(dst []byte, t term.Term) []byte {
	switch t := t.(type) {
	case term.Atom:
		return framed(dst, 'a', []byte(t))
	case term.Int:
		return framed(dst, 'i', strconv.AppendInt(nil, int64(t), 10))
	case *big.Int:
		return framed(dst, 'i', t.Append(nil, 10))
	case term.Float:
		return binary.BigEndian.AppendUint64(append(dst, 'f'), math.Float64bits(float64(t)))
	case term.Binary:
		return framed(dst, 'b', t)
	case term.Tuple:
		return sequence(dst, 't', t)
	case term.List:
		return canonicalList(dst, t)
	case term.Map:
		return canonicalMap(dst, t)
	}
	// Only text is read here, and text holds no other types but bitstrings.
	return framed(dst, 'o', fmt.Appendf(nil, "%#v", t))
}

func framed(dst []byte, tag byte, b []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, tag), uint64(len(b)))
	return append(dst, b...)
}

func sequence(dst []byte, tag byte, terms []term.Term) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, tag), uint64(len(terms)))
	for _, t := range terms {
		dst = canonical(dst, t)
	}
	return dst
}

func canonicalList(dst []byte, l term.List) []byte {
	if elems, ok := l.Proper(); ok {
		return sequence(dst, 'l', elems)
	}
	return canonical(sequence(dst, 'p', l.Elems), l.Tail)
}

func canonicalMap(dst []byte, m term.Map) []byte {
	pairs := make([]string, len(m))
	for i, p := range m {
		pairs[i] = string(canonical(canonical(nil, p.Key), p.Value))
	}
	slices.Sort(pairs)
	dst = binary.BigEndian.AppendUint64(append(dst, 'm'), uint64(len(pairs)))
	for _, p := range pairs {
		dst = append(dst, p...)
	}
	return dst
}
