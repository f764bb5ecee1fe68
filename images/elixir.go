package images

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// An elixir is the machine's Elixir and the source of Hex for mix; both are
// optional, and missed only when a mix project is to be built.
type elixir struct {
	root string // "/usr/lib/elixir"; "": there is none
	hex  string // erlang-hex.tar.gz; "": there is none
}

const (
	// mixPath is where mix is inside the builder.
	mixPath = "usr/bin/mix"
	// archivesPath is where the builder's mix finds Hex.
	archivesPath = "usr/share/mix/archives"
)

// errNoElixir says what a machine needs to build mix projects.
var errNoElixir = errors.New("mix projects need Elixir on this machine: install it")

// errNoHex says the same of Hex.
var errNoHex = errors.New("mix projects need the source of Hex: run make setup, or set hex_source to Debian's erlang-hex tarball")

// findElixir looks for the machine's Elixir, and for Hex's source beside our
// own program. What is not there is left empty.
func findElixir(e elixir) elixir {
	if e.root == "" {
		if p, err := exec.LookPath("elixir"); err == nil {
			if p, err = filepath.EvalSymlinks(p); err == nil {
				e.root = filepath.Dir(filepath.Dir(p))
			}
		}
	}
	if self, err := os.Executable(); e.hex == "" && err == nil {
		beside := filepath.Join(filepath.Dir(self), "erlang-hex.tar.gz")
		if _, err := os.Stat(beside); err == nil {
			e.hex = beside
		}
	}
	return e
}

// tree lists Elixir's files.
func (e elixir) tree() (tree, error) {
	t := tree{}
	if err := t.addFolder(e.root); err != nil {
		return nil, err
	}
	for _, name := range []string{"elixir", "elixirc", "mix"} {
		t.addLink("usr/bin/"+name, filepath.Join(e.root, "bin", name))
	}
	return t, nil
}

// ensureHex returns the folder with Hex as mix finds it, compiled once for
// this Erlang and Elixir inside a builder, from source.
func (s *Store) ensureHex(ctx context.Context, image builder, log io.Writer) (string, error) {
	s.hexLock.Lock()
	defer s.hexLock.Unlock()
	source, err := os.ReadFile(s.elixir.hex)
	if err != nil {
		return "", fmt.Errorf("read the source of Hex: %w", err)
	}
	sum := sha256.Sum256(append([]byte(image.key), source...))
	dir := s.path("tools", "hex-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	note(log, "compiling Hex for mix, once for this Erlang and Elixir")
	if err := os.RemoveAll(s.path("tools")); err != nil {
		return "", fmt.Errorf("clear another Hex: %w", err)
	}
	if err := s.compileHex(ctx, image, dir, log); err != nil {
		return "", fmt.Errorf("compile Hex for mix: %w", err)
	}
	return dir, nil
}

func (s *Store) compileHex(ctx context.Context, image builder, dir string, log io.Writer) error {
	work, err := s.workDir("hex")
	if err != nil {
		return err
	}
	defer work.remove() //nolint:errcheck // New clears what is left
	if err := s.unpackHex(work.src()); err != nil {
		return err
	}
	exit, err := s.sandbox.Run(ctx, Job{
		Name: work.job(), Image: image.ref, Args: []string{"/" + mixPath, "compile"},
		Env: builderEnv(), Dir: "/build/src", Mounts: []Mount{{Source: work.guest, Target: "/build"}},
		Memory: s.memory, Pids: builderPids, Timeout: 5 * time.Minute, ProxyPort: proxyPort,
		Proxy: (&proxy{name: "hex", log: log, allowed: map[string]bool{}}).serve, Log: log,
	})
	if err == nil && exit != 0 {
		err = fmt.Errorf("mix ended with status %d", exit)
	}
	if err != nil {
		return err
	}
	return keepHex(work.guest, work.release(), dir)
}

// keepHex copies what was compiled to where mix looks for an archive:
// ARCHIVES/hex-VERSION/hex-VERSION/ebin.
func keepHex(guest, to, dir string) error {
	root, err := os.OpenRoot(guest)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // opened to read
	const ebin = "src/_build/prod/lib/hex/ebin"
	files, err := fs.Glob(root.FS(), ebin+"/*")
	if err != nil || len(files) == 0 {
		return errors.New("nothing was compiled")
	}
	target := filepath.Join(to, "hex", "hex", "ebin")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	for _, name := range files {
		data, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(target, path.Base(name)), data, 0o644); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	return os.Rename(to, dir)
}

// unpackHex writes the source of Hex without its outermost folder.
func (s *Store) unpackHex(dir string) error {
	f, err := os.Open(s.elixir.hex)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened to read
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	return extract(dir, archived(tar.NewReader(z)))
}

// archived yields the files of an archive whose paths begin with one folder.
func archived(t *tar.Reader) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for {
			h, err := t.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			var e entry
			if err == nil {
				_, rest, _ := strings.Cut(path.Clean(h.Name), "/")
				if h.Typeflag != tar.TypeReg || rest == "" {
					continue
				}
				e = entry{path: rest, mode: 0o644, size: h.Size, open: func() (io.ReadCloser, error) { return io.NopCloser(t), nil }}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
