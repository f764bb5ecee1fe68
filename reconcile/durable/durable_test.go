package durable_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"beamsandbox/reconcile/durable"
)

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on the way")
	path := filepath.Join(dir, "file")
	for _, content := range []string{"first", "", "and another"} {
		if err := durable.Write(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("the file holds %q, error %v, want %q", got, err, content)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("its mode is %v, error %v", info.Mode(), err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("beside it there is more: %v", entries)
		}
	}
}

// TestWriteFails: what cannot be replaced stays, and nothing is left beside it.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(path, "with content"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := durable.Write(path, []byte("x"))
	if err == nil || !strings.HasPrefix(err.Error(), "write "+path+": ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("there is more than before: %v", entries)
	}
	if err := durable.Write(filepath.Join(dir, "folder", "with content", "new"), nil); err != nil {
		t.Error(err)
	}
}
