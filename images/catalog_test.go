package images

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	core "github.com/containerd/containerd/v2/core/images"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"beamsandbox/reconcile/app"
)

func TestBill(t *testing.T) {
	b := build{recipe: Recipe{Name: "a", Version: "1.0.0", Source: app.Source{Type: app.SourceGit, URL: "https://me:secret@example.org/a.git", Ref: "main"}}}
	r := record{Name: "a", Revision: "abc", Release: Release{Name: "a", Version: "1.0.0", ERTS: "13.1.5", Apps: []string{"a-1.0.0", "kernel-8.5.3"}}, Resolved: []Dependency{
		{Kind: "hex", Name: "jsx", Repository: "hexpm", Version: "3.1.0", Checksum: "AB", Retired: "old", URL: "https://repo.hex.pm/tarballs/jsx-3.1.0.tar"},
		{Kind: "hex", Name: "own", Repository: "acme", Version: "1.0.0", Checksum: "CD", Retired: "renamed: retired: no", URL: "https://hex.acme.example/r/tarballs/own-1.0.0.tar"},
		{Kind: "git", Name: "https://example.org/dep.git", Version: "def"},
	}}
	first, err := billOf(b, r, "sha256:12", func(app string) bool { return app == "kernel-8.5.3" })
	if err != nil {
		t.Fatal(err)
	}
	var got spdx
	if err := json.Unmarshal(first, &got); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range got.Packages {
		names = append(names, p.Name+" "+p.Version)
	}
	want := []string{"a 1.0.0", "erts 13.1.5", "a 1.0.0", "kernel 8.5.3", "jsx 3.1.0", "own 1.0.0", "https://example.org/dep.git def"}
	if diff := cmp.Diff(want, names); diff != "" || len(got.Relationships) != len(want) {
		t.Errorf("packages (-want +got):\n%s\nrelationships: %v", diff, got.Relationships)
	}
	text := string(first)
	for _, want := range []string{`"SPDX-2.3"`, "pkg:hex/jsx@3.1.0\"", `"https://repo.hex.pm/tarballs/jsx-3.1.0.tar"`,
		"pkg:hex/own@1.0.0?repository_url=https%3A%2F%2Fhex.acme.example%2Fr", "git+https://example.org/dep.git@def", "retired: old", `"ab"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	if got.Packages[1].Declared != "Apache-2.0" || got.Packages[2].Declared != "" || got.Packages[3].Declared != "Apache-2.0" {
		t.Errorf("licences of OTP's parts and of none: %+v", got.Packages)
	}
	if strings.Contains(text, "secret") {
		t.Errorf("a password is in the bill: %s", text)
	}
	r.Resolved[0].Checksum, r.Resolved[1].Checksum = "ab", "cd"
	if back, err := resolvedIn(first); err != nil || !slices.Equal(back, r.Resolved) {
		t.Errorf("read back: %+v, %v; want %+v", back, err, r.Resolved)
	}
	if again, err := billOf(b, r, "sha256:12", func(app string) bool { return app == "kernel-8.5.3" }); err != nil || string(again) != text {
		t.Errorf("the same build gave another bill: %v", err)
	}
}

// TestBillOfPackage: an app that is a package of Hex says where it comes from.
func TestBillOfPackage(t *testing.T) {
	b := build{recipe: Recipe{Name: "a", Version: "1.0.0", Source: app.Source{Type: app.SourceHex}}, revision: "ab"}
	own := Dependency{Kind: "hex", Name: "a", Repository: "hexpm:acme", Version: "1.0.0", Checksum: "ab", URL: "https://repo.hex.pm/repos/acme/tarballs/a-1.0.0.tar"}
	bill, err := billOf(b, record{Name: "a", Revision: "ab", Resolved: []Dependency{own}}, "sha256:12", func(string) bool { return false })
	var got spdx
	if err != nil || json.Unmarshal(bill, &got) != nil {
		t.Fatal(err)
	}
	want := spdxPackage{
		ID: "SPDXRef-app", Name: "a", Download: own.URL, Checksums: []spdxChecksum{{"SHA256", "ab"}},
		Refs: []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:hex/acme/a@1.0.0"}}, Comment: "revision ab",
	}
	if diff := cmp.Diff(want, got.Packages[0]); diff != "" {
		t.Errorf("the app (-want +got):\n%s", diff)
	}
	if told := b.told(record{}); told["beamsandbox.checksum"] != "sha256:ab" || told["org.opencontainers.image.source"] != "pkg:hex/a@1.0.0" {
		t.Errorf("labels %v", told)
	}
}

// TestSettled: of a repository count the commits that the lock file names, if
// it names one: the heads of other branches come with them.
func TestSettled(t *testing.T) {
	all := []Dependency{
		{Kind: "git", Name: "a", Version: "a1"}, {Kind: "git", Name: "a", Version: "a2"}, {Kind: "git", Name: "plugin", Version: "p1"},
		{Kind: "hex", Name: "h", Version: "1"},
	}
	if got := settled(slices.Clone(all), `[{<<"a">>, {git, "a", {ref, "a2"}}, 0}]`); !slices.Equal(got, all[1:]) {
		t.Errorf("settled are %v, want %v", got, all[1:])
	}
	if got := settled(slices.Clone(all), ""); !slices.Equal(got, all) {
		t.Errorf("without a lock file settled are %v", got)
	}
}

// TestLines: a label holds what fits, and tells how much does not.
func TestLines(t *testing.T) {
	if got := lines([]string{"a", "b"}); got != "a\nb" {
		t.Errorf("two lines are %q", got)
	}
	many := make([]string, 100)
	for i := range many {
		many[i] = strings.Repeat("x", 99)
	}
	got := strings.Split(lines(many), "\n")
	if last := got[len(got)-1]; last != "and 62 more" || len(got) != 39 || len(lines(many)) > maxLabel {
		t.Errorf("%d lines, the last %q", len(got), last)
	}
}

func TestByNeed(t *testing.T) {
	image := func(name string, labels ...string) core.Image {
		i := core.Image{Name: name, Labels: map[string]string{}}
		for n := 0; n < len(labels); n += 2 {
			i.Labels[labels[n]] = labels[n+1]
		}
		return i
	}
	all := []core.Image{ // the newest first
		image("a2", labelApp, "a"), image("pulled", labelPulled, "x"), image("b1", labelApp, "b"), image("builder", labelBuilder, "k"),
		image("gone2", labelApp, "g", labelRemoved, "true"), image("a1", labelApp, "a"), image("gone1", labelApp, "h", labelRemoved, "true"), image("a0", labelApp, "a"),
	}
	var got []string
	for _, c := range byNeed(all) {
		got = append(got, c.image.Name)
	}
	if want := []string{"gone1", "gone2", "pulled", "a0", "a1", "builder", "b1", "a2"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestUsage(t *testing.T) {
	u := &usage{
		total: 15, sizes: map[string]int64{"base": 10, "x": 2, "y": 3}, users: map[string]int{"base": 2, "x": 1, "y": 1},
		parts: map[string][]string{"a": {"base", "x"}, "b": {"base", "y"}},
	}
	if freed := u.without("a"); freed != 2 || u.total != 13 {
		t.Errorf("without a: freed %d, left %d", freed, u.total)
	}
	if freed := u.without("b"); freed != 13 || u.total != 0 {
		t.Errorf("without b: freed %d, left %d", freed, u.total)
	}
}

// An image from elsewhere may claim anything about itself.
func TestBootOf(t *testing.T) {
	ours := func(release string) v1.Config { return v1.Config{Labels: map[string]string{labelRelease: release}} }
	good := `{"Name":"a","Version":"1.0.0","ERTS":"13.1.5","Root":"/app"}`
	for name, tt := range map[string]struct {
		config v1.Config
		want   Release
		err    string
	}{
		"ours":             {ours(good), Release{Name: "a", Version: "1.0.0", ERTS: "13.1.5", Root: "/app"}, ""},
		"its own":          {v1.Config{Entrypoint: []string{"/bin/x"}, Cmd: []string{"y"}, Env: []string{"A=b"}, WorkingDir: "/srv"}, Release{Entry: &Entry{Args: []string{"/bin/x", "y"}, Env: []string{"A=b"}, Dir: "/srv"}}, ""},
		"its own command":  {v1.Config{Cmd: []string{"/bin/x"}}, Release{Entry: &Entry{Args: []string{"/bin/x"}, Dir: "/"}}, ""},
		"nothing":          {v1.Config{}, Release{}, "neither an entrypoint nor a command"},
		"no JSON":          {ours("x"), Release{}, "label"},
		"path in the name": {ours(strings.Replace(good, `"a"`, `"../a"`, 1)), Release{}, "not plain"},
		"option as ERTS":   {ours(strings.Replace(good, "13.1.5", "-x", 1)), Release{}, "not plain"},
		"root above":       {ours(strings.Replace(good, "/app", "/app/../etc", 1)), Release{}, "not plain"},
		"both":             {ours(strings.Replace(good, "}", `,"Entry":{"Args":["/bin/sh"]}}`, 1)), Release{}, "not plain"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := bootOf(v1.ConfigFile{Config: tt.config})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("release (-want +got):\n%s", diff)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("err = %v, want %q", err, tt.err)
			}
		})
	}
}
