package images

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"beamsandbox/reconcile/app"
)

// ErrNoLog says that no build of an app has left a log.
var ErrNoLog = errors.New("no build log")

// live are the builds that go on now.
type live struct {
	mu      sync.Mutex
	logs    map[app.Name]*buildLog
	changed chan struct{} // closed when a build begins
}

func newLive() *live {
	return &live{logs: map[app.Name]*buildLog{}, changed: make(chan struct{})}
}

func (v *live) begin(name app.Name, l *buildLog) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.logs[name] = l
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *live) end(name app.Name) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.logs, name)
}

func (v *live) of(name app.Name) *buildLog {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.logs[name]
}

func (v *live) all() (map[app.Name]*buildLog, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := map[app.Name]*buildLog{}
	for name, l := range v.logs {
		out[name] = l
	}
	return out, v.changed
}

// BuildLog copies the log of an app's last build to w, whether it failed or
// not: lines "STEP | TEXT", at most 4 MB, where TEXT is what the source's
// build printed and must be escaped where a person sees it. With follow it
// goes on while the build does, or until ctx ends, which is no error.
// Errors: ErrNoLog.
func (s *Store) BuildLog(ctx context.Context, name app.Name, follow bool, w io.Writer) error {
	if !plain.MatchString(string(name)) {
		return fmt.Errorf("read the build log: %.80q is not the name of an app", name)
	}
	l := s.live.of(name)
	if l != nil && follow {
		return l.copyTo(ctx, w)
	}
	f, err := os.Open(s.path("logs", string(name), "build.log"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the build log of %s: %w: it was never built here, or it was removed", name, ErrNoLog)
	}
	if err != nil {
		return fmt.Errorf("read the build log: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("pass on the build log of %s: %w", name, err)
	}
	return nil
}

// BuildLogs copies what all builds print, from those that go on now, as lines
// "APP STEP | TEXT", until ctx ends, which is no error, or w fails.
func (s *Store) BuildLogs(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	defer all.Wait()
	out := &sharedLines{w: w, fail: cancel}
	var seen []*buildLog
	last := map[app.Name]chan struct{}{} // closed when all of an app's last build was written
	for ctx.Err() == nil {
		logs, changed := s.live.all()
		for name, l := range logs {
			if slices.Contains(seen, l) {
				continue
			}
			seen = append(seen, l)
			before, done := last[name], make(chan struct{})
			last[name] = done
			all.Go(func() {
				defer close(done)
				if before != nil {
					<-before
				}
				out.from(ctx, string(name), l)
			})
		}
		seen = slices.DeleteFunc(seen, func(l *buildLog) bool { return !l.goesOn() })
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("pass on the build logs: %w", err)
	}
	return nil
}

// sharedLines writes the lines of several logs to one writer.
type sharedLines struct {
	mu   sync.Mutex
	w    io.Writer
	fail context.CancelCauseFunc
}

func (s *sharedLines) from(ctx context.Context, name string, l *buildLog) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(l.copyTo(ctx, w)) }()
	defer r.Close()
	lines := bufio.NewReader(r)
	for {
		text, err := lines.ReadString('\n')
		if text != "" {
			s.mu.Lock()
			_, failed := io.WriteString(s.w, name+" "+strings.TrimSuffix(text, "\n")+"\n")
			s.mu.Unlock()
			if failed != nil {
				s.fail(failed)
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *buildLog) goesOn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.ended
}

// copyTo copies the log to w until the build has ended, or ctx, which is no
// error. A slow reader reads later, from the file, and holds no build up.
func (l *buildLog) copyTo(ctx context.Context, w io.Writer) error {
	f, err := os.Open(l.path)
	if err != nil {
		return fmt.Errorf("follow the build log: %w", err)
	}
	defer f.Close()
	for ctx.Err() == nil {
		l.mu.Lock()
		ended, grown := l.ended, l.grown
		l.mu.Unlock()
		if _, err := io.Copy(w, f); err != nil {
			return fmt.Errorf("pass on the build log: %w", err)
		}
		if ended {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-grown:
		}
	}
	return nil
}
