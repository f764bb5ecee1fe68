// Command sandboxctl asks sandboxd what runs, makes it look again, and tries
// guests without it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
)

// Exit codes, as docs/sandboxctl.md lists them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnhealthy   = 3
	exitUnreachable = 4
)

// exitError carries an exit code to main.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := rootCommand().ExecuteContext(ctx)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "sandboxctl: "+err.Error())
	stop()
	os.Exit(exitCode(err))
}

func exitCode(err error) int {
	var e *exitError
	switch {
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, control.ErrUnreachable):
		return exitUnreachable
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	var socket string
	root := &cobra.Command{
		Use:           "sandboxctl",
		Short:         "Ask sandboxd about BEAM guests, and try guests without it",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().StringVar(&socket, "socket", control.DefaultSocket, "control socket of sandboxd")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	client := func() *control.Client { return control.NewClient(socket) }
	root.AddCommand(statusCommand(client), syncCommand(client), planCommand(client),
		logsCommand(client), imageCommand(client), cookieCommand(client), tlsCommand(client), doctorCommand(client), validateCommand(), runCommand())
	root.AddCommand(gatewayCommand(client), describeCommand(client), policyCommand(client), quarantineCommand(client))
	checkArgs(root)
	return root
}

// checkArgs gives wrong arguments of every command the exit code of wrong flags.
func checkArgs(root *cobra.Command) {
	for _, c := range root.Commands() {
		c.Args = usageArgs(c.Args)
		checkArgs(c)
	}
}

// knownCommand gets what is no command's name.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return usage(fmt.Errorf("unknown command %q: did you mean %s?", args[0], near[0]))
	}
	return usage(fmt.Errorf("unknown command %q: 'sandboxctl help' lists them", args[0]))
}

func usage(err error) error { return &exitError{exitUsage, err} }

// usageArgs gives wrong arguments the exit code of wrong flags.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(c, args); err != nil {
			return usage(err)
		}
		return nil
	}
}
