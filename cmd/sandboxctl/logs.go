package main

import (
	"bytes"
	"io"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
)

func logsCommand(client func() *control.Client) *cobra.Command {
	var follow, raw, build bool
	c := &cobra.Command{
		Use:   "logs APP",
		Short: "Print what a guest, or the build of an app, wrote to its standard output and error",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			out := c.OutOrStdout()
			if !raw {
				e := &escaper{w: out}
				defer e.flush()
				out = e
			}
			if build {
				return client().BuildLog(c.Context(), args[0], follow, out)
			}
			return client().Logs(c.Context(), args[0], follow, out)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing what is added")
	c.Flags().BoolVar(&build, "build", false, "print the log of the app's last build, failed or not; with -f until the build ends")
	c.Flags().BoolVar(&raw, "raw", false, "print control characters as they are")
	return c
}

// escaper escapes whole lines, so that no character is cut in two.
type escaper struct {
	w    io.Writer
	rest []byte
}

func (e *escaper) Write(p []byte) (int, error) {
	e.rest = append(e.rest, p...)
	end := bytes.LastIndexByte(e.rest, '\n') + 1
	if end == 0 && len(e.rest) < 64<<10 {
		return len(p), nil
	}
	if end == 0 {
		end = len(e.rest)
	}
	_, err := io.WriteString(e.w, escape(string(e.rest[:end])))
	e.rest = append(e.rest[:0], e.rest[end:]...)
	return len(p), err
}

func (e *escaper) flush() {
	io.WriteString(e.w, escape(string(e.rest))) //nolint:errcheck // the last line of a stream that ends
}
