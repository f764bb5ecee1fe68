package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"beamsandbox/reconcile/status"
)

// builds is a daemon whose builds print what a source's authors chose.
type builds struct {
	*fakeDaemon
	written chan struct{} // closed when a follower was told
}

func (b builds) BuildLog(_ context.Context, app string, follow bool, w io.Writer) error {
	if app != "pulse" {
		return errors.New("read the build log of " + app + ": no build log")
	}
	text := "compile | \x1b[2Jhello\n"
	if follow {
		text += "pack    | the end\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

func (b builds) BuildLogs(ctx context.Context, w io.Writer) error {
	if _, err := io.WriteString(w, "pulse compile | \x1b[2Jhello\n"); err != nil {
		return err
	}
	close(b.written)
	<-ctx.Done()
	return nil
}

func TestBuildLogCommand(t *testing.T) {
	socket := serveFake(t, builds{&fakeDaemon{}, nil})
	for _, tt := range []struct {
		args      []string
		code      int
		out, says string
	}{
		{[]string{"logs", "--build", "pulse"}, 0, "compile | \\x1b[2Jhello\n", ""},
		{[]string{"logs", "--build", "-f", "pulse"}, 0, "compile | \\x1b[2Jhello\npack    | the end\n", ""},
		{[]string{"logs", "--build", "--raw", "pulse"}, 0, "compile | \x1b[2Jhello\n", ""},
		{[]string{"logs", "--build", "none"}, 1, "", "no build log"},
	} {
		code, out, diagnostics := ctl(t, append([]string{"--socket", socket}, tt.args...)...)
		if code != tt.code || out != tt.out || !strings.Contains(diagnostics, tt.says) {
			t.Errorf("%v: code %d, %q, %q; want %d, %q, %q", tt.args, code, out, diagnostics, tt.code, tt.out, tt.says)
		}
	}
}

// heard is what was written, and tells when that began.
type heard struct {
	text  bytes.Buffer
	begun chan struct{}
}

func (h *heard) Write(p []byte) (int, error) {
	if h.text.Len() == 0 {
		defer close(h.begun)
	}
	return h.text.Write(p)
}

// sync --wait shows what is built while it waits, unless asked not to.
func TestSyncShowsBuilds(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		says := heard{begun: make(chan struct{})}
		b := builds{&fakeDaemon{synced: make(chan struct{})}, make(chan struct{})}
		args := []string{"--socket", serveFake(t, b), "sync", "--wait", "1m"}
		want, told := "pulse compile | \\x1b[2Jhello\n", says.begun
		if quiet {
			args, want, told = append(args, "-q"), "", b.written
		}
		b.onSync = func(h *status.Host) {
			select {
			case <-told: // the host settles after its builds
			case <-t.Context().Done():
			}
			h.Fetched, h.Settled = time.Now().Add(time.Hour), true
		}
		c := rootCommand()
		c.SetArgs(args)
		c.SetOut(io.Discard)
		c.SetErr(&says)
		if err := c.ExecuteContext(t.Context()); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		if says.text.String() != want {
			t.Errorf("%v printed %q, want %q", args, says.text.String(), want)
		}
	}
}
