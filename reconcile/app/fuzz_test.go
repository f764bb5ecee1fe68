package app

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzParse holds that any file gives a spec or errors with a place, that it
// never panics, and that what is accepted keeps the rules others build on.
func FuzzParse(f *testing.F) {
	formats := []Format{Erlang, YAML, JSON}
	for i, format := range formats {
		f.Add([]byte(everything()[format]), uint8(i))
	}
	for _, dir := range []string{"my_service", "demo_uptime", "demo_counter"} {
		src, err := os.ReadFile("testdata/seed/apps/" + dir + "/app.config")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src, uint8(0))
	}
	f.Add([]byte("a: &a [*a]"), uint8(1))
	f.Add([]byte(`{"a":{"a":[{}]}}`), uint8(2))
	f.Fuzz(func(t *testing.T, src []byte, n uint8) {
		spec, err := Parse(src, formats[int(n)%3], "f")
		if err != nil {
			refused(t, err)
			return
		}
		if !validName(string(spec.Name)) || spec.Version == "" || spec.Source.Type == "" || spec.Isolation == "" {
			t.Errorf("accepted %+v", spec)
		}
		again, err := Parse(src, formats[int(n)%3], "f")
		if err != nil || again.Digest() != spec.Digest() {
			t.Errorf("a second reading has another digest, error %v", err)
		}
		for _, p := range spec.Ports() {
			if spec.Isolation == VM && (p == EPMDPort || p == DistributionPort) {
				t.Errorf("port %d is ours", p)
			}
		}
	})
}

func refused(t *testing.T, err error) {
	var list Errors
	if !errors.As(err, &list) || len(list) == 0 {
		t.Fatalf("%T: %v", err, err)
	}
	for _, line := range list.Lines() {
		if !strings.HasPrefix(line, "f:") || strings.ContainsAny(line, "\n\r") {
			t.Errorf("error %q", line)
		}
	}
}
