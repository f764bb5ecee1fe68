// Command demo runs the main job end to end on real parts and tells what
// happens: a host BEAM, a gitops repository, sandboxd, one guest and one
// embedded app. It is what make demo starts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"beamsandbox/integration/stage"
)

func main() {
	bin := flag.String("bin", "bin", "folder of the built programs")
	examples := flag.String("examples", "examples", "folder of the examples")
	cache := flag.String("cache", "build/demo", "folder of the caches, kept for the next run")
	patience := flag.Float64("patience", 1, "factor on every time limit, for a slow machine")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, stretch(10*time.Minute, *patience))
	defer cancel()
	if err := run(ctx, *bin, *examples, *cache, *patience); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		cancel()
		os.Exit(1)
	}
}

// demo is the stage and what plays on it.
type demo struct {
	*stage.Stage
	examples string
	host     *stage.Host
	daemon   *stage.Daemon
	gitops   *stage.Repo
	pulse    *stage.Repo
	began    time.Time
	patience float64
}

// stretch is a time limit on a machine that is slower by a factor.
func stretch(limit time.Duration, factor float64) time.Duration {
	return time.Duration(float64(limit) * factor)
}

// run plays the acts in order and ends everything, whatever happens.
func run(ctx context.Context, bin, examples, cache string, patience float64) (err error) {
	unlock, err := stage.TakeTurn()
	if err != nil {
		return err
	}
	defer unlock()
	dir, err := os.MkdirTemp("", "beamsandbox-demo-")
	if err != nil {
		return err
	}
	paths := []*string{&bin, &examples, &cache}
	for _, p := range paths {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	s, err := stage.New(bin, dir, cache, "/run/beamsandbox-demo")
	if err != nil {
		return err
	}
	d := &demo{Stage: s, examples: examples, began: time.Now(), patience: patience}
	defer func() {
		err = errors.Join(err, d.Close())
		if err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	for _, act := range []func(context.Context) error{
		d.setUp, d.deploy, d.listen, d.probe, d.limits, d.kill, d.crash, d.broken, d.upgrade, d.move, d.remove,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// say tells one line, with the time since the beginning.
func (d *demo) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// show prints what a command printed, set off from the story.
func (d *demo) show(out string) {
	fmt.Println()
	for l := range strings.Lines(out) {
		fmt.Print("         ", l)
	}
	fmt.Println()
}
