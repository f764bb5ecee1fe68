package term

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	deep := func(n int) []byte {
		return append(append([]byte{Version}, bytes.Repeat([]byte{tagSmallTuple, 1}, n)...), tagNil)
	}
	wide := append([]byte{Version, tagLargeTuple, 0, 0, 1, 0}, bytes.Repeat([]byte{tagNil}, 256)...)
	chars := append([]byte{Version, tagString, 1, 0}, make([]byte, 256)...)
	compressed := captured(t)["compressed"]
	tests := []struct {
		name   string
		limits Limits
		bytes  []byte
		want   string
	}{
		{"depth", Limits{}, deep(DefaultDepth - 1), ""},
		{"depth beyond", Limits{}, deep(DefaultDepth), "nested deeper"},
		{"depth given", Limits{Depth: 3}, deep(3), "nested deeper"},
		{"nodes", Limits{Nodes: 257}, wide, ""},
		{"nodes beyond", Limits{Nodes: 256}, wide, "more elements"},
		{"characters", Limits{Nodes: 257}, chars, ""},
		{"characters beyond", Limits{Nodes: 256}, chars, "more elements"},
		{"inflated", Limits{Inflated: 14006}, compressed, ""},
		{"inflated beyond", Limits{Inflated: 14005}, compressed, "at most 14005"},
	}
	for _, tt := range tests {
		_, _, err := tt.limits.Decode(tt.bytes)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestInflate(t *testing.T) {
	b := captured(t)["compressed"]
	got, rest, err := Limits{Inflated: 1 << 20}.Decode(append(bytes.Clone(b), "after"...))
	if err != nil || string(rest) != "after" {
		t.Fatalf("%v, rest %q", err, rest)
	}
	if elems, ok := got.(List).Proper(); !ok || len(elems) != 2000 || elems[1999] != Atom("hello") {
		t.Errorf("got %.80s", Format(got))
	}
	for name, size := range map[string]uint32{"too small": 100, "too large": 1 << 19} {
		lying := bytes.Clone(b)
		binary.BigEndian.PutUint32(lying[2:], size)
		if _, _, err := (Limits{Inflated: 1 << 20}).Decode(lying); err == nil {
			t.Errorf("%s: an announced size that is %s was believed", name, name)
		}
	}
}

// hostile are inputs made to cost more than they weigh.
func hostile() map[string][]byte {
	const size = 1 << 20
	fill := func(unit ...byte) []byte {
		return append([]byte{Version}, bytes.Repeat(unit, size/len(unit))...)
	}
	listOfLists := func(announced uint32) []byte {
		return fill(append([]byte{tagList}, binary.BigEndian.AppendUint32(nil, announced)...)...)
	}
	emptyTuples := append([]byte{Version, tagLargeTuple, 0, 0xf, 0xff, 0xf0}, bytes.Repeat([]byte{tagNil}, size)...)
	emptyMaps := append([]byte{Version, tagLargeTuple, 0, 3, 0, 0}, bytes.Repeat([]byte{tagMap, 0, 0, 0, 0}, 3<<16)...)
	keys := []byte{Version, tagLargeTuple, 0, 0, 0xff, 0xff}
	for range 1 << 16 {
		keys = append(keys, tagMap, 0, 0, 0, 1, tagMap, 0, 0, 0, 1, tagNil, tagNil, tagNil)
	}
	return map[string][]byte{
		"tuples in tuples":       fill(tagSmallTuple, 1),
		"wide tuples in tuples":  fill(tagSmallTuple, 255),
		"lists in lists":         listOfLists(1),
		"lists that announce":    listOfLists(size / 2),
		"maps in keys":           fill(tagMap, 0, 0, 0, 1),
		"maps that announce":     fill(tagMap, 0, 1, 0, 0),
		"tails":                  append([]byte{Version}, bytes.Repeat([]byte{tagList, 0, 0, 0, 1, tagNil}, size/6)...),
		"one wide tuple":         emptyTuples,
		"one tuple of maps":      emptyMaps,
		"one tuple of maps maps": keys,
		"funs in funs":           fill(append([]byte{tagNewFun, 0, 1, 0, 0}, make([]byte, 25)...)...),
	}
}

// What one byte may cost at most: a pair, its entry in the set of keys, and the
// slack of slices that grow.
const bytesPerByte = 200

func TestHostileInputsAreCheap(t *testing.T) {
	for name, b := range hostile() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, _, err := Decode(b)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > uint64(len(b))*bytesPerByte {
			t.Errorf("%s: %d bytes took %d bytes of memory (%v)", name, len(b), spent, err)
		}
		if took > 30*time.Second {
			t.Errorf("%s: %d bytes took %v (%v)", name, len(b), took, err)
		}
	}
}

func TestHostileTextIsCheap(t *testing.T) {
	const size = 1 << 20
	texts := map[string]string{
		"digits":           strings.Repeat("9", size),
		"many long digits": strings.Repeat(strings.Repeat("9", 60000)+".\n", 16),
		"open braces":      strings.Repeat("{", size),
		"open parens":      strings.Repeat("(", size),
		"signs":            strings.Repeat("-", size),
		"tails":            strings.Repeat("[a|", size/3),
		"maps":             strings.Repeat("#{", size/2),
		"strings":          strings.Repeat(`"a" `, size/4),
		"empty lists":      "[" + strings.Repeat("[],", size/3),
		"comment":          "%" + strings.Repeat("x", size),
		"no closing quote": `"` + strings.Repeat("x", size),
		"underscores":      strings.Repeat("1_", size/2),
		"not UTF-8":        strings.Repeat("x", size) + "\xff",
	}
	for name, text := range texts {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := Parse([]byte(text))
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > size*bytesPerByte {
			t.Errorf("%s: took %d bytes of memory (%v)", name, spent, err)
		}
		if took > 30*time.Second {
			t.Errorf("%s: took %v (%v)", name, took, err)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%s: error of %d characters", name, len(err.Error()))
		}
	}
}

func TestSharedBinariesAreNotCopied(t *testing.T) {
	b, err := Encode(Tuple{Binary("abc"), BitString{Bytes: []byte{0xe0}, Bits: 3}})
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] |= 1 // an unused bit, which reading clears in a copy
	before := bytes.Clone(b)
	for _, shared := range []bool{false, true} {
		got, _, err := Limits{Shared: shared}.Decode(b)
		if err != nil || !bytes.Equal(b, before) {
			t.Fatalf("shared %v: input is now %x, %v", shared, b, err)
		}
		bin := got.(Tuple)[0].(Binary)
		at := bytes.Index(b, []byte("abc"))
		if same := &bin[0] == &b[at]; same != shared {
			t.Errorf("shared %v: the binary is in the input's memory: %v", shared, same)
		}
	}
}
