package hex_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/images/hex"
	"beamsandbox/images/hex/hextest"
)

func metadata() []byte { return hextest.Package{Name: "tiny", Version: "1.0.0"}.Metadata() }

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

func file(name, body string) hextest.Entry {
	return hextest.Entry{Header: tar.Header{Name: name}, Body: []byte(body)}
}

func TestOpen(t *testing.T) {
	contents := hextest.Gzip(hextest.Tar())
	good := hextest.TarballOf(metadata(), contents)
	if _, err := hex.Open(good, sum(good)); err != nil {
		t.Fatal(err)
	}
	inner := fmt.Sprintf("%X", sum(bytes.Join([][]byte{[]byte("3"), metadata(), contents}, nil)))
	parts := func(version, checksum string, more ...hextest.Entry) []byte {
		entries := []hextest.Entry{file("VERSION", version), file("CHECKSUM", checksum), file("metadata.config", string(metadata()))}
		return hextest.Tar(append(entries, more...)...)
	}
	last := file("contents.tar.gz", string(contents))
	link := hextest.Entry{Header: tar.Header{Name: "contents.tar.gz", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}}
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"put together here": {parts("3", inner, last), nil},
		"lower case":        {parts("3", strings.ToLower(inner), last), nil},
		"version 2":         {parts("2", inner, last), hex.ErrMalformed},
		"inner checksum":    {parts("3", strings.Repeat("0", 64), last), hex.ErrChecksum},
		"no contents":       {parts("3", inner), hex.ErrMalformed},
		"fifth file":        {parts("3", inner, last, file("x", "")), hex.ErrMalformed},
		"twice":             {parts("3", inner, last, last), hex.ErrMalformed},
		"contents a link":   {parts("3", inner, link), hex.ErrMalformed},
		"long checksum":     {parts("3", inner+inner, last), hex.ErrTooLarge},
		"no tar":            {[]byte("not a tar archive"), hex.ErrMalformed},
		"nothing":           {nil, hex.ErrMalformed},
		"cut off":           {good[:1000], hex.ErrMalformed},
		"too large":         {make([]byte, hex.MaxTarball+1), hex.ErrTooLarge},
		"large metadata":    {hextest.TarballOf(bytes.Repeat([]byte(" "), hex.MaxMetadata+1), contents), hex.ErrTooLarge},
		"bad metadata":      {hextest.TarballOf([]byte("{<<\"name\">>"), contents), hex.ErrMalformed},
	} {
		a, err := hex.Open(c.raw, sum(c.raw))
		if !errors.Is(err, c.want) || (err == nil) != (a != nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good[600] ^= 1
	if _, err := hex.Open(good, make([]byte, 32)); !errors.Is(err, hex.ErrChecksum) {
		t.Error(err)
	}
}

// unpack writes contents of these entries into a new folder.
func unpack(t *testing.T, entries ...hextest.Entry) (dir string, err error) {
	t.Helper()
	raw := hextest.TarballOf(metadata(), hextest.Gzip(hextest.Tar(entries...)))
	dir = t.TempDir()
	_, err = hex.Unpack(raw, sum(raw), dir)
	return dir, err
}

func TestUnpack(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir, err := unpack(t,
		hextest.Entry{Header: tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o777}},
		hextest.Entry{Header: tar.Header{Name: "./priv/", Typeflag: tar.TypeDir, Mode: 0o1777}},
		hextest.Entry{Header: tar.Header{Name: "./priv/run", Mode: 0o6711, Uid: 12, Gid: 34}, Body: []byte("#!")},
		hextest.Entry{Header: tar.Header{Name: "priv", Typeflag: tar.TypeDir}},
		hextest.Entry{Header: tar.Header{Name: "src/a/b.erl", Mode: 0o400}, Body: []byte("-module(b).")},
		file("src/"+strings.Repeat("l", 120)+"/"+strings.Repeat("m", 150)+"..erl", "long"),
	)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		info, ierr := d.Info()
		if name != dir && len(name) < len(dir)+100 {
			got[strings.TrimPrefix(name, dir+"/")] = info.Mode().String()
		}
		return errors.Join(err, ierr)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"priv": "drwxr-xr-x", "priv/run": "-rwxr-xr-x", "src": "drwxr-xr-x", "src/a": "drwxr-xr-x", "src/a/b.erl": "-rw-r--r--"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "src/a/b.erl")); err != nil || string(b) != "-module(b)." {
		t.Errorf("%q %v", b, err)
	}
}

