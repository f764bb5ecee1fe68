package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAppendLog(t *testing.T) {
	tasks := &Tasks{}
	tasks.logs.dir, tasks.logs.limit = t.TempDir(), 2*logBlock
	if err := tasks.AppendLog("pulse", []byte("early")); err == nil {
		t.Error("a guest that never ran has a log")
	}
	if err := tasks.logs.open("pulse"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tasks.logs.path("pulse"), []byte("own\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tasks.AppendLog("pulse", []byte("redirected\n")); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	if err := tasks.Logs(t.Context(), "pulse", false, &all); err != nil || all.String() != "own\nredirected\n" {
		t.Errorf("log is %q, %v", all.String(), err)
	}
	for range 5 {
		if err := tasks.AppendLog("pulse", make([]byte, logBlock)); err != nil {
			t.Fatal(err)
		}
		if err := tasks.logs.rotateOne("pulse"); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(tasks.logs.path("pulse")); err != nil || info.Size() > 3*logBlock {
		t.Errorf("the log is not bounded: %v, %v", info.Size(), err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tasks.logs.open("linked"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(tasks.logs.path("linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, tasks.logs.path("linked")); err != nil {
		t.Fatal(err)
	}
	if tasks.AppendLog("linked", []byte("x")) == nil || tasks.AppendLog("../linked", []byte("x")) == nil {
		t.Error("what is no log was written to")
	}
}
