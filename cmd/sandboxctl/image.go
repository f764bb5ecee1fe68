package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"beamsandbox/cmd/internal/control"
	"beamsandbox/reconcile/status"
)

func imageCommand(client func() *control.Client) *cobra.Command {
	c := &cobra.Command{Use: "image", Short: "Look at the images of apps, and move them"}
	c.AddCommand(imageList(client), imageInspect(client), imageBuild(client), imagePull(client), imagePush(client),
		imageImport(client), imageExport(client), imagePrune(client))
	return c
}

// imageCommandOf is one command with -o.
func imageCommandOf(use, short string, args cobra.PositionalArgs, run func(c *cobra.Command, args []string, o outputFlag) error) *cobra.Command {
	output := outputFlag("table")
	c := &cobra.Command{Use: use, Short: short, Args: args, RunE: func(c *cobra.Command, args []string) error { return run(c, args, output) }}
	c.Flags().VarP(&output, "output", "o", "output format")
	return c
}

func imageList(client func() *control.Client) *cobra.Command {
	return imageCommandOf("ls", "List the images that are kept", cobra.NoArgs, func(c *cobra.Command, _ []string, o outputFlag) error {
		all, err := client().Images(c.Context())
		if err != nil {
			return err
		}
		if o == "json" {
			return printJSON(c.OutOrStdout(), all)
		}
		return writeImages(c.OutOrStdout(), all, time.Now())
	})
}

func writeImages(w io.Writer, all []status.Image, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "APP\tKIND\tDIGEST\tSIZE\tBUILT\tRUNNING\tSOURCE")
	for _, i := range all {
		running := "-"
		if i.Running {
			running = "yes"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", orDash(line(i.App)), i.Kind, imageDigest(i.Digest), bytesText(uint64(i.Bytes)),
			age(i.Built, now), running, orDash(line(i.Source)))
	}
	return t.Flush()
}

// imageDigest is as much of a digest as a person types.
func imageDigest(digest string) string {
	if len(digest) < 19 {
		return line(digest)
	}
	return digest[len("sha256:"):19]
}

func imageInspect(client func() *control.Client) *cobra.Command {
	var sbom bool
	c := imageCommandOf("inspect IMAGE", "Show one image in full, by app, name or digest", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string, o outputFlag) error {
			d, err := client().InspectImage(c.Context(), args[0])
			switch {
			case err != nil:
				return err
			case sbom && len(d.SBOM) == 0:
				return fmt.Errorf("image %s has no bill of materials: it was not built here", args[0])
			case sbom:
				return printJSON(c.OutOrStdout(), d.SBOM)
			case o == "json":
				return printJSON(c.OutOrStdout(), d)
			}
			return writeImage(c.OutOrStdout(), d)
		})
	c.Flags().BoolVar(&sbom, "sbom", false, "print its bill of materials alone (SPDX, JSON)")
	return c
}

func writeImage(w io.Writer, d status.ImageDetail) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"name", d.Ref}, {"app", d.App}, {"kind", d.Kind}, {"digest", d.Digest}, {"source", d.Source}, {"revision", d.Revision},
		{"release", d.Release}, {"erts", d.ERTS}, {"size", bytesText(uint64(d.Bytes))}, {"built", d.Built.Format(time.RFC3339)},
	} {
		if row[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", row[0], line(row[1]))
		}
	}
	if len(d.Entry) > 0 {
		fmt.Fprintf(t, "command\t%s\n", line(fmt.Sprintf("%q", d.Entry)))
	}
	for _, l := range d.Layers {
		fmt.Fprintf(t, "layer\t%s  %s\n", imageDigest(l.Digest), bytesText(uint64(l.Bytes)))
	}
	for _, a := range d.Applications {
		fmt.Fprintf(t, "holds\t%s\n", line(a))
	}
	for _, r := range d.Resolved {
		fmt.Fprintf(t, "resolved\t%s\n", line(resolvedText(r)))
	}
	return t.Flush()
}

// resolvedText is what a build took from outside, on one line.
func resolvedText(d status.Dependency) string {
	text := d.Name + " " + d.Version
	if d.Repository != "" {
		text += " from " + d.Repository
	}
	if d.Checksum != "" {
		text += ", sha256 " + d.Checksum
	}
	if d.Retired != "" {
		text += ", retired: " + d.Retired
	}
	return text
}

func imageBuild(client func() *control.Client) *cobra.Command {
	var name, version string
	var quiet bool
	c := imageCommandOf("build DIR", "Build a folder in the daemon's builder, as an app's image", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string, o outputFlag) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if name == "" {
				name = filepath.Base(dir)
			}
			r, w := io.Pipe()
			go func() { w.CloseWithError(packSource(w, dir)) }()
			defer r.Close()
			log := &escaper{w: c.ErrOrStderr()}
			if quiet {
				log.w = io.Discard
			}
			i, err := client().BuildImage(c.Context(), name, version, r, log)
			log.flush()
			return showImage(c.OutOrStdout(), i, err, o)
		})
	c.Flags().StringVar(&name, "name", "", "name of the application (default: the folder's)")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "do not print the log of the build")
	c.Flags().StringVar(&version, "version", "0.1.0", "version, for a source that names no release of its own")
	return c
}

func imagePull(client func() *control.Client) *cobra.Command {
	return imageCommandOf("pull REFERENCE", "Pull an image from a registry, so that its deployment needs none", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string, o outputFlag) error {
			i, err := client().PullImage(c.Context(), args[0])
			return showImage(c.OutOrStdout(), i, err, o)
		})
}

func imagePush(client func() *control.Client) *cobra.Command {
	return &cobra.Command{
		Use: "push IMAGE REFERENCE", Short: "Push an image and its bill of materials to a registry", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return client().PushImage(c.Context(), args[0], args[1])
		},
	}
}

func imageImport(client func() *control.Client) *cobra.Command {
	return imageCommandOf("import FILE", "Read an image from an archive (OCI layout or docker save)", cobra.ExactArgs(1),
		func(c *cobra.Command, args []string, o outputFlag) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			i, err := client().ImportImage(c.Context(), f)
			return showImage(c.OutOrStdout(), i, err, o)
		})
}

func imageExport(client func() *control.Client) *cobra.Command {
	return &cobra.Command{
		Use: "export IMAGE FILE", Short: "Write an image to an archive that docker load reads too", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) (err error) {
			f, err := os.OpenFile(args[1], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return err
			}
			defer func() {
				if closeErr := f.Close(); err == nil {
					err = closeErr
				}
				if err != nil {
					os.Remove(args[1]) //nolint:errcheck // half an archive is of no use
				}
			}()
			return client().ExportImage(c.Context(), args[0], f)
		},
	}
}

func imagePrune(client func() *control.Client) *cobra.Command {
	return imageCommandOf("prune", "Remove images that no app uses: of removed apps, pulled ones, builders", cobra.NoArgs,
		func(c *cobra.Command, _ []string, o outputFlag) error {
			f, err := client().PruneImages(c.Context())
			if err != nil {
				return err
			}
			if o == "json" {
				return printJSON(c.OutOrStdout(), f)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "removed %d images, %d MB\n", f.Images, f.Bytes>>20)
			return err
		})
}

func showImage(w io.Writer, i status.Image, err error, o outputFlag) error {
	if err != nil {
		return err
	}
	if o == "json" {
		return printJSON(w, i)
	}
	_, err = fmt.Fprintf(w, "%s  %s\n", i.Digest, line(i.Ref))
	return err
}
