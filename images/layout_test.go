package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/reconcile/app"
)

// tarOf packs headers with their content; gzipped when z.
func tarOf(t *testing.T, z bool, headers []tar.Header, content map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		text := content[h.Name]
		h.Size, h.Mode = int64(len(text)), 0o755
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !z {
		return out.Bytes()
	}
	packed, err := compress(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestUntarRefuses(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	for name, tt := range map[string]struct {
		headers []tar.Header
		want    string
	}{
		"path out":         {[]tar.Header{file("../x")}, "not local"},
		"absolute path":    {[]tar.Header{file("/etc/x")}, "not local"},
		"path through":     {[]tar.Header{file("a/../../x")}, "not local"},
		"folder out":       {[]tar.Header{{Name: "../d/", Typeflag: tar.TypeDir}}, "not local"},
		"device":           {[]tar.Header{{Name: "d", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, "neither a file"},
		"pipe":             {[]tar.Header{{Name: "p", Typeflag: tar.TypeFifo}}, "neither a file"},
		"hard link":        {[]tar.Header{file("a"), {Name: "b", Typeflag: tar.TypeLink, Linkname: "a"}}, "neither a file"},
		"link out":         {[]tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}}, "out of the tree"},
		"link above":       {[]tar.Header{{Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "../../x"}}, "out of the tree"},
		"file twice":       {[]tar.Header{file("a"), file("a")}, "exists"},
		"through a link":   {[]tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "l2"}, {Name: "l2", Typeflag: tar.TypeSymlink, Linkname: "../.."}, file("l/x")}, "out of the tree"},
		"file as folder":   {[]tar.Header{file("a"), file("a/b")}, "file exists"},
		"repository in it": {[]tar.Header{file("a/.git/config")}, "repository"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, z := range []bool{false, true} {
				err := untar(bytes.NewReader(tarOf(t, z, tt.headers, nil)), t.TempDir())
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("err = %v, want %q in it", err, tt.want)
				}
			}
		})
	}
	for name, data := range map[string][]byte{"empty": nil, "text": []byte(strings.Repeat("no archive ", 100)), "cut": tarOf(t, true, []tar.Header{file("a")}, nil)[:20]} {
		if err := untar(bytes.NewReader(data), t.TempDir()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A bomb announces little and is much: what is unpacked is bounded by what
// was announced, and that by maxBytes.
func TestUntarBomb(t *testing.T) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "big", Typeflag: tar.TypeReg, Size: maxBytes + 1, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := untar(&out, t.TempDir()); err == nil || !strings.Contains(err.Error(), "more than 1024 MB") {
		t.Errorf("err = %v", err)
	}
}

// TestReleaseSourceOverTLS: a release comes over https, and never from an
// address that https leads away from itself.
func TestReleaseSourceOverTLS(t *testing.T) {
	good := tarOf(t, true, []tar.Header{{Name: "./a/b", Typeflag: tar.TypeReg}}, map[string]string{"./a/b": "hi"})
	serve := func(w http.ResponseWriter, _ *http.Request) { w.Write(good) } //nolint:errcheck // what is lacking fails the checksum
	asked := 0
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked++; serve(w, r) }))
	defer plain.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/app.tar.gz", serve)
	mux.Handle("/moved", http.RedirectHandler("/app.tar.gz", http.StatusFound))
	mux.Handle("/away", http.RedirectHandler(plain.URL+"/app.tar.gz", http.StatusFound))
	mux.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	trusting := releaseSource{server.Client().Transport}
	for name, tt := range map[string]struct {
		source     releaseSource
		path, want string // "": success
	}{
		"known":           {trusting, "/app.tar.gz", ""},
		"moved":           {trusting, "/moved", ""},
		"leads to http":   {trusting, "/away", "it leads from https to http"},
		"leads to itself": {trusting, "/round", "more than 10 redirects"},
		"unknown":         {releaseSource{}, "/app.tar.gz", "certificate signed by unknown authority"},
	} {
		dir := filepath.Join(t.TempDir(), "src")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		r := Recipe{Name: "a", Source: app.Source{Type: app.SourceRelease, URL: server.URL + tt.path, SHA256: sumOf(good)}}
		err := tt.source.extract(t.Context(), r, sumOf(good), dir)
		files := below(t, filepath.Dir(dir))
		if tt.want == "" && (err != nil || !slices.Equal(files, []string{"src/a/b"})) {
			t.Errorf("%s: files %v, %v", name, files, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || len(files) != 0) {
			t.Errorf("%s: %v, files %v; want %q and none", name, err, files, tt.want)
		}
	}
	if asked != 0 {
		t.Errorf("the address that https led to was asked %d times", asked)
	}
}

