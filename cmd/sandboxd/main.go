// Command sandboxd makes this host match its git repository: it builds and
// runs guests behind walls, connects them to the host VM through
// sandbox-gateway, and answers sandboxctl.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// options are the flags.
type options struct {
	config string
	apps   string
	check  bool
	level  slog.Level
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return
	default:
		fmt.Fprintln(os.Stderr, "sandboxd: "+err.Error())
		stop()
		os.Exit(1)
	}
}

// run is main with its ends in the open, for tests.
func run(ctx context.Context, args []string, out, diagnostics io.Writer) error {
	o, err := parseFlags(args, diagnostics)
	if err != nil {
		return err
	}
	c, err := loadConfig(o.config, o.apps)
	if err != nil {
		return err
	}
	if o.check {
		for _, w := range c.Policy.Warnings() {
			fmt.Fprintf(out, "%s: warning: %s\n", o.config, w)
		}
		fmt.Fprintf(out, "%s: ok\n", o.config)
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("sandboxd needs root: it makes namespaces and containers")
	}
	c.Getenv = takeCookies()
	log := slog.New(slog.NewTextHandler(diagnostics, &slog.HandlerOptions{Level: o.level}))
	for _, w := range c.Policy.Warnings() {
		log.Warn("the policy allows what no policy should", "rule", w)
	}
	return serve(ctx, c, log)
}

func parseFlags(args []string, diagnostics io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("sandboxd", flag.ContinueOnError)
	f.SetOutput(diagnostics)
	f.StringVar(&o.config, "config", "/etc/sandboxd/sandboxd.config", "configuration file")
	f.StringVar(&o.apps, "apps", "", "follow a plain folder instead of a git repository; allows sources of type path")
	f.BoolVar(&o.check, "check", false, "check the configuration and exit")
	f.TextVar(&o.level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, nil
}
