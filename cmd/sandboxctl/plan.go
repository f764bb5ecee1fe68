package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

func planCommand(client func() *control.Client) *cobra.Command {
	output := outputFlag("table")
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what the next pass would do, and do nothing",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			steps, err := client().Plan(c.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(c.OutOrStdout(), steps)
			}
			writePlan(c.OutOrStdout(), steps)
			return nil
		},
	}
	c.Flags().VarP(&output, "output", "o", "output format")
	return c
}

func writePlan(w io.Writer, steps []status.Step) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "APP\tACTION\tFROM\tTO\tWHY")
	for _, s := range steps {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.App, s.Action, orDash(s.From), orDash(s.To), line(s.Why))
	}
	t.Flush()
}