func TestReleaseSource(t *testing.T) {
	good := tarOf(t, true, []tar.Header{{Name: "./a/b", Typeflag: tar.TypeReg}}, map[string]string{"./a/b": "hi"})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/app.tar.gz" {
			http.NotFound(w, r)
			return
		}
		if _, err := w.Write(good); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	onDisk := filepath.Join(t.TempDir(), "app.tar.gz")
	if err := os.WriteFile(onDisk, good, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		url, sum string
		want     string // "": success
		is       error
	}{
		"http":           {server.URL + "/app.tar.gz", sumOf(good), "", nil},
		"file":           {"file://" + onDisk, strings.ToUpper(sumOf(good)), "", nil},
		"other checksum": {server.URL + "/app.tar.gz", sumOf([]byte("x")), "the source says " + sumOf([]byte("x")), ErrDigest},
		"not there":      {server.URL + "/other", sumOf(good), "404 Not Found", nil},
		"no file":        {"file:///nowhere/x", sumOf(good), "no such file", nil},
		"nobody answers": {"http://127.0.0.1:1/x", sumOf(good), "refused", nil},
		"other scheme":   {"ftp://host/x", sumOf(good), "neither with https", nil},
		"no checksum":    {server.URL + "/app.tar.gz", "abc", "not 64 hex digits", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := Recipe{Name: "a", Source: app.Source{Type: app.SourceRelease, URL: tt.url, SHA256: tt.sum}}
			work := t.TempDir()
			dir := filepath.Join(work, "src")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			revision, err := releaseSource{}.resolve(t.Context(), r)
			if err == nil {
				err = releaseSource{}.extract(t.Context(), r, revision, dir)
			}
			files := below(t, work)
			if tt.want == "" && (err != nil || !slices.Equal(files, []string{"src/a/b"})) {
				t.Errorf("files %v, %v", files, err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || len(files) != 0) {
				t.Errorf("err = %v, files %v; want %q and none", err, files, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("err = %v, want %v", err, tt.is)
			}
		})
	}
}

// rel writes what relx and mix leave beside a release, on the test's files.
func withRel(t *testing.T, dir, apps string, o otp) string {
	t.Helper()
	put(t, filepath.Join(dir, "releases/1.0.0/a.rel"), `{release, {"a", "1.0.0"}, {erts, "`+o.erts+`"}, [`+apps+`]}.`)
	return dir
}

func TestAdopt(t *testing.T) {
	o := machineOTP(t)
	const own = `{a, "1.0.0"}, {dep, "0.1", load}`
	for name, spoil := range map[string]func(t *testing.T, dir string) string{
		"relx": func(_ *testing.T, dir string) string { return dir },
		"one folder above": func(t *testing.T, dir string) string {
			up := t.TempDir()
			if err := os.Rename(dir, filepath.Join(up, "a")); err != nil {
				t.Fatal(err)
			}
			return up
		},
		"RELEASES alone": func(t *testing.T, dir string) string {
			if err := os.Remove(filepath.Join(dir, "releases/start_erl.data")); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, "releases/RELEASES"), `[{release,"a","1.0.0","`+o.erts+`",[{a,"1.0.0","/x"}],permanent}].`)
			return dir
		},
		"boot file by the release's name": func(t *testing.T, dir string) string {
			at := filepath.Join(dir, "releases/1.0.0")
			if err := os.Rename(filepath.Join(at, "start.boot"), filepath.Join(at, "a.boot")); err != nil {
				t.Fatal(err)
			}
			return dir
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			rel, err := adopt(spoil(t, withRel(t, assembled(t, o), own, o)), to, o, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			want := Release{Name: "a", Version: "1.0.0", ERTS: o.erts, Root: "/app", Apps: []string{"a-1.0.0", "dep-0.1"}}
			if diff := cmp.Diff(want, rel); diff != "" {
				t.Errorf("release (-want +got):\n%s", diff)
			}
			files := below(t, to)
			for _, file := range []string{"erts-" + o.erts + "/bin/beam.smp", "releases/1.0.0/start.boot", "lib/a-1.0.0/ebin/a.beam"} {
				if !slices.Contains(files, file) {
					t.Errorf("%s is missing in %v", file, files)
				}
			}
		})
	}
}

