//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"beamsandbox/images"
)

// How often builds and unchanged deployments are measured.
const (
	bareBuilds = 5
	unchanged  = 5
)

// images adds the figures of the way from a commit to an image. The guests
// were deployed one after the other, each built first; the first of them may
// have made the builder as well.
func (g *guests) images(f *figures) error {
	cold, err := g.imageTimes(1, serial)
	if err != nil {
		return err
	}
	g.say(fmt.Sprintf("%d builds by a bare rebar3", bareBuilds))
	bare, err := g.bareBuilds()
	if err != nil {
		return err
	}
	f.add("build.cold_s", percentile(cold, 50)/1000, "s").beside("bare rebar3", percentile(bare, 50)/1000).below(60, 1.5)
	size, err := g.imageSize()
	if err != nil {
		return err
	}
	f.add("image.pulse_mb", float64(size)/1e6, "MB").below(30, 0)
	return nil
}

// unchanged removes and deploys one app whose image is there.
func (g *guests) unchanged(f *figures) error {
	g.say(fmt.Sprintf("%d deployments of an unchanged app", unchanged))
	var all []time.Duration
	for range unchanged {
		if _, err := g.deploy(0, 1); err != nil {
			return err
		}
		one, err := g.imageTimes(0, 1)
		if err != nil {
			return err
		}
		all = append(all, one...)
		if err := g.empty(); err != nil {
			return err
		}
	}
	f.add("deploy.unchanged_ms", percentile(all, 50), "ms").below(100, 0)
	return nil
}

// imageTimes are what the stage image took of some guests that run.
func (g *guests) imageTimes(from, to int) (all []time.Duration, err error) {
	h, err := w.daemon.Status(g.ctx)
	if err != nil {
		return nil, err
	}
	for i := from; i < to; i++ {
		for _, s := range appOf(h, guestName(i)).Stages {
			if s.Name == "image" {
				all = append(all, s.Took)
			}
		}
	}
	if len(all) != to-from {
		return nil, fmt.Errorf("%d of %d guests say how long their image took", len(all), to-from)
	}
	return all, nil
}

// bareBuilds makes the same releases on the machine itself, each in a folder
// and with a home that are new.
func (g *guests) bareBuilds() (all []time.Duration, err error) {
	for i := range bareBuilds {
		dir := w.Path("bare", guestName(i))
		if err := os.CopyFS(dir, os.DirFS(g.repos[i].Dir)); err != nil {
			return nil, err
		}
		home := filepath.Join(dir, "home")
		build := exec.CommandContext(g.ctx, "escript", filepath.Join(w.Bin, "rebar3"), "as", "prod", "release", "-d", "false", "-i", "true")
		build.Dir, build.Env = dir, append(os.Environ(), "HOME="+home, "REBAR_COLOR=none")
		start := time.Now()
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s without us: %w: %s", guestName(i), err, out)
		}
		all = append(all, time.Since(start))
	}
	return all, os.RemoveAll(w.Path("bare"))
}

// imageSize is the size of a guest's image as a registry would hold it, bytes.
func (g *guests) imageSize() (int64, error) {
	client, err := containerd.New(filepath.Join(w.RunDir, "containerd", "containerd.sock"))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ctx := namespaces.WithNamespace(context.WithoutCancel(g.ctx), images.Namespace)
	all, err := client.ListImages(ctx, `labels."beamsandbox.app"==`+guestName(0))
	if err != nil {
		return 0, err
	}
	if len(all) == 0 {
		return 0, fmt.Errorf("%s has no image", guestName(0))
	}
	return all[0].Size(ctx)
}
