package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
