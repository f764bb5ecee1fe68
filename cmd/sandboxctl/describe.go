package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

func describeCommand(client func() *control.Client) *cobra.Command {
	output := outputFlag("table")
	c := &cobra.Command{
		Use:   "describe APP",
		Short: "Show everything about one app: what it asks for and may have, its state, link, events and ends",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := client().Describe(c.Context(), args[0])
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(c.OutOrStdout(), d)
			}
			writeDescription(c.OutOrStdout(), d, time.Now())
			return nil
		},
	}
	c.Flags().VarP(&output, "output", "o", "output format")
	return c
}

func writeDescription(w io.Writer, d status.Description, now time.Time) {
	app := d.App
	if d.Gateway != nil { // has it fresher, and in full
		app.Refused, app.Refusals, app.Messages = nil, nil, ""
	}
	writeApp(w, app, now)
	section(w, "asks for", len(d.Spec), func(row func(key, value string)) {
		for _, f := range d.Spec {
			row(f.Key, f.Value)
		}
	})
	section(w, "may have", len(d.Grants), func(row func(key, value string)) { reasonRows(row, d.Grants) })
	if d.Gateway != nil {
		section(w, "gateway", 1, func(row func(key, value string)) { memberRows(row, *d.Gateway, now) })
	}
	if f := d.Failure; f != nil {
		section(w, "failing", 1, func(row func(key, value string)) {
			row("times in a row", fmt.Sprint(f.Count))
			row("reason", f.Reason)
			row("detail", f.Detail)
			if !f.NextRetry.IsZero() {
				row("next try", f.NextRetry.UTC().Format(time.RFC3339))
			}
		})
	}
	section(w, "ends", len(d.Exits), func(row func(key, value string)) { eventRows(row, d.Exits) })
	section(w, "events", len(d.Events), func(row func(key, value string)) { eventRows(row, d.Events) })
}

// section is a heading and rows below it; nothing when there are none.
func section(w io.Writer, heading string, n int, rows func(row func(key, value string))) {
	if n == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", heading)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := rowsOf(t)
	rows(func(key, value string) { row("  "+line(key), value) })
	t.Flush()
}

func eventRows(row func(key, value string), events []status.Event) {
	for _, e := range events {
		row(e.At.UTC().Format(time.RFC3339), e.Kind+"  "+e.Text)
	}
}
