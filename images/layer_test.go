package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func nothingStored(context.Context, v1.Hash) (layer, bool) { return layer{}, false }

func TestLayersAreReproducible(t *testing.T) {
	pack := func(mode os.FileMode, age time.Time) layer {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte("content"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, age, age); err != nil {
			t.Fatal(err)
		}
		tr := tree{}
		tr.addMerged()
		addEtc(tr)
		if err := tr.addFile("app/"+strings.Repeat("long/", 30)+"f", file); err != nil {
			t.Fatal(err)
		}
		l, err := pack(t.Context(), tr, types.OCILayer, nothingStored)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b := pack(0o600, time.Unix(1, 0)), pack(0o664, time.Now())
	if diff := cmp.Diff(a, b, cmp.AllowUnexported(layer{})); diff != "" {
		t.Errorf("the same content of another age gives another layer:\n%s", diff)
	}
	if c := pack(0o755, time.Now()); c.digest == a.digest {
		t.Error("an executable file gives the same layer as one that is not")
	}
}

func TestLayerHeaders(t *testing.T) {
	tr := tree{}
	tr.addData("b/x", 0o4777, []byte("1"))
	tr.addData("a", 0o600, nil)
	tr.addLink("l", "b/x")
	l, err := pack(t.Context(), tr, types.OCILayer, nothingStored)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(l.blob))
	if err != nil {
		t.Fatal(err)
	}
	type header struct {
		Name, Link string
		Mode       int64
		Type       byte
	}
	var got []header
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != 0 {
			t.Errorf("%s belongs to %d:%d %q at %v", h.Name, h.Uid, h.Gid, h.Uname, h.ModTime)
		}
		got = append(got, header{h.Name, h.Linkname, h.Mode, h.Typeflag})
	}
	want := []header{
		{"a", "", 0o644, tar.TypeReg}, {"b/", "", 0o755, tar.TypeDir},
		{"b/x", "", 0o755, tar.TypeReg}, {"l", "b/x", 0o777, tar.TypeSymlink},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestPackTakesWhatIsStored(t *testing.T) {
	tr := tree{}
	tr.addData("a", 0o644, []byte("x"))
	want := layer{size: 7}
	got, err := pack(t.Context(), tr, types.OCILayer, func(context.Context, v1.Hash) (layer, bool) { return want, true })
	if err != nil || got.size != want.size || got.blob != nil {
		t.Errorf("pack = %+v, %v; want the stored layer", got, err)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"/lib/x86_64-linux-gnu/libc.so.6": "usr/lib/x86_64-linux-gnu/libc.so.6",
		"/usr/lib/erlang":                 "usr/lib/erlang",
		"/lib64/ld-linux-x86-64.so.2":     "usr/lib64/ld-linux-x86-64.so.2",
		"/bin/sh":                         "usr/bin/sh",
		"/opt/../opt/otp":                 "opt/otp",
		"/lib":                            "lib",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestBuilderKeyFollowsTheFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tool")
	key := func(content string, age int64) string {
		if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Unix(age, 0), time.Unix(age, 0)); err != nil {
			t.Fatal(err)
		}
		tr := tree{}
		if err := tr.addFile("usr/bin/tool", file); err != nil {
			t.Fatal(err)
		}
		k, err := tr.key()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	same := key("one", 1)
	if key("one", 1) != same || key("two", 2) == same || key("longer", 1) == same {
		t.Error("the key does not follow length and time of the files")
	}
}

func TestBuilderHoldsNoMoreThanItNeeds(t *testing.T) {
	tr, err := builderTree(machineOTP(t), "../bin/rebar3")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"usr/bin/sh", "usr/bin/git", rebarPath, "usr/bin/erl"} {
		if _, ok := tr[want]; !ok {
			t.Errorf("the builder has no %s", want)
		}
	}
	for _, not := range []string{"etc/shadow", "usr/bin/ssh", "usr/bin/curl", "usr/bin/python3", "usr/bin/gcc", "root"} {
		if _, ok := tr[not]; ok {
			t.Errorf("the builder has %s", not)
		}
	}
}
