package images

import (
	"cmp"
	"fmt"
	"slices"
)

// A Dependency is one thing that a build took from outside.
type Dependency struct {
	Kind       string // "hex" or "git"
	Name       string // package, or address of the git repository
	Repository string `json:",omitempty"` // hex: the registry
	Version    string // hex: version; git: commit
	Checksum   string `json:",omitempty"` // hex: SHA-256 of the tarball, in hex
	Retired    string `json:",omitempty"` // hex: why its authors retired it
}

func (d Dependency) String() string {
	if d.Kind == "hex" {
		return fmt.Sprintf("%s %s from %s", d.Name, d.Version, d.Repository)
	}
	return d.Name + " at " + d.Version
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
