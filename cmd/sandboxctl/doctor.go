package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/doctor/machine"
	"beamsandbox/reconcile/status"
)

// doctorOptions say where to look when no daemon can tell.
type doctorOptions struct {
	root, runDir string
	output       outputFlag
	json         bool
}

func doctorCommand(client func() *control.Client) *cobra.Command {
	o := doctorOptions{output: "table"}
	c := &cobra.Command{
		Use:   "doctor [APP]",
		Short: "Check the machine, the host VM and every app, or one app, and say what to do",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			checks, err := examine(c.Context(), client(), strings.Join(args, ""), o)
			if err != nil {
				return err
			}
			return showChecks(c.OutOrStdout(), checks, o)
		},
	}
	f := c.Flags()
	f.VarP(&o.output, "output", "o", "output format")
	f.BoolVar(&o.json, "json", false, "the same as --output json")
	f.StringVar(&o.root, "root", "/var/lib/sandboxd", "sandboxd's root, when no daemon answers")
	f.StringVar(&o.runDir, "run-dir", "/run/sandboxd", "sandboxd's run_dir, when no daemon answers")
	return c
}

// examine asks the daemon. When none answers, what can be looked at without it
// is, and that it does not answer is one of the checks.
func examine(ctx context.Context, client *control.Client, app string, o doctorOptions) ([]status.Check, error) {
	checks, err := client.Doctor(ctx, app)
	if !errors.Is(err, control.ErrUnreachable) {
		return checks, err
	}
	checks = machine.Check(ctx, o.machine())
	return append(checks, status.Bad("daemon", err.Error()+"; the host VM and the apps were not looked at",
		"systemctl start sandboxd, then see 'journalctl -u sandboxd'")), nil
}

func (o doctorOptions) machine() machine.Config {
	host, _ := os.Hostname() //nolint:errcheck // "" does not resolve, which is said
	short, _, _ := strings.Cut(host, ".")
	return machine.Config{Root: o.root, RunDir: o.runDir, Bin: programs(), Hostname: short,
		EPMD: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 4369)}
}

// programs is the folder of the programs that sandboxd runs, beside us in a
// build and under libexec when installed; "" when they are at neither place.
func programs() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	beside := filepath.Dir(self)
	for _, dir := range []string{beside, filepath.Join(beside, "..", "libexec", "beamsandbox")} {
		if _, err := os.Stat(filepath.Join(dir, "sandbox-gateway")); err == nil {
			return filepath.Clean(dir)
		}
	}
	return ""
}

// showChecks prints the checks; it is an error when one of them fails.
func showChecks(w io.Writer, checks []status.Check, o doctorOptions) error {
	if o.json || o.output == "json" {
		if err := printJSON(w, checks); err != nil {
			return err
		}
	} else {
		writeChecks(w, checks)
	}
	failed := 0
	for _, c := range checks {
		if c.Verdict == status.Fail {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%s of %d failed", plural(failed, "check"), len(checks))
	}
	return nil
}

// writeChecks prints one line for each check.
func writeChecks(w io.Writer, checks []status.Check) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		text := line(c.Found)
		if c.Cure != "" {
			text += " => " + line(c.Cure)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", c.Verdict, orDash(c.App), c.Name, text)
	}
	t.Flush()
}
