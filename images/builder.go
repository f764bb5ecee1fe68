package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A builder is the image that builds run in, the configured one or else made
// from the machine's own files: Erlang, rebar3, the few programs that rebar3
// calls, a C compiler when there is one, and Elixir for mix projects.
type builder struct {
	ref      string // image name in containerd
	key      string // digest of paths, lengths and times of the files it is made from
	trees    []tree // its layers
	seen     times  // what to look at to know that the files are the same
	revision string // of the configured image
}

// The two builders; a machine without Elixir has the first alone, and a
// configured image is both.
const (
	erlangBuilder = "erlang"
	elixirBuilder = "elixir"
)

// rebarPath is where rebar3 is inside the builder.
const rebarPath = "usr/bin/rebar3"

// tools are the programs that rebar3, relx and git call while they build.
var tools = []string{
	"sh", "awk", "basename", "cat", "chmod", "cp", "cut", "date", "dirname", "env", "expr", "false", "find", "git",
	"grep", "gzip", "head", "hostname", "id", "ln", "ls", "mkdir", "mktemp", "mv", "od", "pwd", "readlink", "rm",
	"rmdir", "sed", "sleep", "sort", "tail", "tar", "test", "touch", "tr", "true", "uname", "uniq", "wc", "which", "xargs",
}

// optional tools are left out when the machine does not have them.
var optional = []string{"find", "hostname", "tar", "which", "xargs"}

// gitCore is where Debian, Fedora and Arch keep the helpers that git calls.
var gitCore = []string{"/usr/lib/git-core", "/usr/libexec/git-core"}

// ensureBuilder makes or fetches the builder image unless it is there.
func (s *Store) ensureBuilder(ctx context.Context, kind string) (builder, error) {
	s.builderLock.Lock()
	defer s.builderLock.Unlock()
	b, err := s.planBuilder(kind)
	if err != nil {
		return builder{}, err
	}
	i, ok, err := s.depot.find(ctx, map[string]string{labelBuilder: b.key})
	if err != nil {
		return builder{}, err
	}
	if ok && s.depot.complete(ctx, i) {
		return b, s.offers(i, kind)
	}
	if s.builderFrom == "" {
		err = s.makeBuilder(ctx, b)
	} else {
		i, err = s.obtainBuilder(ctx, b)
	}
	if err != nil {
		return builder{}, err
	}
	return b, errors.Join(s.offers(i, kind), s.dropOldBuilders(ctx))
}

func (s *Store) makeBuilder(ctx context.Context, b builder) error {
	// Nobody downloads a builder: compressing it would only cost time.
	image := unpacked{trees: b.trees, config: v1.Config{WorkingDir: "/build"}, media: types.OCIUncompressedLayer}
	if _, err := s.depot.write(ctx, b.ref, image, map[string]string{labelBuilder: b.key}); err != nil {
		return fmt.Errorf("make the builder image: %w", err)
	}
	s.log.Info("made the builder image", "image", b.ref, "megabytes", b.size()>>20)
	return nil
}

func (b builder) size() (n int64) {
	for _, t := range b.trees {
		n += t.size()
	}
	return n
}

// dropOldBuilders removes the builders made of files that the machine no
// longer has.
func (s *Store) dropOldBuilders(ctx context.Context) error {
	keys, err := s.builderKeys()
	if err != nil {
		return err
	}
	all, err := s.depot.list(ctx)
	if err != nil {
		return err
	}
	var old []string
	for _, i := range all {
		if have, ok := i.Labels[labelBuilder]; ok && !slices.Contains(keys, have) {
			old = append(old, i.Name)
		}
	}
	return s.depot.remove(ctx, false, old...)
}

// builderKinds are the builders that this machine can make, or may be given.
func (s *Store) builderKinds() []string {
	if s.elixir.root == "" && s.builderFrom == "" {
		return []string{erlangBuilder}
	}
	return []string{erlangBuilder, elixirBuilder}
}

// builderKeys tells what this machine's builders are made of.
func (s *Store) builderKeys() (keys []string, err error) {
	for _, kind := range s.builderKinds() {
		b, err := s.planBuilder(kind)
		if err != nil {
			return nil, err
		}
		keys = append(keys, b.key)
	}
	return keys, nil
}

// planBuilder lists the builder's files and names the image after them. The
// list is kept while nothing changes.
func (s *Store) planBuilder(kind string) (builder, error) {
	s.planLock.Lock()
	defer s.planLock.Unlock()
	if b, ok := s.plans[kind]; ok && b.seen.same() {
		return b, nil
	}
	list := func() (builder, error) { return s.listBuilder(kind) }
	if s.builderFrom != "" {
		list = s.planConfigured
	}
	b, err := list()
	if err != nil {
		return builder{}, fmt.Errorf("plan the builder: %w", err)
	}
	s.plans[kind] = b
	return b, nil
}

