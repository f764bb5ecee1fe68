package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"beamsandbox/reconcile/app"
)

func validateCommand() *cobra.Command {
	var appsDir string
	c := &cobra.Command{
		Use:   "validate DIR",
		Short: "Check a gitops repository's apps without a daemon",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return validate(c.OutOrStdout(), args[0], appsDir)
		},
	}
	c.Flags().StringVar(&appsDir, "apps-dir", "apps", "folder of the apps inside DIR")
	return c
}

func validate(w io.Writer, dir, appsDir string) error {
	set, err := app.Load(os.DirFS(dir), appsDir, app.LoadOptions{})
	if err != nil {
		return err
	}
	_, blocked := set.Order()
	for _, name := range slices.Sorted(maps.Keys(set.Specs)) {
		if blocked[name] == nil {
			s := set.Specs[name]
			fmt.Fprintf(w, "ok      %s %s (%s, %s)\n", name, s.Version, s.Isolation, s.Source.Type)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(blocked)) {
		fmt.Fprintf(w, "broken  %s: %s\n", name, line(blocked[name].Error()))
	}
	for _, folder := range slices.Sorted(maps.Keys(set.Broken)) {
		fmt.Fprintln(w, escape(set.Broken[folder].Error()))
	}
	if n := len(set.Broken) + len(blocked); n > 0 {
		return errors.New(plural(n, "app") + " cannot be deployed")
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
