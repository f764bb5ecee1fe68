package distribution

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestLogBeginsAnew: under whoever has it open, and what was said last is
// beside it.
func TestLogBeginsAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), logName)
	log, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	say := func(text string) {
		if _, err := log.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	say("first\n")
	if err := trimLog(path); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "first\n" {
		t.Errorf("a small log became %q", got)
	}
	say(string(bytes.Repeat([]byte("flood\n"), maxLog/6)) + "last\n")
	if err := trimLog(path); err != nil {
		t.Fatal(err)
	}
	say("anew\n")
	now, _ := os.ReadFile(path)
	before, _ := os.ReadFile(path + ".1")
	if string(now) != "anew\n" || len(before) != maxLog || !bytes.HasSuffix(before, []byte("last\n")) {
		t.Errorf("the log is %q, %d bytes are beside it", now, len(before))
	}
}
