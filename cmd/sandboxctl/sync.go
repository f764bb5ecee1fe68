package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

func syncCommand(client func() *control.Client) *cobra.Command {
	var wait time.Duration
	var quiet bool
	c := &cobra.Command{
		Use:   "sync",
		Short: "Look at the repository now, instead of at the next interval",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if wait == 0 {
				return client().Sync(c.Context())
			}
			log := c.ErrOrStderr()
			if quiet {
				log = io.Discard
			}
			return syncAndWait(c.Context(), client(), wait, log)
		},
	}
	c.Flags().DurationVar(&wait, "wait", 0, "wait up to this long until every app is healthy (exit code 3 when not), and print what builds write to standard error")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "do not print what builds write")
	return c
}

// syncAndWait follows builds and events before it asks, so that nothing is
// missed.
func syncAndWait(ctx context.Context, c *control.Client, wait time.Duration, log io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	defer followBuilds(ctx, c, log)()
	var asked time.Time
	var askErr error
	ready := func() { asked, askErr = time.Now(), c.Sync(ctx) }
	settled := false
	err := c.Events(ctx, ready, func(status.Event) bool {
		h, err := c.Status(ctx)
		settled = err == nil && h.Settled && h.Fetched.After(asked)
		return askErr == nil && !settled
	})
	if err := errors.Join(askErr, err); err != nil {
		return err
	}
	return judge(context.WithoutCancel(ctx), c, settled, wait)
}

// followBuilds copies what builds print to log until the function that it
// returns is called. Nobody waits in vain for a daemon that does not know how.
func followBuilds(ctx context.Context, c *control.Client, log io.Writer) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		out := &escaper{w: log}
		defer out.flush()
		c.BuildLogs(ctx, func() { close(ready) }, out) //nolint:errcheck // the events, and the end, tell
	}()
	select {
	case <-ready:
	case <-ended:
	}
	return func() { cancel(); <-ended }
}

// judge says what is not healthy once the waiting is over.
func judge(ctx context.Context, c *control.Client, settled bool, wait time.Duration) error {
	h, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if h.Error != "" {
		return errors.New(h.Error)
	}
	for _, a := range h.Apps {
		if a.Phase != status.Healthy {
			return &exitError{exitUnhealthy, fmt.Errorf("app %s is %s: %s", a.Name, a.Phase, line(reason(a)))}
		}
	}
	if !settled {
		return &exitError{exitUnhealthy, fmt.Errorf("the host has not settled after %s", wait)}
	}
	return nil
}
