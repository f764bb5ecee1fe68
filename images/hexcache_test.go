package images

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTrimHexCache(t *testing.T) {
	dir := t.TempDir()
	for n, name := range []string{"old", "older", "new"} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, make([]byte, 10), 0o644); err != nil {
			t.Fatal(err)
		}
		at := time.Unix([]int64{200, 100, 300}[n], 0)
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		limit int64
		want  []string
	}{{30, []string{"new", "old", "older"}}, {29, []string{"new", "old"}}, {10, []string{"new"}}, {0, nil}} {
		if err := trimHexCache(dir, tt.limit); err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range left {
			got = append(got, d.Name())
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("limit %d: %s", tt.limit, d)
		}
	}
	if err := trimHexCache(filepath.Join(dir, "none"), 0); err != nil {
		t.Error(err)
	}
}
