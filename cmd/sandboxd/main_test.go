package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckWarns: a policy that hands the host VM over is one, and is said to be.
func TestCheckWarns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sandboxd.config")
	text := strings.Replace(whole, "mode => audit", "allow => [#{to => rex, kind => cast}]", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--config", file, "--check"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	want := file + ": warning: app pulse is allowed cast to rex, and none should be: who may send to it has the host VM\n" + file + ": ok\n"
	if out.String() != want {
		t.Errorf("got %s\nwant %s", out.String(), want)
	}
}
