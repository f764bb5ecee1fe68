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
	"unicode"
)

// maxLog bounds a build log, in bytes: what the source prints is its own
// choice.
const maxLog = 4 << 20

// A buildLog takes what a build prints, up to maxLog, without colours.
type buildLog struct {
	path string

	mu   sync.Mutex
	file *os.File
	size int
	tail []byte // the last bytes written
}

func openLog(path string) (*buildLog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("open the build log: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the build log: %w", err)
	}
	return &buildLog{path: path, file: f}, nil
}

// Write keeps the end for reason even when the file is full; it fails never,
// so that a chatty build ends as it would have.
func (l *buildLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const keep = 4096
	l.tail = append(l.tail, p...)
	l.tail = bytes.Clone(l.tail[max(0, len(l.tail)-keep):])
	if room := maxLog - l.size; room > 0 {
		n, err := l.file.Write(p[:min(len(p), room)])
		l.size += n
		if err != nil {
			l.size = maxLog
		}
	}
	return len(p), nil
}

func (l *buildLog) Close() error { return l.file.Close() }

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
