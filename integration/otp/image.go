package otp

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Image writes an image archive, as docker save does, that holds the tree and
// the compiled application app from the folder ebin. Its entrypoint is the
// emulator, which names no node, with the application started.
func (t Tree) Image(file, app, ebin string) error {
	content, err := t.layer(ebin)
	if err != nil {
		return fmt.Errorf("pack %s: %w", t.Dir, err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	if err != nil {
		return fmt.Errorf("pack %s: %w", t.Dir, err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return fmt.Errorf("pack %s: %w", t.Dir, err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return fmt.Errorf("pack %s: %w", t.Dir, err)
	}
	config.OS, config.Architecture, config.Config = "linux", runtime.GOARCH, t.start(app)
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return fmt.Errorf("pack %s: %w", t.Dir, err)
	}
	tag, err := name.NewTag("localhost/" + app + ":otp" + t.Release)
	if err != nil {
		return fmt.Errorf("pack %s: %w", t.Dir, err)
	}
	return tarball.WriteToFile(file, tag, image)
}

func (t Tree) start(app string) v1.Config {
	return v1.Config{
		Entrypoint: []string{"/" + t.erlexec(), "-noinput", "-pa", "/app/ebin"},
		Cmd:        []string{"-eval", "{ok, _} = application:ensure_all_started(" + app + ", permanent)"},
		Env:        t.env("/"),
	}
}

// layer is a tar archive of the parts of the tree that a guest needs.
func (t Tree) layer(ebin string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, dir := range []string{"proc/", "dev/", "tmp/", "run/", "etc/", "home/", "app/"} {
		if err := w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	err := add(w, t.Dir, "", t.wanted)
	if err == nil {
		err = add(w, ebin, "app/ebin", func(string) bool { return true })
	}
	if err != nil {
		return nil, err
	}
	return out.Bytes(), w.Close()
}

// wanted leaves the compiler, the programs of other tools and what is there
// to convert character sets at home.
func (t Tree) wanted(p string) bool {
	switch {
	case strings.HasPrefix(p, "usr/lib/erlang/lib/"):
		base := path.Base(path.Join("/", strings.Split(p, "/")[4]))
		return strings.HasPrefix(base, "kernel-") || strings.HasPrefix(base, "stdlib-") || strings.HasPrefix(base, "sasl-")
	case strings.HasPrefix(p, "usr/bin/"), strings.Contains(p, "/gconv/"), strings.Contains(p, "/systemd/"):
		return false
	}
	return true
}

// add puts what is below dir under prefix; links stay links.
func add(w *tar.Writer, dir, prefix string, wanted func(path string) bool) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || rel == "." && prefix == "" || !wanted(rel) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		link := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			if link, err = os.Readlink(p); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		if h.Name = path.Join(prefix, filepath.ToSlash(rel)); info.IsDir() {
			h.Name += "/"
		}
		if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
}