func (s *Store) listBuilder(kind string) (builder, error) {
	t, err := builderTree(s.otp, s.rebar3)
	if err != nil {
		return builder{}, err
	}
	erlang, rest := split(t, clean(s.otp.root))
	trees := []tree{erlang, rest}
	if c := (tree{}); c.addCompiler() == nil {
		trees = append(trees, c)
	}
	if kind == elixirBuilder {
		elixir, err := s.elixir.tree()
		if err != nil {
			return builder{}, err
		}
		trees = append(trees, elixir)
	}
	h := sha256.New()
	seen := times{}
	for _, t := range trees {
		key, err := t.key()
		if err != nil {
			return builder{}, err
		}
		fmt.Fprintln(h, key)
		if err := seen.add(t); err != nil {
			return builder{}, err
		}
	}
	key := hex.EncodeToString(h.Sum(nil))
	return builder{ref: refPrefix + "builder:" + key[:12], key: key, trees: trees, seen: seen}, nil
}

// builderTree lists every file of the builder image.
func builderTree(o otp, rebar3 string) (tree, error) {
	t := tree{}
	t.addMerged()
	addEtc(t)
	for _, dir := range []string{"build", "tmp", "proc", "dev", "run", archivesPath} {
		t.addDir(dir)
	}
	if err := t.addFolder(o.root, "lib/*/doc", "lib/*/examples", "lib/*/src", "erts-*/doc", "erts-*/man"); err != nil {
		return nil, err
	}
	for _, name := range []string{"erl", "erlc", "escript"} {
		t.addLink("usr/bin/"+name, filepath.Join(o.root, "bin", name))
	}
	if err := t.addFile(rebarPath, rebar3); err != nil {
		return nil, err
	}
	t[rebarPath] = t[rebarPath].executable()
	if err := t.addTools(); err != nil {
		return nil, err
	}
	return t, t.closure(t.sources()...)
}

func (n node) executable() node {
	n.mode = 0o755
	return n
}

// addTools adds the programs of the list and git's helper for http.
func (t tree) addTools() error {
	for _, name := range tools {
		from, err := exec.LookPath(name)
		if err != nil && slices.Contains(optional, name) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find %s, which builds need: %w; install it", name, err)
		}
		if err := t.addFile("usr/bin/"+name, from); err != nil {
			return err
		}
	}
	for _, dir := range gitCore {
		from := filepath.Join(dir, "git-remote-http")
		if _, err := os.Stat(from); err == nil {
			return t.addFile(clean(from), from)
		}
	}
	return fmt.Errorf("find git-remote-http in %s: install git with http support", strings.Join(gitCore, " or "))
}

// addFolder adds the machine's folder dir and all below it, save what matches
// one of the patterns relative to it. Links inside stay links.
func (t tree) addFolder(dir string, except ...string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read %s: %w", p, err)
		}
		rel, _ := filepath.Rel(dir, p) // p is below dir
		for _, pattern := range except {
			if ok, _ := filepath.Match(pattern, rel); ok && d.IsDir() {
				return fs.SkipDir
			}
		}
		return t.addEntry(p, d)
	})
}

func (t tree) addEntry(p string, d fs.DirEntry) error {
	switch {
	case d.IsDir():
		t.addDir(clean(p))
		return nil
	case d.Type() == fs.ModeSymlink:
		target, err := os.Readlink(p)
		if err != nil {
			return fmt.Errorf("read %s: %w", p, err)
		}
		if _, err := os.Stat(p); err == nil { // a broken link is of no use
			t.addLink(clean(p), target)
		}
		return nil
	}
	return t.addFile(clean(p), p)
}

// sources returns the machine's files that the tree holds.
func (t tree) sources() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if from := t[name].from; from != "" {
			out = append(out, from)
		}
	}
	return out
}

// key is a digest over names, permissions, lengths and change times: cheap
// enough to ask each time whether the machine's files are still the same.
func (t tree) key() (string, error) {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(t)) {
		n := t[name]
		fmt.Fprintf(h, "%q %s %q %q %d", name, n.mode, n.link, n.data, n.size)
		if n.from != "" {
			info, err := os.Stat(n.from)
			if err != nil {
				return "", fmt.Errorf("read the age of %s: %w", n.from, err)
			}
			fmt.Fprintf(h, " %d", info.ModTime().UnixNano())
		}
		fmt.Fprintln(h)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// split parts a tree in what is at and below p, and the rest.
func split(t tree, p string) (in, out tree) {
	in, out = t.under(p), tree{}
	for name, n := range t {
		if _, ok := in[name]; !ok {
			out[name] = n
		}
	}
	return in, out
}

// addEtc adds the few files that the C library looks for. Names are resolved
// from files alone: a guest has no name server.
func addEtc(t tree) {
	t.addData("etc/passwd", 0o644, []byte("root:x:0:0:root:/:/none\napp:x:1000:1000:app:/home/app:/none\n"))
	t.addData("etc/group", 0o644, []byte("root:x:0:\napp:x:1000:\n"))
	t.addData("etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nhosts: files\n"))
	t.addData("etc/hosts", 0o644, []byte("127.0.0.1 localhost\n"))
	t.addData("etc/resolv.conf", 0o644, nil)
	t.addDir("home/app")
}
