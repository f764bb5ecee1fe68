package hex

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"beamsandbox/distribution/term"
)

// Metadata is what a package says of itself in metadata.config
// (package_metadata.md). Keys that are not here are not looked at.
type Metadata struct {
	Name         string
	Version      string
	App          string // the OTP application; Name where the file does not say
	Description  string
	Elixir       string   // requirement on Elixir's version, or empty
	BuildTools   []string // "rebar3", "mix", "make", …
	Licenses     []string // SPDX names, usually
	Requirements []Dependency
}

// ParseMetadata reads metadata.config: Erlang terms {Key, Value}. Nothing is
// evaluated. Errors: ErrTooLarge, ErrMalformed with line and column.
func ParseMetadata(text []byte) (Metadata, error) {
	pairs, err := readPairs(text)
	if err != nil {
		return Metadata{}, fmt.Errorf("read %s: %w", partMetadata, err)
	}
	m := Metadata{
		Name: pairs.text("name"), Version: pairs.text("version"), App: pairs.text("app"),
		Description: pairs.text("description"), Elixir: pairs.text("elixir"),
		BuildTools: pairs.texts("build_tools"), Licenses: pairs.texts("licenses"),
	}
	if m.Requirements, err = readRequirements(pairs["requirements"]); err != nil {
		return Metadata{}, fmt.Errorf("read %s: %w", partMetadata, err)
	}
	if m.Name == "" || m.Version == "" {
		return Metadata{}, fmt.Errorf("read %s: %w: it has no name or no version", partMetadata, ErrMalformed)
	}
	if m.App == "" {
		m.App = m.Name
	}
	return m, nil
}

// dictionary is a property list with keys of text; of equal keys the first
// holds.
type dictionary map[string]term.Term

func readPairs(text []byte) (dictionary, error) {
	if len(text) > MaxMetadata {
		return nil, fmt.Errorf("%w: more than %d MB", ErrTooLarge, MaxMetadata>>20)
	}
	if !utf8.Valid(text) { // older packages, and Erlang's own default once
		text = append([]byte("%% coding: latin-1\n"), text...)
	}
	nodes, err := term.Limits{Depth: 32, Nodes: MaxMetadata / 8}.ParseNodes(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	list := make([]term.Term, len(nodes))
	for i, n := range nodes {
		list[i] = n.Term
	}
	return dictionaryOf(term.List{Elems: list})
}

func dictionaryOf(t term.Term) (dictionary, error) {
	pairs, ok := term.Proplist(t)
	if !ok {
		return nil, fmt.Errorf("%w: %s is not {Key, Value} pairs", ErrMalformed, term.Brief(t, 60))
	}
	d := dictionary{}
	for _, p := range pairs {
		key, isText := textOf(p.Key)
		if _, known := d[key]; isText && !known {
			d[key] = p.Value
		}
	}
	return d, nil
}

// textOf is the text in t; bytes that are not UTF-8 are taken for Latin-1.
func textOf(t term.Term) (string, bool) {
	if b, ok := t.(term.Binary); ok && !utf8.Valid(b) {
		var s strings.Builder
		for _, c := range b {
			s.WriteRune(rune(c))
		}
		return s.String(), true
	}
	return term.Text(t)
}

// text is the text at key; undefined and nil are Erlang's and Elixir's
// nothing.
func (d dictionary) text(key string) string {
	if a, ok := d[key].(term.Atom); ok && (a == "undefined" || a == "nil") {
		return ""
	}
	s, _ := textOf(d[key])
	return s
}

func (d dictionary) texts(key string) []string {
	l, _ := d[key].(term.List)
	elems, _ := l.Proper()
	var all []string
	for _, e := range elems {
		if s, ok := textOf(e); ok && s != "" {
			all = append(all, s)
		}
	}
	return all
}

func (d dictionary) yes(key string) bool { return d[key] == term.Atom("true") }

// readRequirements reads both forms that are published: {Name, Properties}
// pairs (or a map of them), and lists of properties of which one is the name.
func readRequirements(t term.Term) ([]Dependency, error) {
	var entries []term.Term
	switch t := t.(type) {
	case nil:
	case term.Map:
		for _, p := range t {
			entries = append(entries, term.Tuple{p.Key, p.Value})
		}
	case term.List:
		entries, _ = t.Proper()
	}
	all := make([]Dependency, 0, len(entries))
	for _, e := range entries {
		d, err := readRequirementEntry(e)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

func readRequirementEntry(t term.Term) (Dependency, error) {
	name, properties := "", t
	if pair, ok := t.(term.Tuple); ok && len(pair) == 2 {
		name, _ = textOf(pair[0])
		properties = pair[1]
	}
	// The oldest form of all is {Name, Requirement}.
	if s, ok := properties.(term.Binary); ok {
		return Dependency{Package: name, App: name, Requirement: string(s)}, CheckName(name)
	}
	d, err := dictionaryOf(properties)
	if err != nil {
		return Dependency{}, fmt.Errorf("requirement %.40q: %w", name, err)
	}
	dep := Dependency{
		Package: name, Requirement: d.text("requirement"), Optional: d.yes("optional"),
		App: d.text("app"), Repository: d.text("repository"),
	}
	if dep.Package == "" {
		dep.Package = d.text("name")
	}
	if dep.App == "" {
		dep.App = dep.Package
	}
	if err := CheckName(dep.Package); err != nil {
		return Dependency{}, fmt.Errorf("%w: requirement: %w", ErrMalformed, err)
	}
	return dep, nil
}
