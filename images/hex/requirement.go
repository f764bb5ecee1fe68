package hex

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Requirement says which versions satisfy a dependency, in the grammar of
// Elixir's Version.parse_requirement/1: comparisons ("~>", ">=", "<=", ">",
// "<", "==", "!=", or none for "==") joined by "and" and "or", where "and"
// binds tighter. The zero Requirement is satisfied by nothing.
type Requirement struct {
	source string
	any    [][]comparison // satisfied if every comparison of one row is
}

type comparison struct {
	op      string
	version Version
}

// ParseRequirement reads s. Errors are ErrMalformed.
func ParseRequirement(s string) (Requirement, error) {
	rows, ok := readRequirement(s)
	if !ok {
		return Requirement{}, fmt.Errorf("%w: %.100q is not a version requirement: write for example \"~> 1.2 and != 1.2.5\"", ErrMalformed, s)
	}
	return Requirement{source: s, any: rows}, nil
}

func readRequirement(s string) ([][]comparison, bool) {
	if len(s) > maxRequirement || !utf8.ValidString(s) {
		return nil, false
	}
	var rows [][]comparison
	var row []comparison
	words := lexRequirement(s)
	for {
		c, n, ok := readComparison(words)
		if !ok {
			return nil, false
		}
		row = append(row, c)
		if len(words) == n {
			return append(rows, row), true
		}
		switch words[n] {
		case " or ":
			rows, row = append(rows, row), nil
		case " and ":
		default:
			return nil, false
		}
		words = words[n+1:]
	}
}

// readComparison takes an operator, if there is one, and a version: n words.
func readComparison(words []string) (c comparison, n int, ok bool) {
	c.op = "=="
	if len(words) > 0 && operators[words[0]] != "" {
		c.op, words, n = operators[words[0]], words[1:], 1
	}
	if len(words) == 0 {
		return c, n, false
	}
	c.version, ok = readVersion(words[0], c.op == "~>")
	return c, n + 1, ok
}

// operators maps what may be written to what it means.
var operators = map[string]string{
	">=": ">=", "<=": "<=", "~>": "~>", ">": ">", "<": "<", "==": "==", "!=": "!=", "!": "!=",
}

// marks are what ends a word, the longer before their beginnings.
var marks = []string{">=", "<=", "~>", ">", "<", "==", " or ", " and ", "!=", "!", " "}

// lexRequirement cuts s into operators, " and ", " or " and the words between.
func lexRequirement(s string) []string {
	var words []string
	start := 0
	for at := 0; at < len(s); {
		mark := markAt(s[at:])
		if mark == "" {
			at++
			continue
		}
		if start < at {
			words = append(words, s[start:at])
		}
		if mark != " " {
			words = append(words, mark)
		}
		at += len(mark)
		start = at
	}
	if start < len(s) {
		words = append(words, s[start:])
	}
	return words
}

func markAt(s string) string {
	for _, m := range marks {
		if strings.HasPrefix(s, m) {
			return m
		}
	}
	return ""
}

// String is the requirement as it was written.
func (r Requirement) String() string { return r.source }

// Match reports whether v satisfies r as Version.match?/2 does: pre-releases
// count like any version.
func (r Requirement) Match(v Version) bool { return r.match(v, true) }

// MatchRelease is Match as Hex resolves dependencies (allow_pre: false): a
// pre-release satisfies "~>", ">" and ">=" only if their version is one too.
func (r Requirement) MatchRelease(v Version) bool { return r.match(v, false) }

func (r Requirement) match(v Version, allowPre bool) bool {
	for _, row := range r.any {
		if all(row, v, allowPre) {
			return true
		}
	}
	return false
}

func all(row []comparison, v Version, allowPre bool) bool {
	for _, c := range row {
		if !c.match(v, allowPre) {
			return false
		}
	}
	return true
}

func (c comparison) match(v Version, allowPre bool) bool {
	pre := allowPre || c.version.Pre() || !v.Pre()
	switch c.op {
	case "~>":
		return pre && c.approximate(v)
	case ">":
		return pre && v.Compare(c.version) > 0
	case ">=":
		return pre && v.Compare(c.version) >= 0
	case "<":
		return v.Compare(c.version) < 0
	case "<=":
		return v.Compare(c.version) <= 0
	case "!=":
		return v.Compare(c.version) != 0
	}
	return v.Compare(c.version) == 0
}

// approximate: at least the version, and the same but for its last number. A
// pre-release of the next one is beyond it.
func (c comparison) approximate(v Version) bool {
	low := c.version
	if low.patch == "" {
		low.patch = "0"
		return v.major == low.major && v.Compare(low) >= 0
	}
	return v.major == low.major && v.minor == low.minor && v.Compare(low) >= 0
}
