//go:build integration

package images_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"beamsandbox/images"
	"beamsandbox/images/hex/hextest"
)

// labelsOf are the labels in an image's OCI configuration.
func labelsOf(t *testing.T, g *guests, ref string) map[string]string {
	t.Helper()
	ctx := g.stack.Namespaced(t.Context())
	image, err := g.stack.Client().GetImage(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := image.Config(ctx)
	if err != nil {
		t.Fatal(err)
	}
	data, err := content.ReadBlob(ctx, image.ContentStore(), desc)
	if err != nil {
		t.Fatal(err)
	}
	var config ocispec.Image
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	return config.Config.Labels
}

// A billed is one package of a bill of materials, as far as tests read it.
type billed struct {
	Name, VersionInfo, DownloadLocation string
	Checksums                           []struct{ Algorithm, ChecksumValue string }
	ExternalRefs                        []struct{ ReferenceType, ReferenceLocator string }
}

// is reports whether the package is at an address, with one checksum and one
// package URL.
func (b billed) is(download, sum, purl string) bool {
	return b.DownloadLocation == download && len(b.Checksums) == 1 && b.Checksums[0].Algorithm == "SHA256" && b.Checksums[0].ChecksumValue == sum &&
		len(b.ExternalRefs) == 1 && b.ExternalRefs[0].ReferenceType == "purl" && b.ExternalRefs[0].ReferenceLocator == purl
}

// billOf reads the bill of materials of an image.
func billOf(t *testing.T, s *images.Store, name string) []billed {
	t.Helper()
	d, err := s.Inspect(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var bill struct{ Packages []billed }
	if err := json.Unmarshal(d.SBOM, &bill); err != nil || len(bill.Packages) == 0 {
		t.Fatalf("bill of materials %s: %v", d.SBOM, err)
	}
	return bill.Packages
}

// checkTook: labels and bill name what a build took, with checksums.
func checkTook(t *testing.T, g *guests, s *images.Store, i images.Image, registry *hextest.Registry, secret string) {
	t.Helper()
	labels := labelsOf(t, g, i.Ref)
	took := labels["beamsandbox.took"]
	if want := "hex recon 2.5.6 sha256:" + checksum("recon-2.5.6"); !slices.Contains(strings.Split(took, "\n"), want) || !strings.Contains(took, "hex hidden 0.1.0 of acme sha256:") {
		t.Errorf("the label says that it took %q, want %q among it", took, want)
	}
	if labels[ocispec.AnnotationRevision] != i.Revision || len(i.Revision) != 40 || labels[ocispec.AnnotationVersion] != "1.0.0" {
		t.Errorf("labels %v, want commit %s", labels, i.Revision)
	}
	bill := billOf(t, s, string(i.Name))
	there := slices.ContainsFunc(bill, func(b billed) bool {
		return b.is(registry.URL+"/tarballs/recon-2.5.6.tar", checksum("recon-2.5.6"), "pkg:hex/recon@2.5.6")
	})
	if !there {
		t.Errorf("recon from outside is not in the bill of materials: %+v", bill)
	}
	for name, label := range labels {
		if len(name)+len(label) > 4096 || strings.Contains(label, secret) {
			t.Errorf("label %s is %q", name, label)
		}
	}
}

// A package that describes a release is built as it is; label and bill of
// materials name it with the checksum that its registry signed.
func TestPackageWithRelease(t *testing.T) {
	g, cfg := rooms(t)
	registry := emptyHex(t, "hexpm")
	files := merged(appFiles("", "alone", ""), map[string]string{"rebar.config": `{relx, [{release, {alone, "7.7.7"}, [alone]}]}.`})
	publish(t, registry, hextest.Package{Name: "alone", Version: "1.0.0", Files: mapFS(files)})
	cfg.Hex = []images.HexRepository{configured(t, registry)}
	s := open(t, cfg)
	i := ensure(t, s, fromHex("alone", "1.0.0"))
	if i.Release.Version != "7.7.7" || len(i.Revision) != 64 {
		t.Errorf("built %+v, want the release that the package describes", i)
	}
	labels := labelsOf(t, g, i.Ref)
	for name, want := range map[string]string{
		"beamsandbox.checksum":   "sha256:" + i.Revision,
		"beamsandbox.took":       "hex alone 1.0.0 sha256:" + i.Revision,
		ocispec.AnnotationSource: "pkg:hex/alone@1.0.0",
	} {
		if labels[name] != want {
			t.Errorf("label %s is %q, want %q", name, labels[name], want)
		}
	}
	own := billOf(t, s, "alone")[0]
	if own.Name != "alone" || !own.is(registry.URL+"/tarballs/alone-1.0.0.tar", i.Revision, "pkg:hex/alone@1.0.0") {
		t.Errorf("the bill of materials begins with %+v", own)
	}
}
