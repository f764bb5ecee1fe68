//go:build integration

package images_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"beamsandbox/reconcile/app"
)

// TestSameBytes: the same source gives the same image to the byte, from files
// of another date and under another umask.
func TestSameBytes(t *testing.T) {
	g, cfg := rooms(t)
	var digests []string
	dir := filepath.Join(t.TempDir(), "source")
	for n, umask := range []int{0o022, 0o077} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(dir, os.DirFS("../examples/apps/pulse")); err != nil {
			t.Fatal(err)
		}
		date(t, dir, time.Date(2001+20*n, 2, 3, 4, 5, 6, 0, time.UTC))
		cfg.Root = filepath.Join(t.TempDir(), "images")
		before := unix.Umask(umask)
		s := open(t, cfg)
		r := recipe("pulse", "")
		r.Source = app.Source{Type: app.SourcePath, URL: dir}
		i, err := s.Ensure(t.Context(), r)
		unix.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, i.Digest)
		dropImages(t, g, "pulse")
	}
	if digests[0] != digests[1] {
		t.Errorf("the first build gave %s, the second %s", digests[0], digests[1])
	}
}

// date gives everything below dir one time of change.
func date(t *testing.T, dir string, when time.Time) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(p, when, when)
	})
	if err != nil {
		t.Fatal(err)
	}
}
