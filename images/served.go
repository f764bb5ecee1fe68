package images

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A Dependency is one thing that a build took from outside.
type Dependency struct {
	Kind       string // "hex" or "git"
	Name       string // package, or address of the git repository
	Repository string `json:",omitempty"` // hex: the registry
	Version    string // hex: version; git: commit
	Checksum   string `json:",omitempty"` // hex: SHA-256 of the tarball, in hex
	Retired    string `json:",omitempty"` // hex: why its authors retired it
	URL        string `json:",omitempty"` // hex: address of the tarball
}

func (d Dependency) String() string {
	if d.Kind == "hex" {
		return fmt.Sprintf("%s %s from %s", d.Name, d.Version, d.Repository)
	}
	return d.Name + " at " + d.Version
}

// line is a dependency in a label of the image: what makes it the same one,
// wherever it was fetched from and whatever is said of it later.
func (d Dependency) line() string {
	line := d.Kind + " " + d.Name + " " + d.Version
	if d.Repository != "" && d.Repository != "hexpm" {
		line += " of " + d.Repository
	}
	if d.Checksum != "" {
		line += " sha256:" + strings.ToLower(d.Checksum)
	}
	return line
}

// purl names a package of Hex as a package URL (purl-spec, "hex").
func (d Dependency) purl() string {
	_, organization, ok := strings.Cut(d.Repository, ":")
	name := d.Name
	if ok {
		name = organization + "/" + name
	}
	out := "pkg:hex/" + name + "@" + strings.ReplaceAll(d.Version, "+", "%2B")
	if d.Repository != "hexpm" && !ok {
		base, _, _ := strings.Cut(d.URL, "/tarballs/")
		out += "?repository_url=" + url.QueryEscape(base)
	}
	return out
}

// settled leaves of each git repository the commits that the lock file names,
// where it names one: git fetches the heads of other branches with them.
func settled(all []Dependency, lock string) []Dependency {
	named := map[string]bool{}
	locked := func(d Dependency) bool { return d.Kind == "git" && strings.Contains(lock, d.Version) }
	for _, d := range all {
		named[d.Name] = named[d.Name] || locked(d)
	}
	return slices.DeleteFunc(all, func(d Dependency) bool { return d.Kind == "git" && named[d.Name] && !locked(d) })
}

// notesOf tells what a build took although its authors retired it.
func notesOf(all []Dependency) (out []string) {
	for _, d := range all {
		if d.Retired != "" {
			out = append(out, fmt.Sprintf("%s %s is retired: %s", d.Name, d.Version, d.Retired))
		}
	}
	return out
}

// took notes what was handed to the builder, once.
func (p *proxy) took(d Dependency) {
	p.mu.Lock()
	seen := slices.Contains(p.given, d) || len(p.given) >= maxGiven
	if !seen {
		p.given = append(p.given, d)
	}
	p.mu.Unlock()
	if seen {
		return
	}
	note(p.log, "gave %s", d)
	if d.Retired != "" {
		note(p.log, "%s is retired: %s", d, d.Retired)
	}
}

// maxGiven bounds the record of one build.
const maxGiven = 2000

// resolved is what the builder took, sorted.
func (p *proxy) resolved() []Dependency {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.given)
	slices.SortFunc(out, func(a, b Dependency) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return out
}
