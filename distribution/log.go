package distribution

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	logName = "gateway.log"
	// maxLog is the size in bytes from which the log begins anew. What was in it
	// is beside it until it does the next time.
	maxLog = 4 << 20
	// trimEvery is how often its size is looked at. The gateway cannot write more
	// than 16 MiB into one file.
	trimEvery = time.Minute
)

func (g *Gateway) logPath() string { return filepath.Join(g.cfg.RunDir, logName) }

// openLog opens the log for appending.
func openLog(path string) (*os.File, error) {
	if err := trimLog(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open gateway's log: %w", err)
	}
	return f, nil
}

// trimLogs keeps the log of a running gateway small until ctx ends.
func (g *Gateway) trimLogs(ctx context.Context) {
	for ctx.Err() == nil {
		if err := trimLog(g.logPath()); err != nil {
			g.cfg.Log.Warn("the gateway's log grows on", "err", err)
		}
		pause(ctx, trimEvery)
	}
}

// trimLog begins a log that is too large anew: whoever has it open for appending
// goes on in the same file.
func trimLog(path string) error {
	st, err := os.Stat(path)
	if err != nil || st.Size() <= maxLog {
		return nil //nolint:nilerr // nothing is there yet
	}
	if err := copyEnd(path, path+".1"); err != nil {
		return fmt.Errorf("keep the gateway's log: %w", err)
	}
	if err := os.Truncate(path, 0); err != nil {
		return fmt.Errorf("begin the gateway's log anew: %w", err)
	}
	return nil
}

// copyEnd copies the last maxLog bytes of a file.
func copyEnd(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := in.Seek(-maxLog, io.SeekEnd); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, in, maxLog)
	return errors.Join(err, out.Close())
}
