package hextest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"

	"beamsandbox/distribution/term"
	hexrepo "beamsandbox/images/hex"
)

// A Package is what a test publishes.
type Package struct {
	Name, Version string
	App           string   // empty: Name
	BuildTools    []string // empty: rebar3
	Requirements  []hexrepo.Dependency
	Files         fs.FS // the contents: os.DirFS, fstest.MapFS
}

// Tarball is the package as it is published.
func (p Package) Tarball() ([]byte, error) {
	contents, err := Contents(p.Files)
	if err != nil {
		return nil, fmt.Errorf("make package %s %s: %w", p.Name, p.Version, err)
	}
	return TarballOf(p.Metadata(), contents), nil
}

// Metadata is the package's metadata.config.
func (p Package) Metadata() []byte {
	if p.App == "" {
		p.App = p.Name
	}
	if p.BuildTools == nil {
		p.BuildTools = []string{"rebar3"}
	}
	needs := term.List{}
	for _, d := range p.Requirements {
		needs.Elems = append(needs.Elems, requirement(d))
	}
	return term.WriteConsult(
		pair("app", text(p.App)), pair("build_tools", texts(p.BuildTools)), pair("licenses", texts([]string{"Apache-2.0"})),
		pair("name", text(p.Name)), pair("requirements", needs), pair("version", text(p.Version)),
	)
}

func requirement(d hexrepo.Dependency) term.Term {
	if d.App == "" {
		d.App = d.Package
	}
	optional := term.Atom("false")
	if d.Optional {
		optional = "true"
	}
	properties := []term.Term{pair("app", text(d.App)), pair("optional", optional), pair("requirement", text(d.Requirement))}
	if d.Repository != "" {
		properties = append(properties, pair("repository", text(d.Repository)))
	}
	return term.Tuple{text(d.Package), term.List{Elems: properties}}
}

func pair(key string, value term.Term) term.Term { return term.Tuple{text(key), value} }

func text(s string) term.Term { return term.Binary(s) }

func texts(all []string) term.Term {
	l := term.List{}
	for _, s := range all {
		l.Elems = append(l.Elems, text(s))
	}
	return l
}

// TarballOf puts metadata and contents together, with correct checksums and
// whatever they are.
func TarballOf(metadata, contents []byte) []byte {
	sum := sha256.Sum256(bytes.Join([][]byte{[]byte("3"), metadata, contents}, nil))
	return Tar(
		Entry{tar.Header{Name: "VERSION"}, []byte("3")},
		Entry{tar.Header{Name: "CHECKSUM"}, fmt.Appendf(nil, "%X", sum)},
		Entry{tar.Header{Name: "metadata.config"}, metadata},
		Entry{tar.Header{Name: "contents.tar.gz"}, contents},
	)
}

// Contents is the files of tree as contents.tar.gz.
func Contents(tree fs.FS) ([]byte, error) {
	var entries []Entry
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := fs.ReadFile(tree, name)
		entries = append(entries, Entry{tar.Header{Name: name, Mode: int64(info.Mode().Perm())}, b})
		return err
	})
	return Gzip(Tar(entries...)), err
}

// An Entry is one member of a tar archive; size and, for files, type and mode
// are filled in.
type Entry struct {
	Header tar.Header
	Body   []byte
}

// Tar is an archive of entries, as hostile as they are.
func Tar(entries ...Entry) []byte {
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	for _, e := range entries {
		h := e.Header
		h.Size = int64(len(e.Body))
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		t.WriteHeader(&h) //nolint:errcheck // a test that gets it wrong sees it
		t.Write(e.Body)   //nolint:errcheck // a test that gets it wrong sees it
	}
	t.Close() //nolint:errcheck // a buffer takes everything
	return out.Bytes()
}
