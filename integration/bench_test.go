//go:build integration

package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"beamsandbox/integration/stage"
)

// out is where BenchmarkHost writes its figures.
var out = flag.String("out", "", "file for the benchmark's figures (JSON)")

// How often things are measured.
const (
	trues     = 20
	boots     = 15
	registers = 15
	serial    = 20 // guests one after the other
	parallel  = 10 // guests at once
)

// BenchmarkHost measures what an operator of this machine would get, on the
// same parts as the tests. docs/benchmarks.md says what each figure means.
func BenchmarkHost(b *testing.B) {
	for b.Loop() {
		f, err := measure(b)
		must(b, err)
		fmt.Println()
		must(b, f.print(os.Stdout))
		if *out != "" {
			must(b, f.save(*out))
		}
	}
}

func measure(b *testing.B) (figures, error) {
	var f figures
	began := time.Now()
	say := func(what string) { fmt.Printf("%5.0fs  %s\n", time.Since(began).Seconds(), what) }
	ctx, cancel := context.WithTimeout(b.Context(), 15*time.Minute)
	defer cancel()

	d, err := w.StartDaemon(ctx, stage.Options{Repo: w.gitops, HostNode: w.host.Name})
	if err != nil {
		return nil, err
	}
	w.daemon = d
	say("an empty container")
	empty, err := containerTrue(ctx, w.Stage, trues)
	if err != nil {
		return nil, err
	}
	f.add("container.true_ms", percentile(empty, 50), "ms")
	say("a bare BEAM")
	register, err := measureBEAM(b, &f)
	if err != nil {
		return nil, err
	}
	g := guests{ctx: ctx, say: say}
	say("the sources of the guests")
	if err := g.makeRepos(serial); err != nil {
		return nil, err
	}
	if err := g.measure(&f, percentile(empty, 50)+register); err != nil {
		return nil, err
	}
	if err := stopClean(ctx); err != nil {
		return nil, err
	}
	err = gatewayFigures(ctx, &f, say)
	return f, err
}

// stopClean stops sandboxd and counts: a run that leaves something behind
// has measured something else than the tests hold to be true.
func stopClean(ctx context.Context) error {
	if err := w.daemon.Stop(20 * time.Second); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var left []string
	err := stage.Until(ctx, "nothing is left", func() bool {
		found, err := w.Leftovers(ctx)
		left = found
		return err == nil && len(found) == 0
	})
	if err != nil {
		return fmt.Errorf("%w: %q", err, left)
	}
	return nil
}

// measureBEAM adds what `erl` costs without walls; it returns the time until a
// bare node is registered in milliseconds.
func measureBEAM(b *testing.B, f *figures) (float64, error) {
	boot, err := beamBoot(b.Context(), boots)
	if err != nil {
		return 0, err
	}
	f.add("beam.boot_ms", percentile(boot, 50), "ms")
	register, err := beamRegister(b.Context(), b.TempDir(), registers)
	if err != nil {
		return 0, err
	}
	p50 := percentile(register, 50)
	f.add("beam.register_ms", p50, "ms")
	return p50, nil
}
