package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

func gatewayCommand(client func() *control.Client) *cobra.Command {
	output := outputFlag("table")
	c := &cobra.Command{
		Use:   "gateway [APP]",
		Short: "Show every guest's link and what was refused, or one guest's in full",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := client().Gateway(c.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return showMember(c.OutOrStdout(), all, args[0], output)
			}
			if output == "json" {
				return printJSON(c.OutOrStdout(), all)
			}
			writeMembers(c.OutOrStdout(), all, time.Now())
			return nil
		},
	}
	c.Flags().VarP(&output, "output", "o", "output format")
	return c
}

func writeMembers(w io.Writer, all []status.Member, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "APP\tNODE\tMODE\tLINK\tAGE\tATOMS\tREFUSED\tDETAIL")
	for _, m := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", m.App, m.Node, m.Mode, linkText(m), age(m.Since, now),
			atomsText(m), total(m.Refused), line(memberDetail(m)))
	}
	t.Flush()
	for _, m := range all {
		if text := modeText(m.Mode); text != "" {
			fmt.Fprintf(w, "\nmessages of %s: %s\n", m.App, text)
		}
	}
}

func linkText(m status.Member) string {
	switch {
	case m.Quarantine != nil:
		return "quarantined"
	case m.Up:
		return "up"
	case m.Registered:
		return "registered"
	}
	return "down"
}

func atomsText(m status.Member) string {
	if m.AtomBudget < 0 {
		return fmt.Sprintf("%d, no limit", m.Atoms)
	}
	return fmt.Sprintf("%d of %d", m.Atoms, m.AtomBudget)
}

func total(counts map[string]uint64) (n uint64) {
	for _, one := range counts {
		n += one
	}
	return n
}

// memberDetail is what matters most about a guest, on one line.
func memberDetail(m status.Member) string {
	switch {
	case m.Quarantine != nil:
		return quarantineText(m.App, m.Quarantine)
	case m.Error != "":
		return m.Error
	case m.Up:
		return mostRefused(m.Refused)
	}
	return ""
}

// mostRefused names the rule that refused most.
func mostRefused(counts map[string]uint64) string {
	if len(counts) == 0 {
		return ""
	}
	rules := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	return fmt.Sprintf("rule %s refused %d", rules[0], counts[rules[0]])
}

func quarantineText(app string, q *status.Quarantine) string {
	return fmt.Sprintf("since %s: %d links had to be closed within ten minutes, last for breaking rule %s; 'sandboxctl quarantine lift %s' lets it run again",
		q.At.UTC().Format(time.RFC3339), q.Closed, q.Rule, app)
}

func showMember(w io.Writer, all []status.Member, name string, o outputFlag) error {
	i := slices.IndexFunc(all, func(m status.Member) bool { return m.App == name })
	if i < 0 {
		return fmt.Errorf("the gateway has no guest %s; sandboxctl gateway lists them", name)
	}
	if o == "json" {
		return printJSON(w, all[i])
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	memberRows(rowsOf(t), all[i], time.Now())
	t.Flush()
	return nil
}

// rowsOf writes rows of a key and a value; those without a value are left out.
func rowsOf(w io.Writer) func(key, value string) {
	return func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", key, line(value))
		}
	}
}

func memberRows(row func(key, value string), m status.Member, now time.Time) {
	row("guest", m.App)
	row("node", m.Node)
	row("mode", strings.TrimSpace(m.Mode+"  "+modeText(m.Mode)))
	row("registered", fmt.Sprint(m.Registered))
	row("link", linkText(m))
	row("since", age(m.Since, now))
	row("problem", m.Error)
	if m.Quarantine != nil {
		row("quarantine", quarantineText(m.App, m.Quarantine))
	}
	if m.Closed > 0 {
		row("links closed", fmt.Sprintf("%d within ten minutes for what it sent", m.Closed))
	}
	if !m.NextTry.IsZero() {
		row("let in again", m.NextTry.UTC().Format(time.RFC3339))
	}
	row("atoms", atomsText(m))
	for _, kind := range slices.Sorted(maps.Keys(m.Rights)) {
		row("right", fmt.Sprintf("%s %d", kind, m.Rights[kind]))
	}
	counters(row, "refused", m.Refused)
	for _, r := range m.Refusals {
		row("refusal", refusalText(r))
	}
}
