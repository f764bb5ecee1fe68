package hex

import (
	"errors"
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for s, good := range map[string]bool{
		"1.0.0": true, "0.0.0": true, "10.20.30": true, "1.0.0-rc.1": true, "1.0.0-0a": true, "1.0.0--": true, "1.0.0-A-B": true,
		"1.0.0+01": true, "1.0.0+a-b.c": true, "1.0.0-a+b": true, "99999999999999999999999.0.0": true, "1.0.0-0": true,
		"": false, "1": false, "1.0": false, "1.0.0.0": false, "01.0.0": false, "1.0.0-01": false, "1.0.0-": false, "1.0.0+": false,
		"1.0.0-a..b": false, "1.0.0+a+b": false, "1.0.0-a_b": false, "1.0.0-é": false, " 1.0.0": false, "1.0.0 ": false, "+1.0.0": false,
		"-1.0.0": false, "1.-1.0": false, "1_0.0.0": false, "a.b.c": false, "1.0.0-+a": false, "v1.0.0": false, "1.0.0/x": false,
		"1.0." + strings.Repeat("1", 300): false,
	} {
		v, err := ParseVersion(s)
		if (err == nil) != good || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", s, err)
		}
		if good && v.String() != s {
			t.Errorf("%q became %q", s, v)
		}
	}
}

// In the order of semver.org, section 11, with Elixir's big integers.
func TestCompare(t *testing.T) {
	ordered := []string{
		"0.0.0-0", "0.0.0", "0.9.10", "1.0.0-0", "1.0.0-2", "1.0.0-10", "1.0.0-18446744073709551617", "1.0.0-18446744073709551618",
		"1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0",
		"1.0.1", "1.2.0", "1.10.0", "2.0.0", "18446744073709551616.0.0", "18446744073709551617.0.0",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			v, w := version(t, a), version(t, b)
			if got, want := v.Compare(w), int(min(max(i-j, -1), 1)); got != want {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
	if version(t, "1.0.0+a").Compare(version(t, "1.0.0+b")) != 0 {
		t.Error("builds count")
	}
}

func version(t *testing.T, s string) Version {
	t.Helper()
	v, err := ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRequirement(t *testing.T) {
	for _, c := range []struct {
		version, requirement string
		match, release       bool
	}{
		{"2.1.0", "~> 2.0", true, true}, {"3.0.0", "~> 2.0", false, false}, {"2.0.1", "~> 2.0.0", true, true}, {"2.1.0", "~> 2.0.0", false, false},
		{"2.1.3-dev", "~> 2.1.2", true, false}, {"2.2.0-dev", "~> 2.1-dev", true, true}, {"2.1.3-dev", "~> 2.1.2-dev", true, true},
		{"2.2.0-dev", ">= 2.1.0", true, false}, {"2.2.3-dev", ">= 2.1.0-dev", true, true}, {"2.0.0-dev", "~> 1.0", false, false},
		{"1.1.0-0", "~> 1.0.0", false, false}, {"1.0.0-dev", "~> 1.0", false, false}, {"1.0.0-dev", "< 1.0.0", true, true},
		{"1.0.0", "1.0.0", true, true}, {"1.0.0+b", "1.0.0", true, true}, {"1.0.0", "!1.0.0", false, false}, {"1.0.0", "  >=1.0.0  ", true, true},
		{"1.0.0", ">= 1.0.0 or < 0.1.0 and > 5.0.0", true, true}, {"1.0.0", "> 5.0.0 and >= 1.0.0 or <= 1.0.0", true, true},
		{"1.0.0", "> 2.0.0 or >= 1.0.0 and < 2.0.0", true, true}, {"1.0.0", "!= 1.0.0 and != 2.0.0", false, false},
		{"1.5.0", "~> 0.9 or ~> 1.0  and  != 1.5.1", true, true},
	} {
		r, err := ParseRequirement(c.requirement)
		if err != nil {
			t.Fatal(err)
		}
		v := version(t, c.version)
		if r.Match(v) != c.match || r.MatchRelease(v) != c.release {
			t.Errorf("%s with %q: %v, %v", c.version, c.requirement, r.Match(v), r.MatchRelease(v))
		}
	}
	for _, s := range []string{
		"", " ", "and", "or", ">= 1.0.0 and", ">= 1.0.0 or", "and >= 1.0.0", "> 1.0", "~> 1", "=1.0.0", "=> 1.0.0", ">=1.0.0 <2.0.0",
		">=1.0.0and<2.0.0", "(>= 1.0.0)", ">= 1.0.0\tand < 2.0.0", ">= >= 1.0.0", "1.0.0 2.0.0", "1.0.0 and and 2.0.0", ">= 1.0 .0", "~>", "\xff",
		strings.Repeat("1.0.0 or ", 1000) + "1.0.0",
	} {
		if r, err := ParseRequirement(s); !errors.Is(err, ErrMalformed) || r.Match(version(t, "1.0.0")) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzRequirement(f *testing.F) {
	for _, s := range []string{"~> 1.2 and != 1.2.5", ">=1.0.0-rc.1 or 2.0.0+b", "!1.0.0", "< 1.0.0 or ~> 3.0-dev"} {
		f.Add(s, "1.2.3-rc.1+b")
	}
	f.Fuzz(func(t *testing.T, requirement, text string) {
		v, err := ParseVersion(text)
		if err == nil && (v.String() != text || v.Compare(v) != 0) {
			t.Fatalf("%q became %q", text, v)
		}
		r, rerr := ParseRequirement(requirement)
		if err != nil || rerr != nil {
			return
		}
		if r.MatchRelease(v) && !r.Match(v) {
			t.Fatalf("%q satisfies %q with fewer versions allowed", text, requirement)
		}
		if none, err := ParseRequirement(requirement + " and < 0.0.0-0"); err == nil && len(r.any) == 1 && none.Match(v) {
			t.Fatalf("%q satisfies %q", text, none)
		}
		if anything, err := ParseRequirement(requirement + " or >= 0.0.0-0"); err == nil && !anything.Match(v) {
			t.Fatalf("%q does not satisfy %q", text, anything)
		}
	})
}