// A release without emulator and OTP gets the machine's, if it was made for it.
func TestAdoptWithoutEmulator(t *testing.T) {
	o := machineOTP(t)
	kernel, err := filepath.Glob(filepath.Join(o.root, "lib", "kernel-*"))
	if err != nil || len(kernel) != 1 {
		t.Fatal(kernel, err)
	}
	version := strings.TrimPrefix(filepath.Base(kernel[0]), "kernel-")
	dir := withRel(t, assembled(t, o), `{kernel, "`+version+`"}, {a, "1.0.0"}`, o)
	if err := os.RemoveAll(filepath.Join(dir, "erts-"+o.erts)); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	rel, err := adopt(dir, to, o, io.Discard)
	if err != nil || !slices.Contains(rel.Apps, "kernel-"+version) {
		t.Fatalf("release %+v, %v", rel, err)
	}
	for _, file := range []string{"erts-" + o.erts + "/bin/beam.smp", "lib/kernel-" + version + "/ebin/kernel.beam"} {
		if info, err := os.Stat(filepath.Join(to, file)); err != nil || info.Size() < 100 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	withRel(t, dir, `{kernel, "0.0.1"}`, o)
	if _, err := adopt(dir, t.TempDir(), o, io.Discard); err == nil || !strings.Contains(err.Error(), "needs kernel-0.0.1") {
		t.Errorf("another kernel: %v", err)
	}
	put(t, filepath.Join(dir, "releases/start_erl.data"), "1.2.3 1.0.0")
	if _, err := adopt(dir, t.TempDir(), o, io.Discard); !errors.Is(err, ErrOTP) {
		t.Errorf("another ERTS: %v, want ErrOTP", err)
	}
}

// A release with an emulator of its own may be of any version.
func TestAdoptOtherEmulator(t *testing.T) {
	o := machineOTP(t)
	other := otp{root: o.root, release: "27", erts: "15.2.1"}
	rel, err := adopt(withRel(t, assembled(t, other), `{a, "1.0.0"}`, other), t.TempDir(), o, io.Discard)
	if err != nil || rel.ERTS != "15.2.1" || otpRelease(rel.ERTS) != "27" {
		t.Errorf("release %+v, %v", rel, err)
	}
}

func TestAdoptRefuses(t *testing.T) {
	o := machineOTP(t)
	for name, tt := range map[string]struct {
		spoil func(dir string)
		want  string
	}{
		"no release":        {func(d string) { os.RemoveAll(filepath.Join(d, "releases")) }, "no folder releases"},
		"no version":        {func(d string) { os.Remove(filepath.Join(d, "releases/start_erl.data")) }, "RELEASES"},
		"version of a path": {func(d string) { put(t, filepath.Join(d, "releases/start_erl.data"), o.erts+" ..") }, "not plain"},
		"no rel file":       {func(d string) { os.Remove(filepath.Join(d, "releases/1.0.0/a.rel")) }, "no .rel file"},
		"rel of a path":     {func(d string) { withRel(t, d, `{'../x', "1"}`, o) }, "not plain"},
		"broken rel":        {func(d string) { put(t, filepath.Join(d, "releases/1.0.0/a.rel"), "{release, {") }, "a.rel"},
		"no boot file":      {func(d string) { os.Remove(filepath.Join(d, "releases/1.0.0/start.boot")) }, "boot file"},
		"no emulator":       {func(d string) { os.Remove(filepath.Join(d, "erts-"+o.erts, "bin/beam.smp")) }, "beam.smp"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := withRel(t, assembled(t, o), `{a, "1.0.0"}`, o)
			tt.spoil(dir)
			if name == "no version" {
				os.Remove(filepath.Join(dir, "releases/RELEASES"))
			}
			if _, err := adopt(dir, t.TempDir(), o, io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q in it", err, tt.want)
			}
		})
	}
}