// Nothing of a hostile archive is written, not even what came first.
func TestHostileContents(t *testing.T) {
	special := func(flag byte, target string) hextest.Entry {
		return hextest.Entry{Header: tar.Header{Name: "x", Typeflag: flag, Linkname: target}}
	}
	many := make([]hextest.Entry, hex.MaxFiles+1)
	for i := range many {
		many[i] = file(fmt.Sprint("f", i), "")
	}
	for name, entries := range map[string][]hextest.Entry{
		"parent":          {file("../x", "")},
		"parent inside":   {file("a/../../x", "")},
		"parent harmless": {file("a/../x", "")},
		"absolute":        {file("/etc/x", "")},
		"two dots":        {file("..", "")},
		"root as file":    {file(".", "")},
		"backslash":       {file(`..\x`, "")},
		"control":         {file("a\nb", "")},
		"not text":        {file("a\xff", "")},
		"long":            {file(strings.Repeat("a/", 300)+"x", "")},
		"symlink":         {special(tar.TypeSymlink, "/etc/passwd")},
		"symlink inside":  {special(tar.TypeSymlink, "README.md")},
		"hard link":       {special(tar.TypeLink, "README.md")},
		"fifo":            {special(tar.TypeFifo, "")},
		"device":          {special(tar.TypeChar, "")},
		"block device":    {special(tar.TypeBlock, "")},
		"reserved":        {special(tar.TypeCont, "")},
		"twice":           {file("x", "1"), file("x", "2")},
		"twice spelled":   {file("x", "1"), file("./x", "2")},
		"file as folder":  {file("x", "1"), file("x/y", "2")},
		"folder as file":  {file("x/y", "1"), file("x", "2")},
		"deep as folder":  {file("x", "1"), file("x/y/z", "2")},
		"many":            many,
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := unpack(t, append([]hextest.Entry{file("README.md", "hello")}, entries...)...)
			if want := map[bool]error{true: hex.ErrTooLarge, false: hex.ErrUnsafe}[name == "many"]; !errors.Is(err, want) {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than one line", err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%v was left (%v)", left, err)
			}
		})
	}
}

func TestUnpackElsewhere(t *testing.T) {
	raw := hextest.TarballOf(metadata(), hextest.Gzip(hextest.Tar(file("a", "1"))))
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "there"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{full, filepath.Join(full, "missing"), filepath.Join(full, "there")} {
		if _, err := hex.Unpack(raw, sum(raw), dir); err == nil {
			t.Errorf("unpacked into %s", dir)
		}
	}
}

// A small tarball that inflates without end is stopped at the bound, whether
// it hides in one file, in many, or after the archive's last file.
func TestBombs(t *testing.T) {
	zeros := make([]byte, hex.MaxContents/4)
	var quarters []hextest.Entry
	for i := range 5 {
		quarters = append(quarters, hextest.Entry{Header: tar.Header{Name: fmt.Sprint("z", i)}, Body: zeros})
	}
	for name, contents := range map[string][]byte{
		"files":   hextest.Gzip(hextest.Tar(quarters...)),
		"no gzip": []byte("plain"),
		"no tar":  hextest.Gzip([]byte(strings.Repeat("x", 5000))),
		"cut off": hextest.Gzip(hextest.Tar(file("a", strings.Repeat("x", 2000))))[:40],
	} {
		raw := hextest.TarballOf(metadata(), contents)
		a, err := hex.Open(raw, sum(raw))
		if err != nil {
			t.Fatal(err)
		}
		want := hex.ErrMalformed
		if name == "files" {
			want = hex.ErrTooLarge
		}
		if err := a.Check(); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(hextest.TarballOf(metadata(), hextest.Gzip(hextest.Tar(file("src/a.erl", "x")))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := hex.Open(raw, sum(raw))
		if err != nil {
			if a != nil {
				t.Fatalf("an archive beside %v", err)
			}
			return
		}
		if a.Metadata.Name == "" || len(a.Inner) != 32 {
			t.Fatalf("%v", a.Metadata)
		}
		walk(t, a.Walk)
	})
}

// FuzzContents gets behind checksums and compression: the bytes are the inner
// archive.
func FuzzContents(f *testing.F) {
	f.Add(hextest.Tar(file("src/a.erl", "x"), file("./b/../c", "y")))
	f.Add(hextest.Tar(file("a", ""), hextest.Entry{Header: tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "a"}}))
	f.Add(hextest.Tar(file(strings.Repeat("p/", 100)+"x", "pax")))
	f.Fuzz(func(t *testing.T, contents []byte) {
		walk(t, func(do func(hex.File, io.Reader) error) error { return hex.WalkTar(bytes.NewReader(contents), do) })
	})
}

// walk checks what Walk hands out, and that Check, which walks with nothing to
// do, says the same.
func walk(t *testing.T, walk func(func(hex.File, io.Reader) error) error) {
	seen := map[string]bool{}
	err := walk(func(f hex.File, content io.Reader) error {
		if !fs.ValidPath(f.Path) || f.Path == "." || seen[f.Path] && !f.Mode.IsDir() || strings.ContainsAny(f.Path, "\\\x00\n") {
			t.Fatalf("path %q", f.Path)
		}
		seen[f.Path] = true
		if m := f.Mode; m != 0o644 && m != 0o755 && m != fs.ModeDir|0o755 {
			t.Fatalf("mode %v", m)
		}
		n, err := io.Copy(io.Discard, content)
		if err == nil && !f.Mode.IsDir() && n != f.Size {
			t.Fatalf("%d bytes instead of %d", n, f.Size)
		}
		return err
	})
	if again := walk(nil); (err == nil) != (again == nil) {
		t.Fatalf("with contents %v, without %v", err, again)
	}
}
