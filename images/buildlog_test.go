package images

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newLog is a log whose clock goes on by a second each time it is read.
func newLog(t *testing.T) *buildLog {
	t.Helper()
	log, err := openLog(filepath.Join(t.TempDir(), "logs", "build.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.file.Close() })
	var seconds int64
	log.steps.now = func() time.Time { seconds++; return time.Unix(seconds, 0) }
	return log
}

func written(t *testing.T, l *buildLog) string {
	t.Helper()
	text, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestBuildLogReason(t *testing.T) {
	log := newLog(t)
	if got := log.lastWords(); got != "it printed nothing" {
		t.Errorf("reason of silence = %q", got)
	}
	if _, err := log.Write([]byte("one\n\x1b[0;31m===> Compiling a\x1b[0m failed\n\x1b]0;title\x07two\n\n")); err != nil {
		t.Fatal(err)
	}
	if got, want := log.lastWords(), "one | Compiling a failed | ]0;titletwo"; got != want {
		t.Errorf("reason = %q, want %q", got, want)
	}
	for want, p := range map[string]*proxy{
		"it asked for hex":   {refused: []string{"hex"}, failed: []string{"x"}, missing: []string{"y"}},
		"it could not get x": {failed: []string{"x"}, missing: []string{"y"}},
		"two; there is no y": {missing: []string{"y"}},
		"two":                {},
	} {
		if got := p.trouble("two"); got != want {
			t.Errorf("trouble = %q, want %q", got, want)
		}
	}
}

// Every line says the step it was printed in, and the last one how it ended.
func TestBuildLogSteps(t *testing.T) {
	log := newLog(t)
	log.enter(stepFetch)
	note(log, "fetch x")
	if _, err := log.Write([]byte("===> Compiling nothing: nobody builds yet\n")); err != nil {
		t.Fatal(err)
	}
	log.enter(stepResolve)
	for _, part := range []string{"===> Verifying depen", "dencies...\n===> Analyzing applications...\n  in compi", "le\nhalf a line", ours + "gave y\n",
		"Assembling release x-1\n", "* assembling y\n==> dep\nGenerated dep app\n===> Fetching z\n", "no end"} {
		if _, err := log.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.end(errors.New("it\nbroke")); err != nil {
		t.Fatal(err)
	}
	want := `fetch   | beamsandbox: fetch x
fetch   | ===> Compiling nothing: nobody builds yet
resolve | ===> Verifying dependencies...
compile | ===> Analyzing applications...
compile |   in compile
compile | half a line
compile | beamsandbox: gave y
release | Assembling release x-1
release | * assembling y
compile | ==> dep
compile | Generated dep app
resolve | ===> Fetching z
resolve | no end
resolve | beamsandbox: failed: itbroke (fetch 1.0s, resolve 2.0s, compile 2.0s, release 1.0s)
`
	if got := written(t, log); got != want {
		t.Errorf("the log is\n%swant\n%s", got, want)
	}
}

// A source that prints without end fills neither the disk nor the place for
// how its build ended.
func TestBuildLogIsBounded(t *testing.T) {
	log := newLog(t)
	chunk := []byte(strings.Repeat("x", 1<<20))
	for range 6 {
		if n, err := log.Write(chunk); n != len(chunk) || err != nil {
			t.Fatalf("write = %d, %v", n, err)
		}
	}
	if _, err := log.Write([]byte("\nthe end\n")); err != nil {
		t.Fatal(err)
	}
	if got := log.lastWords(); !strings.HasSuffix(got, "the end") {
		t.Errorf("reason = %.20q…, want the end of the output", got)
	}
	if err := log.end(errors.New("it went on")); err != nil {
		t.Fatal(err)
	}
	got := written(t, log)
	if len(got) > maxLog || len(got) < maxLog-3*maxLogEnd || strings.Count(got, "the log is full") != 1 || !strings.Contains(got[len(got)-200:], "failed: it went on") {
		t.Errorf("the log has %d bytes and ends with %q; at most %d are kept, and how it ended", len(got), got[len(got)-200:], maxLog)
	}
}
