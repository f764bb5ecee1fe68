package images

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// heardSoFar is a writer that tells what came, as it comes.
type heardSoFar struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func newHeard() *heardSoFar { return &heardSoFar{more: make(chan struct{}, 1)} }

func (h *heardSoFar) Write(p []byte) (int, error) {
	h.mu.Lock()
	h.text.Write(p)
	h.mu.Unlock()
	select {
	case h.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// await waits until everything that came is want.
func (h *heardSoFar) await(t *testing.T, want string) {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		h.mu.Lock()
		got := h.text.String()
		h.mu.Unlock()
		if got == want {
			return
		}
		select {
		case <-h.more:
		case <-late:
			t.Fatalf("came %q, want %q", got, want)
		}
	}
}

// building begins a build of an app in a store that can do nothing else.
func building(t *testing.T, s *Store, name string) *buildLog {
	t.Helper()
	l, err := openLog(filepath.Join(s.root, "logs", name, "build.log"))
	if err != nil {
		t.Fatal(err)
	}
	l.steps.now = func() time.Time { return time.Unix(0, 0) }
	l.enter(stepCompile)
	s.live.begin("pulse", l)
	t.Cleanup(func() { l.file.Close() })
	return l
}

func say(t *testing.T, l *buildLog, text string) {
	t.Helper()
	if _, err := io.WriteString(l, text); err != nil {
		t.Fatal(err)
	}
}

// A line is with who follows as soon as it is written, and the log stays when
// the build has ended.
func TestFollowBuild(t *testing.T) {
	s := &Store{root: t.TempDir(), live: newLive()}
	var out strings.Builder
	if err := s.BuildLog(t.Context(), "pulse", true, &out); !errors.Is(err, ErrNoLog) {
		t.Errorf("the log of no build: %v, want ErrNoLog", err)
	}
	if err := s.BuildLog(t.Context(), "../pulse", true, &out); err == nil || errors.Is(err, ErrNoLog) {
		t.Errorf("the log of a path: %v", err)
	}
	l := building(t, s, "pulse")
	one, all := newHeard(), newHeard()
	ctx, cancel := context.WithCancel(t.Context())
	ended, stopped := make(chan error, 1), make(chan error, 1)
	go func() { ended <- s.BuildLog(t.Context(), "pulse", true, one) }()
	go func() { stopped <- s.BuildLogs(ctx, all) }()
	say(t, l, "first\nsec")
	one.await(t, "compile | first\n")
	all.await(t, "pulse compile | first\n")
	say(t, l, "ond\n")
	one.await(t, "compile | first\ncompile | second\n")
	s.live.end("pulse")
	if err := l.end(nil); err != nil {
		t.Fatal(err)
	}
	const whole = "compile | first\ncompile | second\ncompile | beamsandbox: built: compile 0.0s\n"
	one.await(t, whole)
	if err := <-ended; err != nil {
		t.Errorf("follow: %v", err)
	}
	next := building(t, s, "pulse")
	say(t, next, "again\n")
	all.await(t, "pulse "+strings.ReplaceAll(strings.TrimSuffix(whole, "\n"), "\n", "\npulse ")+"\npulse compile | again\n")
	cancel()
	if err := <-stopped; err != nil {
		t.Errorf("follow all: %v", err)
	}
	if err := s.BuildLog(t.Context(), "pulse", false, &out); err != nil || out.String() != "compile | again\n" {
		t.Errorf("the log is %q, %v", out.String(), err)
	}
}

// Who does not read holds no build up, and one who went away is no error of it.
func TestSlowFollower(t *testing.T) {
	s := &Store{root: t.TempDir(), live: newLive()}
	l := building(t, s, "pulse")
	r, w := io.Pipe()
	gone := make(chan error, 1)
	go func() { gone <- s.BuildLogs(t.Context(), w) }()
	for range 1000 {
		say(t, l, strings.Repeat("x", 1000)+"\n")
	}
	if err := l.end(nil); err != nil {
		t.Fatal(err)
	}
	r.CloseWithError(errors.New("gone"))
	if err := <-gone; err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("follow for one who is gone: %v", err)
	}
}
