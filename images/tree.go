package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// A tree is a set of files for a layer, keyed by slash path without a leading
// slash. Owners and times are not kept: layers hold none.
type tree map[string]node

// A node is one file, folder or link of a tree. Its content is in data, or in
// the host's file from.
type node struct {
	mode os.FileMode // type bits, and 0755 or 0644
	link string
	data []byte
	from string
	size int64
}

// merged maps the folders that usr-merge made links to where their files are,
// so that one file has one path whichever way it was found.
var merged = map[string]string{"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}

// clean turns an absolute path of the machine into a key of a tree.
func clean(p string) string {
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	first, rest, _ := strings.Cut(p, "/")
	if to, ok := merged[first]; ok && rest != "" {
		return to + "/" + rest
	}
	return p
}

// addMerged adds the links of usr-merge and the folders they lead to.
func (t tree) addMerged() {
	for from, to := range merged {
		t.addDir(to)
		t[from] = node{mode: os.ModeSymlink | 0o777, link: to}
	}
}

// addDir adds a folder and those above it.
func (t tree) addDir(p string) {
	for ; p != "." && p != ""; p = path.Dir(p) {
		if _, ok := t[p]; !ok {
			t[p] = node{mode: os.ModeDir | 0o755}
		}
	}
}

// addData adds a file with this content.
func (t tree) addData(p string, mode os.FileMode, data []byte) {
	t.addDir(path.Dir(p))
	t[p] = node{mode: normal(mode), data: data, size: int64(len(data))}
}

// addLink adds a symbolic link.
func (t tree) addLink(p, target string) {
	t.addDir(path.Dir(p))
	t[p] = node{mode: os.ModeSymlink | 0o777, link: target}
}

// addFile adds the machine's file from as p; a link is followed.
func (t tree) addFile(p, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("add %s to a layer: %w", from, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("add %s to a layer: it is not a regular file", from)
	}
	t.addDir(path.Dir(p))
	t[p] = node{mode: normal(info.Mode()), from: from, size: info.Size()}
	return nil
}

// normal keeps of a mode what matters in an image: may it be executed.
func normal(mode os.FileMode) os.FileMode {
	if mode&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

// under returns the part of the tree at and below the folder p.
func (t tree) under(p string) tree {
	out := tree{}
	for name, n := range t {
		if name == p || strings.HasPrefix(name, p+"/") {
			out[name] = n
		}
	}
	return out
}

// size is the sum of the files' lengths in bytes.
func (t tree) size() (n int64) {
	for _, f := range t {
		n += f.size
	}
	return n
}

// tar writes the tree as an archive that depends on nothing but names,
// permissions and content: sorted, owned by root, at time zero.
func (t tree) tar() ([]byte, error) {
	var out bytes.Buffer
	out.Grow(int(t.size()) + 1024*len(t))
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if err := t[name].write(w, name); err != nil {
			return nil, fmt.Errorf("archive %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return out.Bytes(), nil
}

func (n node) write(w *tar.Writer, name string) error {
	h := &tar.Header{Name: name, Mode: int64(n.mode.Perm()), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if len(name) > 100 || len(n.link) > 100 {
		h.Format = tar.FormatPAX
	}
	switch n.mode.Type() {
	case os.ModeDir:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return w.WriteHeader(h)
	case os.ModeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, n.link
		return w.WriteHeader(h)
	}
	h.Typeflag, h.Size = tar.TypeReg, n.size
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	r, err := n.open()
	if err != nil {
		return err
	}
	defer r.Close()
	// A file that changed its length since it was added fails in the writer.
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Flush()
}

func (n node) open() (io.ReadCloser, error) {
	if n.from != "" {
		return os.Open(n.from)
	}
	return io.NopCloser(bytes.NewReader(n.data)), nil
}
