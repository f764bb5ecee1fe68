package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

func cookieCommand(client func() *control.Client) *cobra.Command {
	c := &cobra.Command{Use: "cookie", Short: "Replace cookies without losing a connection"}
	c.AddCommand(cookieRotate(client))
	return c
}

func cookieRotate(client func() *control.Client) *cobra.Command {
	var all, cluster bool
	output := outputFlag("table")
	c := &cobra.Command{
		Use: "rotate APP | --all | --cluster", Short: "Give a guest, every guest or the host VM a new cookie", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			turn := func(ctx context.Context) ([]status.Rotation, error) { return client().RotateCluster(ctx) }
			switch {
			case len(args) == 1 == (all || cluster), all && cluster:
				return usage(errors.New("name one app, or say --all for every guest, or --cluster for the host VM's own"))
			case !cluster:
				turn = func(ctx context.Context) ([]status.Rotation, error) { return client().RotateCookie(ctx, first(args)) }
			}
			done, err := turn(c.Context())
			if err != nil {
				return err
			}
			return showRotations(c.OutOrStdout(), done, output)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "every guest, one after the other")
	c.Flags().BoolVar(&cluster, "cluster", false, "the cookie of the host VM and its cluster")
	c.Flags().VarP(&output, "output", "o", "output format")
	return c
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// showRotations prints what became of each, and fails when one is not done.
func showRotations(w io.Writer, all []status.Rotation, o outputFlag) error {
	if o == "json" {
		if err := printJSON(w, all); err != nil {
			return err
		}
	} else if err := writeRotations(w, all); err != nil {
		return err
	}
	for _, r := range all {
		if r.State != status.RotationDone {
			return fmt.Errorf("%s: %s: %s", rotated(r), r.State, line(r.Detail))
		}
	}
	return nil
}

func writeRotations(w io.Writer, all []status.Rotation) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHOSE\tSTATE\tDETAIL")
	for _, r := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\n", rotated(r), r.State, orDash(line(r.Detail)))
	}
	return t.Flush()
}

func rotated(r status.Rotation) string {
	if r.App == "" {
		return "(cluster)"
	}
	return line(r.App)
}
