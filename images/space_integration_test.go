//go:build integration

package images_test

import (
	"bytes"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	core "github.com/containerd/containerd/v2/core/images"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"google.golang.org/protobuf/types/known/anypb"

	"beamsandbox/images"
	"beamsandbox/reconcile/app"
)

// strange is somebody's image of one megabyte, which nothing shares.
func strange(t *testing.T) v1.Image {
	t.Helper()
	i, err := random.Image(1<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	file, err := i.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config.Cmd = "linux", goruntime.GOARCH, []string{"/run"}
	if i, err = mutate.ConfigFile(i, file); err != nil {
		t.Fatal(err)
	}
	return i
}

// saved is an image as docker save writes it.
func saved(t *testing.T, i v1.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := tarball.Write(name.MustParseReference("strange:1"), i, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func held(t *testing.T, s *images.Store) int64 {
	t.Helper()
	n, err := s.Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// kinds are the images of the store by name, without the builder.
func kinds(t *testing.T, s *images.Store) map[string]images.Kind {
	t.Helper()
	all, err := s.Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]images.Kind{}
	for _, l := range all {
		if l.Kind != images.KindBuilder {
			out[l.Ref] = l.Kind
		}
	}
	return out
}

// TestBoundOfImports: what is brought in by hand makes room for itself, and
// just enough.
func TestBoundOfImports(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	oldest := ensure(t, s, recipe("counter", source(t, "counter", nil)))
	newer := ensure(t, s, recipe("pulse", source(t, "pulse", nil)))
	for _, n := range []app.Name{"counter", "pulse"} {
		if err := s.Remove(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	archive := saved(t, strange(t))
	brought, err := s.Import(t.Context(), bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	all := held(t, s)
	if err := g.stack.Client().ImageService().Delete(g.stack.Namespaced(t.Context()), brought.Ref, core.SynchronousDelete()); err != nil {
		t.Fatal(err)
	}

	cfg.Cache = all - 1
	small := open(t, cfg)
	brought, err = small.Import(t.Context(), bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	left := kinds(t, small)
	if len(left) != 2 || left[newer.Ref] != images.KindRemoved || left[brought.Ref] != images.KindPulled {
		t.Errorf("left are %v; want all but %s", left, oldest.Ref)
	}
	if n := held(t, small); n > cfg.Cache || n == 0 {
		t.Errorf("images hold %d bytes, at most %d may", n, cfg.Cache)
	}

	host := registryHost(t)
	if err := small.Push(t.Context(), brought.Ref, host+"/strange:2"); err != nil {
		t.Fatal(err)
	}
	cfg.Cache = 1
	pulled, err := open(t, cfg).Pull(t.Context(), host+"/strange:2")
	if left := kinds(t, small); err != nil || len(left) != 1 || left[pulled.Ref] != images.KindPulled {
		t.Errorf("left are %v, %v; want what was pulled alone", left, err)
	}
}

// TestBoundOfWhatRuns: an image that a guest is made of stays, however little
// the others may hold.
func TestBoundOfWhatRuns(t *testing.T) {
	g, cfg := rooms(t)
	cfg.Cache = 1
	s := open(t, cfg)
	address := source(t, "counter", nil)
	runs := ensure(t, s, recipe("counter", address))
	ctx, client := g.stack.Namespaced(t.Context()), g.stack.Client()
	container := containers.Container{ID: "counter", Image: runs.Ref, Runtime: containers.RuntimeInfo{Name: "io.containerd.runc.v2"}, Spec: &anypb.Any{TypeUrl: "x"}}
	if _, err := client.ContainerService().Create(ctx, container); err != nil {
		t.Fatal(err)
	}
	commit(t, strings.TrimPrefix(address, "file://"), map[string]string{"src/more.erl": "-module(more).\n"})
	current := ensure(t, s, recipe("counter", address))
	for _, stays := range []bool{true, false} {
		if _, err := s.Import(t.Context(), bytes.NewReader(saved(t, strange(t)))); err != nil {
			t.Fatal(err)
		}
		left := kinds(t, s)
		if _, there := left[runs.Ref]; there != stays || left[current.Ref] != images.KindCurrent {
			t.Errorf("left are %v; want what runs, %s: %v, and %s", left, runs.Ref, stays, current.Ref)
		}
		if stays {
			if err := client.ContainerService().Delete(ctx, "counter"); err != nil {
				t.Fatal(err)
			}
		}
	}
}
