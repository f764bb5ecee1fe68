package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

func policyCommand(client func() *control.Client) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Explain what the operator's policy makes of an app",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(explainCommand(client))
	return c
}

func explainCommand(client func() *control.Client) *cobra.Command {
	output := outputFlag("table")
	c := &cobra.Command{
		Use:   "explain APP [call|cast|info|broadcast TO [MESSAGE]]",
		Short: "Say what an app may have and say, and why; or whether one message of it passes",
		Example: `  sandboxctl policy explain pulse
  sandboxctl policy explain pulse call stats '{get, uptime}'
  sandboxctl policy explain pulse broadcast Elixir.Demo.PubSub stats:updates`,
		Args: cobra.RangeArgs(1, 4),
		RunE: func(c *cobra.Command, args []string) error {
			q, err := question(args[1:])
			if err != nil {
				return err
			}
			reasons, err := client().Explain(c.Context(), args[0], q)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(c.OutOrStdout(), reasons)
			}
			t := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			reasonRows(rowsOf(t), reasons)
			return t.Flush()
		},
	}
	c.Flags().VarP(&output, "output", "o", "output format")
	return c
}

// question is what the words behind the app ask.
func question(words []string) (status.Question, error) {
	var q status.Question
	for i, to := range []*string{&q.Kind, &q.To, &q.Message} {
		if i < len(words) {
			*to = words[i]
		}
	}
	switch q.Kind {
	case "":
		return q, nil
	case "call", "cast", "info", "broadcast":
	default:
		return q, usage(fmt.Errorf("%q is no kind of message: choose call, cast, info or broadcast", q.Kind))
	}
	if q.To == "" {
		return q, usage(fmt.Errorf("name what the %s goes to: a registered name, or a PubSub for a broadcast", q.Kind))
	}
	return q, nil
}

func reasonRows(row func(key, value string), reasons []status.Reason) {
	for _, r := range reasons {
		verb := "yes"
		if !r.Allowed {
			verb = "no"
		}
		row(verb+"  "+r.What, r.Why)
	}
}
