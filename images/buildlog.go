package images

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
)

// maxLog bounds a build log, in bytes: what the source prints is its own
// choice. The last part of it is left to how the build ended.
const (
	maxLog     = 4 << 20
	maxLogEnd  = 4 << 10
	maxLogLine = 4 << 10 // a longer line is cut in lines
)

// A buildLog takes what a build prints, up to maxLog, as whole lines that
// begin with the step they were printed in. It is read, by anybody, while it
// grows.
type buildLog struct {
	path string

	mu    sync.Mutex
	file  *os.File
	size  int
	full  bool
	tail  []byte        // the last bytes written
	rest  []byte        // a line without its end
	grown chan struct{} // closed at the next change
	ended bool
	steps steps
}

// openLog begins a new file: who still reads the one of the last build reads
// that one to its end.
func openLog(path string) (*buildLog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("open the build log: %w", err)
	}
	if err := os.RemoveAll(path); err != nil {
		return nil, fmt.Errorf("open the build log: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the build log: %w", err)
	}
	return &buildLog{path: path, file: f, grown: make(chan struct{}), steps: steps{now: time.Now}}, nil
}

// Write keeps the end for lastWords even when the file is full; it fails
// never, so that a chatty build ends as it would have.
func (l *buildLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const keep = 4096
	l.tail = append(l.tail, p...)
	l.tail = bytes.Clone(l.tail[max(0, len(l.tail)-keep):])
	if len(l.rest) > 0 && bytes.HasPrefix(p, []byte(ours)) {
		l.line() // the build has not ended its line, ours goes to one of its own
	}
	for rest := p; len(rest) > 0; {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		n = min(n, maxLogLine-len(l.rest))
		l.rest = append(l.rest, rest[:n]...)
		rest = rest[n:]
		if len(l.rest) == maxLogLine || l.rest[len(l.rest)-1] == '\n' {
			l.line()
		}
	}
	return len(p), nil
}

// line writes the line that is whole now.
func (l *buildLog) line() {
	text := bytes.TrimRight(l.rest, "\r\n")
	l.rest = l.rest[:0]
	if !bytes.HasPrefix(text, []byte(ours)) {
		l.steps.hear(string(text))
	}
	l.put(fmt.Appendf(nil, "%-7s | %s\n", l.steps.at, text), maxLog-maxLogEnd)
}

// put writes a line while there is room for it below limit.
func (l *buildLog) put(line []byte, limit int) {
	if l.size+len(line) > limit {
		if l.full {
			return
		}
		l.full = true
		line = []byte(ours + "the log is full: what the build printed after this is not kept\n")
	}
	n, err := l.file.Write(line)
	l.size += n
	if err != nil {
		l.size = maxLog
	}
	close(l.grown)
	l.grown = make(chan struct{})
}

// enter begins a step.
func (l *buildLog) enter(s step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.line()
	}
	l.steps.enter(s)
}

// end writes how the build ended, err is nil when it is well, and closes the
// log.
func (l *buildLog) end(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.line()
	}
	took := l.steps.took()
	how := "built: " + took
	if err != nil {
		how = fmt.Sprintf("failed: %s (%s)", printable(err.Error()), took)
	}
	l.put(fmt.Appendf(nil, "%-7s | %s%s\n", l.steps.at, ours, how), maxLog)
	l.ended = true
	return l.file.Close()
}

// ours begins the lines that the build did not write.
const ours = "beamsandbox: "

// note writes a line of our own to a build log.
func note(log io.Writer, format string, args ...any) {
	fmt.Fprintf(log, ours+format+"\n", args...)
}

// lastWords is what a build said last, in one line.
func (l *buildLog) lastWords() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for line := range strings.Lines(string(l.tail)) {
		if line = printable(line); line != "" && !strings.HasPrefix(line, ours) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return "it printed nothing"
	}
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

// escapes are terminal control sequences (ECMA-48, "CSI").
var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]")

// printable takes out what would move a terminal, and rebar3's arrow.
func printable(line string) string {
	line = strings.TrimSpace(escapes.ReplaceAllString(line, ""))
	line = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.TrimPrefix(line, "===> "))
	return line[:min(len(line), 500)]
}
