package images

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	core "github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"beamsandbox/reconcile/app"
)

// spdxType is the media type of an SBOM (IANA, application/spdx+json).
const spdxType = "application/spdx+json"

// An spdx is a bill of materials, as far as we fill it in (SPDX 2.3, JSON).
type spdx struct {
	Version       string         `json:"spdxVersion"`
	License       string         `json:"dataLicense"`
	ID            string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      spdxCreation   `json:"creationInfo"`
	Packages      []spdxPackage  `json:"packages"`
	Relationships []spdxRelation `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID        string         `json:"SPDXID"`
	Name      string         `json:"name"`
	Version   string         `json:"versionInfo"`
	Download  string         `json:"downloadLocation"`
	Analyzed  bool           `json:"filesAnalyzed"`
	Checksums []spdxChecksum `json:"checksums,omitempty"`
	Refs      []spdxRef      `json:"externalRefs,omitempty"`
	Comment   string         `json:"comment,omitempty"`
	Declared  string         `json:"licenseDeclared,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelation struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

// billOf lists what an image holds: the app with its source, the emulator,
// the release's applications, and what the build took from outside. No time
// enters it: the same build gives the same bill.
func billOf(b build, r record, image string, ofOTP func(app string) bool) ([]byte, error) {
	const root = "SPDXRef-app"
	s := spdx{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: string(r.Name),
		Namespace: "https://beamsandbox.invalid/spdx/" + strings.TrimPrefix(image, "sha256:"),
		Creation:  spdxCreation{"1970-01-01T00:00:00Z", []string{"Tool: beamsandbox"}},
	}
	own := spdxPackage{ID: root, Name: string(r.Name), Version: r.Release.Version, Download: location(b.recipe), Comment: "revision " + r.Revision}
	if sum := b.checksum(); sum != "" {
		own.Checksums = []spdxChecksum{{"SHA256", sum}}
	}
	if n := slices.IndexFunc(r.Resolved, func(d Dependency) bool { return b.recipe.Source.Type == app.SourceHex && d.Checksum == b.revision }); n >= 0 {
		own.Download, own.Refs = r.Resolved[n].URL, purlRefs(r.Resolved[n])
	}
	s.Packages = append(s.Packages, own)
	s.Relationships = append(s.Relationships, spdxRelation{s.ID, "DESCRIBES", root})
	add := func(relation string, p spdxPackage) {
		p.ID = fmt.Sprintf("SPDXRef-%d", len(s.Packages))
		s.Packages = append(s.Packages, p)
		s.Relationships = append(s.Relationships, spdxRelation{root, relation, p.ID})
	}
	add("CONTAINS", spdxPackage{Name: "erts", Version: r.Release.ERTS, Download: "NOASSERTION", Declared: otpLicense})
	for _, a := range r.Release.Apps {
		name, version, _ := strings.Cut(a, "-")
		p := spdxPackage{Name: name, Version: version, Download: "NOASSERTION"}
		if licenses := appLicenses(r.release(), a); licenses != nil {
			p.declare(licenses)
		} else if ofOTP(a) {
			p.Declared = otpLicense
		}
		add("CONTAINS", p)
	}
	for _, d := range r.Resolved {
		add("DEPENDS_ON", resolvedPackage(d))
	}
	return json.MarshalIndent(s, "", " ")
}

// location is a source as SPDX writes it, "git+https://…@commit", and a
// package of Hex as purl-spec does: that is the same from every mirror.
func location(r Recipe) string {
	address := stripUser(r.Source.URL)
	if r.Source.Type == app.SourceHex {
		return Dependency{Name: hexPackage(r), Version: hexVersion(r), Repository: "hexpm"}.purl()
	}
	if address == "" {
		return "NOASSERTION"
	}
	if r.Source.Type == "git" {
		return "git+" + address + "@" + r.Source.Ref
	}
	return address
}

// How a package's comment says where it comes from, and that it is retired.
const (
	fromRepository = "from repository "
	retired        = "retired: "
)

func purlRefs(d Dependency) []spdxRef { return []spdxRef{{"PACKAGE-MANAGER", "purl", d.purl()}} }

func resolvedPackage(d Dependency) spdxPackage {
	p := spdxPackage{Name: d.Name, Version: d.Version, Download: "NOASSERTION"}
	switch d.Kind {
	case "git":
		p.Download = "git+" + stripUser(d.Name) + "@" + d.Version
	case "hex":
		p.Download, p.Refs = d.URL, purlRefs(d)
		if d.Repository != "" && d.Repository != "hexpm" {
			p.Comment = fromRepository + d.Repository
		}
	}
	if d.Checksum != "" {
		p.Checksums = []spdxChecksum{{"SHA256", strings.ToLower(d.Checksum)}}
	}
	if d.Retired != "" {
		p.Comment = strings.TrimSpace(p.Comment + " " + retired + d.Retired)
	}
	return p
}

// resolvedIn reads out of a bill of materials what resolvedPackage wrote.
func resolvedIn(bill []byte) ([]Dependency, error) {
	var s spdx
	if err := json.Unmarshal(bill, &s); err != nil {
		return nil, fmt.Errorf("read the bill of materials: %w", err)
	}
	from := map[string]bool{}
	for _, r := range s.Relationships {
		if r.Type == "DEPENDS_ON" {
			from[r.To] = true
		}
	}
	var out []Dependency
	for _, p := range s.Packages {
		if from[p.ID] {
			out = append(out, p.resolved())
		}
	}
	return out, nil
}

func (p spdxPackage) resolved() Dependency {
	d := Dependency{Kind: "git", Name: p.Name, Version: p.Version}
	if len(p.Refs) > 0 {
		d.Kind, d.Repository, d.URL = "hex", "hexpm", p.Download
	}
	var about string
	about, d.Retired, _ = strings.Cut(p.Comment, retired)
	if repository, ok := strings.CutPrefix(about, fromRepository); ok {
		d.Repository = strings.TrimSpace(repository)
	}
	for _, c := range p.Checksums {
		d.Checksum = c.Value
	}
	return d
}

// attach keeps a bill of materials beside an image, as an artefact that
// refers to it (OCI image-spec, "subject"), and tied to it: it goes with it.
func (d depot) attach(ctx context.Context, i core.Image, bill []byte) (core.Image, error) {
	ctx, done, err := d.client.WithLease(d.in(ctx))
	if err != nil {
		return i, fmt.Errorf("lease content: %w", err)
	}
	defer func() { _ = done(context.WithoutCancel(ctx)) }() // it expires by itself
	layer := describe(spdxType, bill)
	subject := i.Target
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: spdxType,
		Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{layer}, Subject: &subject,
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		return i, fmt.Errorf("write the bill of materials: %w", err)
	}
	refs := map[string]string{labelRef + "config": ocispec.DescriptorEmptyJSON.Digest.String(), labelRef + "l.0": layer.Digest.String()}
	if err := d.blob(ctx, ocispec.MediaTypeEmptyJSON, bytes.Clone(ocispec.DescriptorEmptyJSON.Data), nil); err != nil {
		return i, err
	}
	if err := d.blob(ctx, spdxType, bill, nil); err != nil {
		return i, err
	}
	if err := d.blob(ctx, ocispec.MediaTypeImageManifest, data, refs); err != nil {
		return i, err
	}
	id := digest.FromBytes(data)
	tie := content.Info{Digest: i.Target.Digest, Labels: map[string]string{labelRef + "sbom": id.String()}}
	if _, err := d.client.ContentStore().Update(ctx, tie, "labels."+labelRef+"sbom"); err != nil {
		return i, fmt.Errorf("tie the bill of materials to image %s: %w", i.Name, err)
	}
	i.Labels[labelSBOM] = id.String()
	return i, d.name(ctx, i)
}

// bill reads an image's bill of materials; ok is false when it has none.
func (d depot) bill(ctx context.Context, i core.Image) (bill []byte, manifest ocispec.Descriptor, ok bool, err error) {
	if i.Labels[labelSBOM] == "" {
		return nil, manifest, false, nil
	}
	ctx = d.in(ctx)
	id := digest.Digest(i.Labels[labelSBOM])
	info, err := d.client.ContentStore().Info(ctx, id)
	if err != nil {
		return nil, manifest, false, fmt.Errorf("read the bill of materials of %s: %w", i.Name, err)
	}
	manifest = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: spdxType, Digest: id, Size: info.Size}
	var m ocispec.Manifest
	if err := d.decode(ctx, manifest, &m); err != nil || len(m.Layers) != 1 {
		return nil, manifest, false, fmt.Errorf("read the bill of materials of %s: its manifest has %d layers: %w", i.Name, len(m.Layers), err)
	}
	bill, err = content.ReadBlob(ctx, d.client.ContentStore(), m.Layers[0])
	return bill, manifest, err == nil, err
}
