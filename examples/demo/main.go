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
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := run(ctx, *bin, *examples, *cache); err != nil {
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
}

// run plays the acts in order and ends everything, whatever happens.
func run(ctx context.Context, bin, examples, cache string) (err error) {
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
	d := &demo{Stage: s, examples: examples, began: time.Now()}
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
