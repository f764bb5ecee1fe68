package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
)

func quarantineCommand(client func() *control.Client) *cobra.Command {
	c := &cobra.Command{
		Use:   "quarantine",
		Short: "Let guests run again that were stopped for what they sent",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:   "lift APP",
		Short: "Let a quarantined app run again; 'sandboxctl gateway APP' says why it was stopped",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := client().Lift(c.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is started again\n", args[0])
			return nil
		},
	})
	return c
}
