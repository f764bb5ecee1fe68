package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

func tlsCommand(client func() *control.Client) *cobra.Command {
	c := &cobra.Command{Use: "tls", Short: "Issue and replace certificates of distribution over TLS"}
	c.AddCommand(tlsRotate(client), tlsIssue(client))
	return c
}

func tlsRotate(client func() *control.Client) *cobra.Command {
	var all bool
	output := outputFlag("table")
	c := &cobra.Command{
		Use: "rotate APP | --all", Short: "Give a guest, or every guest and the gateway, another certificate", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 == all {
				return usage(errors.New("name one app, or say --all for every guest and the gateway"))
			}
			done, err := client().RotateTLS(c.Context(), first(args))
			if err != nil {
				return err
			}
			for i := range done {
				if done[i].App == "" {
					done[i].App = "(gateway)"
				}
			}
			return showRotations(c.OutOrStdout(), done, output)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "every guest, and the gateway")
	c.Flags().VarP(&output, "output", "o", "output format")
	return c
}

func tlsIssue(client func() *control.Client) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "issue NODE", Short: "Write a certificate for the host VM or a node of its cluster", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			abs, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			return issue(c.Context(), client(), args[0], abs, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "folder to write to, made when missing")
	return c
}

// issue writes three files and says how a node uses them. Files that are there
// are left alone: a node may be running with them.
func issue(ctx context.Context, c *control.Client, node, dir string, w io.Writer) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	const optionsFile = "ssl_dist.config"
	for _, name := range []string{status.CertificateCA, status.CertificateNode, optionsFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%s is there already: choose another --dir, or move it away", filepath.Join(dir, name))
		}
	}
	issued, err := c.IssueTLS(ctx, node)
	if err != nil {
		return err
	}
	options := issued.Options
	for _, name := range []string{status.CertificateCA, status.CertificateNode} {
		options = strings.ReplaceAll(options, `"`+name+`"`, fmt.Sprintf("%q", filepath.Join(dir, name)))
	}
	for name, text := range map[string]string{status.CertificateCA: issued.CA, status.CertificateNode: issued.Node, optionsFile: options} {
		if err := writeNew(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(w, `wrote %[1]s/{%[2]s,%[3]s,%[4]s}, mode 0600: give them to the user that runs %[5]s
lines for its vm.args (the release needs the application ssl):
-proto_dist inet_tls
-ssl_dist_optfile %[1]s/%[4]s
`, dir, status.CertificateCA, status.CertificateNode, optionsFile, line(node))
	return err
}

func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
