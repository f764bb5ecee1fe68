//go:build integration

package images_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	core "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/types/known/anypb"

	"beamsandbox/images"
)

// TestCatalog walks an image through everything that an operator can do.
func TestCatalog(t *testing.T) {
	_, cfg := rooms(t)
	s := open(t, cfg)
	built := ensure(t, s, recipe("pulse", source(t, "pulse", nil)))
	host := registryHost(t)
	d, err := s.Inspect(t.Context(), "pulse")
	if err != nil || d.Digest != built.Digest || d.Kind != images.KindCurrent || len(d.Layers) != 3 || d.Bytes < 1<<20 || !strings.HasPrefix(d.Source, "git file://") {
		t.Fatalf("inspect: %+v, %v", d, err)
	}
	if bill := string(d.SBOM); !strings.Contains(bill, `"SPDX-2.3"`) || !strings.Contains(bill, `"name": "stdlib"`) {
		t.Errorf("bill of materials: %s", bill)
	}
	if err := s.Push(t.Context(), built.Digest[7:19], host+"/pulse:1"); err != nil {
		t.Fatal(err)
	}
	checkReferrers(t, host, built.Digest)
	var tarball bytes.Buffer
	if err := s.Export(t.Context(), "pulse", &tarball); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "pulse"); err != nil {
		t.Fatal(err)
	}
	freed, err := s.Prune(t.Context())
	if err != nil || freed.Images != 2 || freed.Bytes < 5<<20 {
		t.Errorf("prune: %+v, %v; want the builder and what pulse left", freed, err)
	}
	if _, err := s.Inspect(t.Context(), "pulse"); !errors.Is(err, images.ErrNoImage) {
		t.Errorf("inspect after prune: %v", err)
	}
	pulled, err := s.Pull(t.Context(), host+"/pulse:1")
	if err != nil || pulled.Digest != built.Digest || pulled.Kind != images.KindPulled {
		t.Errorf("pull: %+v, %v", pulled, err)
	}
	// What was pulled needs no registry any more.
	if i := ensure(t, s, imageRecipe("pulse", "127.0.0.1:1/gone@"+built.Digest)); i.Digest != built.Digest {
		t.Errorf("deploy of what was pulled: %+v", i)
	}
	imported, err := s.Import(t.Context(), &tarball)
	if err != nil || imported.Digest != built.Digest {
		t.Errorf("import: %+v, %v", imported, err)
	}
	var log bytes.Buffer
	byHand, err := s.BuildArchive(t.Context(), "counter", "0.1.0", bytes.NewReader(packed(t, "../examples/apps/counter", "")), &log)
	if err != nil || byHand.App != "counter" || !strings.HasPrefix(byHand.Source, "path ") {
		t.Errorf("build of an archive: %+v, %v", byHand, err)
	}
	for _, step := range []string{"fetch   | ", "resolve | ", "compile | ", "release | ", "pack    | beamsandbox: built: fetch "} {
		if !strings.Contains(log.String(), "\n"+step) && !strings.HasPrefix(log.String(), step) {
			t.Errorf("the log of the build has no line of step %s:\n%s", step, log.String())
		}
	}
	if _, err := s.Import(t.Context(), strings.NewReader("no archive")); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("import of text: %v", err)
	}
}

// checkReferrers asks the registry what refers to the image (distribution-spec,
// "Listing Referrers"): its bill of materials.
func checkReferrers(t *testing.T, host, digest string) {
	res, err := http.Get("http://" + host + "/v2/pulse/referrers/" + digest)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil || !strings.Contains(body.String(), `"digest":"sha256:`) {
		t.Errorf("referrers: %s %s, %v", res.Status, body.String(), err)
	}
}

// TestHeld: what runs and the last image that was well stay, whatever was built
// since, pruned or deleted behind our back; the others go.
func TestHeld(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	address := source(t, "counter", nil)
	build := func(text string) images.Image {
		commit(t, strings.TrimPrefix(address, "file://"), map[string]string{"src/more.erl": "-module(more).\n-export([x/0]).\nx() -> " + text + ".\n"})
		return ensure(t, s, recipe("counter", address))
	}
	well := build("well")
	if err := s.Good(t.Context(), "counter", well.Ref); err != nil {
		t.Fatal(err)
	}
	bad := build("bad")
	ctx, client := g.stack.Namespaced(t.Context()), g.stack.Client()
	runs := build("runs")
	container := containers.Container{ID: "counter", Image: runs.Ref, Runtime: containers.RuntimeInfo{Name: "io.containerd.runc.v2"}, Spec: &anypb.Any{TypeUrl: "x"}}
	if _, err := client.ContainerService().Create(ctx, container); err != nil {
		t.Fatal(err)
	}
	worse, newest := build("worse"), build("newest")
	for range 2 {
		if _, err := s.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkParts(t, g, map[string]bool{well.Digest: true, runs.Digest: true, newest.Digest: true, bad.Digest: false, worse.Digest: false})
		for _, i := range []images.Image{well, runs, newest} { // somebody cleans up with ctr
			if err := client.ImageService().Delete(ctx, i.Ref, core.SynchronousDelete()); err != nil && !errdefs.IsNotFound(err) {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(client.ContainerService().Delete(ctx, "counter"), s.Remove(t.Context(), "counter")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := client.LeasesService().List(ctx)
	if err != nil || len(left) != 0 {
		t.Errorf("leases of an app that is gone: %v, %v", left, err)
	}
}

// checkParts looks which manifests, with all that they refer to, are there.
func checkParts(t *testing.T, g *guests, want map[string]bool) {
	t.Helper()
	ctx, store := g.stack.Namespaced(t.Context()), g.stack.Client().ContentStore()
	for id, there := range want {
		_, err := store.Info(ctx, digest.Digest(id))
		if (err == nil) != there {
			t.Errorf("%s: %v, want there %v", id, err, there)
		}
		if err != nil || !there {
			continue
		}
		ok, _, _, missing, err := core.Check(ctx, store, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(id)}, nil)
		if err != nil || !ok || len(missing) != 0 {
			t.Errorf("%s misses %v, %v", id, missing, err)
		}
	}
}

// TestBound: images go when there are too many of them, but never the current
// one of an app.
func TestBound(t *testing.T) {
	_, cfg := rooms(t)
	s := open(t, cfg)
	address := source(t, "counter", nil)
	first := ensure(t, s, recipe("counter", address))
	commit(t, strings.TrimPrefix(address, "file://"), map[string]string{"src/more.erl": "-module(more).\n"})
	ensure(t, s, recipe("counter", address))
	gone := ensure(t, s, recipe("pulse", source(t, "pulse", nil)))
	if err := s.Remove(t.Context(), "pulse"); err != nil {
		t.Fatal(err)
	}
	cfg.Cache = 1
	small := open(t, cfg)
	commit(t, strings.TrimPrefix(address, "file://"), map[string]string{"src/more.erl": "-module(more).\n-export([x/0]).\nx() -> 1.\n"})
	last := ensure(t, small, recipe("counter", address))
	all, err := small.Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.Digest == first.Digest || l.Digest == gone.Digest || l.Kind == images.KindPrevious {
			t.Errorf("%+v is still there", l)
		}
	}
	if d, err := small.Inspect(t.Context(), "counter"); err != nil || d.Digest != last.Digest {
		t.Errorf("the current image: %+v, %v", d, err)
	}
}
