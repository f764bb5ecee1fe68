package hex

import (
	"crypto/sha256"
	"fmt"
)

// maxEntries bounds the releases and dependencies of one package together.
const maxEntries = 100_000

// A Package is the registry's word on one package (registry-v2.md, Package).
type Package struct {
	Repository string
	Name       string
	Releases   []Release // as the registry orders them: oldest first
}

// A Release is one version of a package.
type Release struct {
	Version       string // a version that ParseVersion reads, usually
	InnerChecksum []byte // SHA-256 of the parts, deprecated
	OuterChecksum []byte // SHA-256 of the tarball: 32 bytes, or none
	Dependencies  []Dependency
	Retired       *Retirement // nil: not retired
}

// A Dependency is what a release needs of another package.
type Dependency struct {
	Package     string
	Requirement string // see ParseRequirement
	Optional    bool
	App         string // the OTP application; Package where none is named
	Repository  string // empty: the one that answered
}

// A Retirement is why a release should not be used any more. Nothing here
// refuses it: whoever deploys is told.
type Retirement struct {
	Reason  Reason
	Message string // for people, often empty
}

// Reason is registry-v2.md's RetirementReason.
type Reason uint32

// Reasons for a retirement.
const (
	RetiredOther Reason = iota
	RetiredInvalid
	RetiredSecurity
	RetiredDeprecated
	RetiredRenamed
)

func (r Reason) String() string {
	switch r {
	case RetiredInvalid:
		return "invalid"
	case RetiredSecurity:
		return "security"
	case RetiredDeprecated:
		return "deprecated"
	case RetiredRenamed:
		return "renamed"
	}
	return "other"
}

// String is the retirement in one line: "security: use 1.2.3".
func (r Retirement) String() string {
	if r.Message == "" {
		return r.Reason.String()
	}
	return fmt.Sprintf("%s: %.200q", r.Reason, r.Message)
}

// Release finds one version; what is missing is ErrNoVersion, with the newest.
func (p Package) Release(version string) (Release, error) {
	for _, r := range p.Releases {
		if r.Version == version {
			return r, nil
		}
	}
	hint := "it has no release that is not retired"
	if newest, ok := p.Newest(anyRelease()); ok {
		hint = "the newest is " + newest.Version
	}
	return Release{}, fmt.Errorf("find %s %s in repository %s: %w: %s", p.Name, version, p.Repository, ErrNoVersion, hint)
}

// anyRelease is ">= 0.0.0".
func anyRelease() Requirement {
	zero := Version{major: "0", minor: "0", patch: "0"}
	return Requirement{source: ">= 0.0.0", any: [][]comparison{{{op: ">=", version: zero}}}}
}

// Newest is the newest release that is not retired and satisfies r as Hex
// resolves dependencies.
func (p Package) Newest(r Requirement) (newest Release, ok bool) {
	var best Version
	for _, candidate := range p.Releases {
		v, err := ParseVersion(candidate.Version)
		if err != nil || candidate.Retired != nil || !r.MatchRelease(v) {
			continue
		}
		if !ok || v.Compare(best) > 0 {
			newest, best, ok = candidate, v, true
		}
	}
	return newest, ok
}

// packageReader reads the payload and counts its entries.
type packageReader struct{ entries int }

func (pr *packageReader) entry() error {
	if pr.entries++; pr.entries > maxEntries {
		return fmt.Errorf("%w: more than %d releases and dependencies", ErrTooLarge, maxEntries)
	}
	return nil
}

func (pr *packageReader) read(b []byte) (Package, error) {
	var p Package
	err := eachField(b, func(f field) error {
		switch f.number {
		case 1:
			r, err := pr.release(f)
			p.Releases = append(p.Releases, r)
			return err
		case 2:
			return f.text(&p.Name)
		case 3:
			return f.text(&p.Repository)
		}
		return nil
	})
	if err != nil {
		return Package{}, fmt.Errorf("read signed package: %w", err)
	}
	return p, nil
}

func (pr *packageReader) release(f field) (r Release, err error) {
	b, err := f.data()
	if err != nil {
		return r, err
	}
	err = eachField(b, func(f field) (err error) {
		switch f.number {
		case 1:
			return f.text(&r.Version)
		case 2:
			r.InnerChecksum, err = checksum(f)
		case 3:
			var d Dependency
			d, err = pr.dependency(f)
			r.Dependencies = append(r.Dependencies, d)
		case 4:
			r.Retired, err = retirement(f)
		case 5:
			r.OuterChecksum, err = checksum(f)
		}
		return err
	})
	if err == nil {
		err = pr.entry()
	}
	if err == nil && r.Version == "" {
		err = fmt.Errorf("%w: a release without a version", ErrMalformed)
	}
	return r, err
}

// checksum is nil where the registry sent an empty one.
func checksum(f field) ([]byte, error) {
	switch b, err := f.data(); {
	case err != nil || len(b) == 0:
		return nil, err
	case len(b) != sha256.Size:
		return nil, fmt.Errorf("%w: a checksum of %d bytes", ErrMalformed, len(b))
	default:
		return b, nil
	}
}

func (pr *packageReader) dependency(f field) (d Dependency, err error) {
	b, err := f.data()
	if err != nil {
		return d, err
	}
	err = eachField(b, func(f field) error {
		switch f.number {
		case 1:
			return f.text(&d.Package)
		case 2:
			return f.text(&d.Requirement)
		case 3:
			v, err := f.int()
			d.Optional = v != 0
			return err
		case 4:
			return f.text(&d.App)
		case 5:
			return f.text(&d.Repository)
		}
		return nil
	})
	if err == nil {
		err = pr.entry()
	}
	if err == nil && d.Package == "" {
		err = fmt.Errorf("%w: a dependency without a package", ErrMalformed)
	}
	if d.App == "" {
		d.App = d.Package
	}
	return d, err
}

func retirement(f field) (*Retirement, error) {
	b, err := f.data()
	if err != nil {
		return nil, err
	}
	r := &Retirement{}
	err = eachField(b, func(f field) error {
		switch f.number {
		case 1:
			v, err := f.int()
			r.Reason = Reason(v)
			return err
		case 2:
			return f.text(&r.Message)
		}
		return nil
	})
	return r, err
}
