package images

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDeclaredLicenses(t *testing.T) {
	for _, tt := range []struct {
		licenses          []string
		declared, comment string
	}{
		{nil, "", ""},
		{[]string{"MIT"}, "MIT", ""},
		{[]string{"Apache 2.0", "MPL-2.0"}, "Apache-2.0 AND MPL-2.0", ""},
		{[]string{"BSD"}, "NOASSERTION", "licenses: BSD"},
		{[]string{"MIT", "my\x1b[2J own"}, "NOASSERTION", "licenses: MIT, my own"},
	} {
		var p spdxPackage
		p.declare(tt.licenses)
		if p.Declared != tt.declared || p.Comment != tt.comment {
			t.Errorf("%q: declared %q, comment %q; want %q, %q", tt.licenses, p.Declared, p.Comment, tt.declared, tt.comment)
		}
	}
}

func TestAppLicenses(t *testing.T) {
	for text, want := range map[string][]string{
		`{application, x, [{vsn, "1"}, {licenses, ["MIT", <<"Apache 2.0">>, 7]}]}.`: {"MIT", "Apache 2.0"},
		`{application, x, [{vsn, "1"}]}.`:                                           nil,
		`{application, x, [{licenses, bad}]}.`:                                      nil,
		`{application`:                                                              nil,
	} {
		dir := t.TempDir()
		ebin := filepath.Join(dir, "lib", "x-1", "ebin")
		if err := os.MkdirAll(ebin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(ebin, "x.app"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, appLicenses(dir, "x-1")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	if got := appLicenses(t.TempDir(), "x-1"); got != nil {
		t.Errorf("of no application: %q", got)
	}
}
