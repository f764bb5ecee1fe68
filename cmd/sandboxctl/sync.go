package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

func syncCommand(client func() *control.Client) *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use:   "sync",
		Short: "Look at the repository now, instead of at the next interval",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if wait == 0 {
				return client().Sync(c.Context())
			}
			return syncAndWait(c.Context(), client(), wait)
		},
	}
	c.Flags().DurationVar(&wait, "wait", 0, "wait up to this long until every app is healthy (exit code 3 when not)")
	return c
}

// syncAndWait follows events before it asks, so that nothing is missed.
func syncAndWait(ctx context.Context, c *control.Client, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
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
