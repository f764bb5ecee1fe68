package main

import (
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

func statusCommand(client func() *control.Client) *cobra.Command {
	output := outputFlag("table")
	c := &cobra.Command{
		Use:   "status [APP]",
		Short: "Show the host and every app, or one app in full",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			h, err := client().Status(c.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return showApp(c.OutOrStdout(), h, args[0], output)
			}
			return showHost(c.OutOrStdout(), h, output)
		},
	}
	c.Flags().VarP(&output, "output", "o", "output format")
	return c
}

func showHost(w io.Writer, h status.Host, o outputFlag) error {
	if o == "json" {
		return printJSON(w, h)
	}
	writeHost(w, h)
	writeApps(w, h.Apps, h.At)
	return nil
}

func writeHost(w io.Writer, h status.Host) {
	up := "not reachable"
	switch {
	case !h.HostUp && h.HostError != "":
		up += ": " + line(h.HostError)
	case h.HostUp:
		up = "up"
		if h.HostOTP != "" {
			up += ", OTP " + h.HostOTP
		}
	}
	fmt.Fprintf(w, "host      %s (%s)\n", h.HostNode, up)
	if h.Macula != nil {
		fmt.Fprintf(w, "macula    %s\n", maculaText(*h.Macula))
	}
	fmt.Fprintf(w, "commit    %s of %s %s\n", orDash(short(h.Commit, 12)), line(h.Repo), h.Branch)
	if h.Error != "" {
		fmt.Fprintf(w, "error     %s\n", line(h.Error))
	}
	if !h.Gateway {
		fmt.Fprintln(w, "gateway   not running")
	}
	fmt.Fprintln(w)
}

// maculaText says who keeps the cluster together, function by function.
func maculaText(m status.Macula) string {
	text := "asked for " + orDash(strings.Join(m.Asked, " "))
	if len(m.Own) > 0 {
		text += "; our own " + strings.Join(m.Own, " ")
	}
	if m.Error != "" {
		text += "; error: " + line(m.Error)
	}
	return text
}

func writeApps(w io.Writer, apps []status.App, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "APP\tVERSION\tISOLATION\tPHASE\tNODE\tPID\tMEMORY\tRESTARTS\tAGE\tDETAIL")
	for _, a := range apps {
		pid := "-"
		if a.Pid != 0 {
			pid = fmt.Sprint(a.Pid)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", a.Name, orDash(a.Version),
			orDash(a.Isolation), a.Phase, orDash(a.Node), pid, bytesText(a.Memory), a.Restarts,
			age(a.Started, now), line(reason(a)))
	}
	t.Flush()
	for _, a := range apps {
		if text := modeText(a.Messages); text != "" {
			fmt.Fprintf(w, "\nmessages of %s: %s\n", a.Name, text)
		}
		for _, n := range a.Notes {
			fmt.Fprintf(w, "\nnote on %s: %s\n", a.Name, line(n))
		}
	}
}

// reason joins why and what in one cell.
func reason(a status.App) string {
	switch {
	case a.Reason == "":
		return a.Detail
	case a.Detail == "":
		return a.Reason
	default:
		return a.Reason + ": " + a.Detail
	}
}

func showApp(w io.Writer, h status.Host, name string, o outputFlag) error {
	i := slices.IndexFunc(h.Apps, func(a status.App) bool { return a.Name == name })
	if i < 0 {
		return fmt.Errorf("no app %s on this host; sandboxctl status lists them", name)
	}
	if o == "json" {
		return printJSON(w, h.Apps[i])
	}
	writeApp(w, h.Apps[i], h.At)
	return nil
}

func writeApp(w io.Writer, a status.App, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(key, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", key, line(value))
		}
	}
	row("app", a.Name)
	row("version", a.Version)
	row("isolation", a.Isolation)
	row("phase", string(a.Phase))
	row("reason", reason(a))
	row("node", a.Node)
	row("linked", fmt.Sprint(a.Linked))
	if a.TLS {
		row("tls", "between guest and gateway")
	}
	row("address", a.Address)
	row("image", a.Image)
	row("revision", a.Revision)
	for _, n := range a.Notes {
		row("note", n)
	}
	row("age", age(a.Started, now))
	row("memory", bytesText(a.Memory))
	row("restarts", fmt.Sprint(a.Restarts))
	row("health", a.Health)
	row("messages", modeText(a.Messages))
	for _, s := range a.Stages {
		row("stage "+s.Name, fmt.Sprintf("%s %s", s.Took.Round(time.Millisecond), s.Detail))
	}
	for _, c := range a.Components {
		row("component", componentText(c))
	}
	counters(row, "dropped", a.Drops)
	counters(row, "refused", a.Refused)
	for _, r := range a.Refusals {
		row("refusal", refusalText(r))
	}
	t.Flush()
}

// componentText is one LiveComponent on one line.
func componentText(c status.Component) string {
	text := c.ID + " " + c.Module
	if c.Title != "" {
		text += fmt.Sprintf(" %q", c.Title)
	}
	if c.PubSub != "" {
		text += fmt.Sprintf(", %s of %s", c.Topic, c.PubSub)
		if c.UpdateAssign != "" {
			text += " as " + c.UpdateAssign
		}
	}
	if c.Problem != "" {
		return text + ": " + c.Problem
	}
	return text + ": published, the host VM has its module"
}

// refusalText is one refused message on one line.
func refusalText(r status.Refusal) string {
	from := "guest"
	if r.ToGuest {
		from = "host"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s's %s to %s, rule %s: %s",
		r.At.Format(time.TimeOnly), from, orDash(r.Op), orDash(r.To), r.Rule, r.Message))
}

// modeText says loudly that a guest is not held to any rules.
func modeText(mode string) string {
	switch mode {
	case "audit":
		return "AUDIT: what the rules refuse passes, and is counted"
	case "trusted":
		return "TRUSTED: nothing is judged, the guest can do to the host VM what it likes"
	}
	return ""
}

func counters(row func(key, value string), key string, m map[string]uint64) {
	for _, rule := range slices.Sorted(maps.Keys(m)) {
		row(key, fmt.Sprintf("%s %d", rule, m[rule]))
	}
}
