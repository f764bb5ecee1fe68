package hex

import (
	"cmp"
	"fmt"
	"strings"
)

// maxVersion bounds the text of a version and maxRequirement that of a
// requirement, in bytes.
const (
	maxVersion     = 256
	maxRequirement = 4096
)

const (
	digits      = "0123456789"
	identifiers = digits + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"
)

// A Version is MAJOR.MINOR.PATCH with optional pre-release and build, as
// Elixir's Version.parse/1 reads it. The zero Version is no version.
type Version struct {
	major, minor, patch number // patch is empty in "~> 1.2" alone
	pre                 []string
	build               string
}

// A number is a decimal without leading zeros and without upper bound.
type number string

func (n number) compare(m number) int {
	return cmp.Or(cmp.Compare(len(n), len(m)), strings.Compare(string(n), string(m)))
}

// ParseVersion reads a complete version such as "1.2.3-rc.1+build". Errors are
// ErrMalformed.
func ParseVersion(s string) (Version, error) { return parseVersion(s, false) }

// parseVersion also accepts MAJOR.MINOR if approximate.
func parseVersion(s string, approximate bool) (Version, error) {
	v, ok := readVersion(s, approximate)
	if !ok {
		return Version{}, fmt.Errorf("%w: %.100q is not a version: write MAJOR.MINOR.PATCH", ErrMalformed, s)
	}
	return v, nil
}

func readVersion(s string, approximate bool) (v Version, ok bool) {
	if len(s) > maxVersion {
		return v, false
	}
	s, build, hasBuild := strings.Cut(s, "+")
	s, pre, hasPre := strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	if len(parts) != 3 && (len(parts) != 2 || !approximate) {
		return v, false
	}
	for _, p := range parts {
		if !numeric(p) || leadingZero(p) {
			return v, false
		}
	}
	v = Version{major: number(parts[0]), minor: number(parts[1])}
	if len(parts) == 3 {
		v.patch = number(parts[2])
	}
	if hasPre {
		v.pre = strings.Split(pre, ".")
	}
	if hasBuild {
		v.build = build
	}
	return v, (!hasPre || validPre(v.pre)) && (!hasBuild || validIdentifiers(strings.Split(build, ".")))
}

func numeric(s string) bool     { return s != "" && only(s, digits) }
func leadingZero(s string) bool { return len(s) > 1 && s[0] == '0' }

func validPre(parts []string) bool {
	for _, p := range parts {
		if numeric(p) && leadingZero(p) {
			return false
		}
	}
	return validIdentifiers(parts)
}

func validIdentifiers(parts []string) bool {
	for _, p := range parts {
		if p == "" || !only(p, identifiers) {
			return false
		}
	}
	return true
}

// Pre reports whether v is a pre-release.
func (v Version) Pre() bool { return len(v.pre) > 0 }

// String is v as it was written.
func (v Version) String() string {
	s := string(v.major + "." + v.minor)
	if v.patch != "" {
		s += "." + string(v.patch)
	}
	if v.Pre() {
		s += "-" + strings.Join(v.pre, ".")
	}
	if v.build != "" {
		s += "+" + v.build
	}
	return s
}

// Compare is -1, 0 or 1 as v is older than, the same as or newer than w;
// a pre-release is older than its release, and builds do not count.
func (v Version) Compare(w Version) int {
	return cmp.Or(
		v.major.compare(w.major), v.minor.compare(w.minor), v.patch.compare(w.patch),
		comparePre(v.pre, w.pre),
	)
}

// comparePre orders lists of identifiers: none is newest, numbers are older
// than words, and a list is older than its continuations.
func comparePre(a, b []string) int {
	if len(a) == 0 || len(b) == 0 {
		return cmp.Compare(len(b), len(a))
	}
	for i := range min(len(a), len(b)) {
		if c := compareIdentifier(a[i], b[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func compareIdentifier(a, b string) int {
	switch na, nb := numeric(a), numeric(b); {
	case na && nb:
		return number(a).compare(number(b))
	case na:
		return -1
	case nb:
		return 1
	}
	return strings.Compare(a, b)
}
