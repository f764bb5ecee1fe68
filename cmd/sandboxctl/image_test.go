package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

func TestPackSource(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"rebar.config", "src/a.erl", "_build/x", ".git/config", "deep/_build/y"} {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("src/a.erl", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := packSource(&out, dir); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name+h.Linkname)
	}
	if want := []string{"linksrc/a.erl", "rebar.config", "src/a.erl"}; !slices.Equal(names, want) {
		t.Errorf("packed %v, want %v", names, want)
	}
	if err := packSource(&out, filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there was packed")
	}
}

func TestWriteImages(t *testing.T) {
	now := time.Unix(10_000, 0)
	var out bytes.Buffer
	err := writeImages(&out, []status.Image{
		{App: "pulse", Kind: "current", Digest: "sha256:" + strings.Repeat("ab", 32), Bytes: 6 << 20, Built: now.Add(-time.Hour), Running: true, Source: "git x\x1b[0m"},
		{Kind: "builder", Digest: "sha256:" + strings.Repeat("cd", 32), Built: now},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"APP KIND DIGEST SIZE BUILT RUNNING SOURCE", `pulse current abababababab 6 MB 1h yes git x\x1b[0m`, "- builder cdcdcdcdcdcd - 0s - -"}
	var got []string
	for l := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(l), " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("table %q, want %q", got, want)
	}
}

// imageDaemon is a daemon that keeps one image.
type imageDaemon struct {
	*fakeDaemon
	otherCalls
	detail status.ImageDetail
}

// otherCalls are those about images that nobody makes.
type otherCalls interface{ control.Images }

func (d imageDaemon) InspectImage(context.Context, string) (status.ImageDetail, error) {
	return d.detail, nil
}

// TestInspect: what a build took from outside is shown to people and to
// programs, with what it takes to find the same thing again.
func TestInspect(t *testing.T) {
	d := imageDaemon{&fakeDaemon{}, nil, status.ImageDetail{
		Image:   status.Image{App: "pulse", Ref: "beamsandbox.local/pulse:1", Kind: "current", Digest: "sha256:" + strings.Repeat("ab", 32), Bytes: 6 << 20, Built: at},
		Release: "pulse 1.0.0", ERTS: "13.1.5", Applications: []string{"pulse-1.0.0"},
		Layers: []status.ImageLayer{{Digest: "sha256:" + strings.Repeat("cd", 32), Bytes: 2 << 20}},
		Resolved: []status.Dependency{
			{Kind: "hex", Name: "recon", Version: "2.5.2", Repository: "hexpm", Checksum: strings.Repeat("ef", 32), Retired: "security: \"\x1btake 2.5.6\""},
			{Kind: "git", Name: "https://git.example/tools.git", Version: strings.Repeat("0", 40)},
		},
	}}
	socket := serveFake(t, d)
	code, out, diagnostics := ctl(t, "--socket", socket, "image", "inspect", "pulse")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, diagnostics)
	}
	golden(t, "image_inspect.txt", out)
	code, out, diagnostics = ctl(t, "--socket", socket, "image", "inspect", "pulse", "-o", "json")
	var got status.ImageDetail
	if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
		t.Fatalf("exit code %d: %s, %v", code, diagnostics, err)
	}
	if diff := cmp.Diff(d.detail, got); diff != "" {
		t.Errorf("JSON lost something (-want +got):\n%s", diff)
	}
}
