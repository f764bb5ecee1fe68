//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"beamsandbox/integration/links"
)

// manyLinks are the links of which the memory is told; the last one counts.
var manyLinks = []int{0, 10, 100, 500}

// gatewayFigures adds what a link through the gateway costs beside a direct
// one, and what many links cost.
func gatewayFigures(ctx context.Context, f *figures, say func(string)) (err error) {
	dir, err := os.MkdirTemp("", "beamsandbox-links-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := filepath.Abs("../bin/sandbox-gateway")
	if err != nil {
		return err
	}
	rig, err := links.New(ctx, binary, dir)
	defer func() { err = errors.Join(err, rig.Close()) }()
	if err != nil {
		return err
	}
	say("the gateway's memory and processor time for many links")
	if err := crowdFigures(ctx, rig, f); err != nil {
		return err
	}
	say("one link: direct, copied by a plain relay, trusted, enforced, in turns")
	return pairFigures(ctx, rig, f)
}

func crowdFigures(ctx context.Context, rig *links.Rig, f *figures) error {
	crowd, err := rig.Crowd(ctx)
	if err != nil {
		return err
	}
	defer crowd.Close()
	var first, last int
	for i, n := range manyLinks {
		if err := crowd.Grow(ctx, n); err != nil {
			return err
		}
		if last, err = rig.Memory(ctx); err != nil {
			return err
		}
		if i == 0 {
			first = last
		}
		fmt.Printf("       %d links: the gateway takes %.1f MB\n", n, float64(last)/mib)
		if n != 100 {
			continue
		}
		share, err := crowd.Load(ctx, 5)
		if err != nil {
			return err
		}
		f.add("gateway.cpu_100_guests", 100*share, "% of a core").below(3, 0)
	}
	f.add("gateway.link_kb", float64(last-first)/1024/float64(manyLinks[len(manyLinks)-1]), "kB")
	return nil
}

func pairFigures(ctx context.Context, rig *links.Rig, f *figures) error {
	p := links.Plan{Rounds: 5, Trips: 3000, Sizes: []int{100, 1 << 10, 64 << 10, 1 << 20}, Each: 100 * time.Millisecond}
	ways := []links.Way{links.Direct, links.Copied, links.Trusted, links.Enforce}
	all, err := rig.Pair(ctx, p, ways...)
	if err != nil {
		return err
	}
	fmt.Println(links.Table(all, p.Sizes, ways...))
	direct, enforce := all[links.Direct], all[links.Enforce]
	f.add("gateway.rtt_enforce", enforce.P50, "us").beside("direct", direct.P50).within(2)
	f.add("gateway.rtt_trusted", all[links.Trusted].P50, "us").beside("direct", direct.P50)
	f.add("gateway.rtt_copied", all[links.Copied].P50, "us").beside("direct", direct.P50)
	for i, name := range []string{"100b", "1k", "64k", "1m"} {
		size, least := p.Sizes[i], 0.6
		if i == 0 {
			least = 0.5
		}
		f.add("gateway.throughput_"+name, enforce.From[size].MB, "MB/s").beside("direct", direct.From[size].MB).atLeast(least)
		f.add("gateway.throughput_"+name+"_to_guest", enforce.To[size].MB, "MB/s").beside("direct", direct.To[size].MB).atLeast(least)
	}
	return nil
}
