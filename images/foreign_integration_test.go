//go:build integration

package images_test

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"

	"beamsandbox/images"
	"beamsandbox/reconcile/app"
)

// registryHost runs an OCI registry on loopback, in memory; "127.0.0.1:port".
func registryHost(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// pushImage pushes an image of the store to a registry behind the store's back.
func pushImage(t *testing.T, g *guests, i images.Image, to string) {
	t.Helper()
	ctx := g.stack.Namespaced(t.Context())
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchLocalhost))})
	image, err := g.stack.Client().GetImage(ctx, i.Ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.stack.Client().Push(ctx, to, image.Target(), containerd.WithResolver(resolver)); err != nil {
		t.Fatal(err)
	}
}

// guardedHost is a registry that answers nobody without a password.
func guardedHost(t *testing.T, user, secret string) string {
	t.Helper()
	open := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, s, _ := r.BasicAuth(); u != user || s != secret {
			w.Header().Set("WWW-Authenticate", `Basic realm="images"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		open.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// TestRegistryAuth: a registry that wants a password gets the one configured
// for it, at every push and pull, and nobody else hears of it.
func TestRegistryAuth(t *testing.T) {
	g, cfg := rooms(t)
	host := guardedHost(t, "robot", "top-secret")
	knows := func(secret string) *images.Store {
		c := cfg
		c.RegistryAuth = func(asked string) (string, string, error) {
			if asked != host {
				return "", "", errors.New("asked for the password of " + asked)
			}
			return "robot", secret, nil
		}
		return open(t, c)
	}
	s := knows("top-secret")
	brought, err := s.Import(t.Context(), bytes.NewReader(saved(t, strange(t))))
	if err != nil {
		t.Fatal(err)
	}
	address := host + "/team/strange:1"
	for name, other := range map[string]*images.Store{"no password": open(t, cfg), "a wrong one": knows("guess")} {
		_, pull := other.Pull(t.Context(), address)
		_, deploy := other.Ensure(t.Context(), imageRecipe("strange", address))
		for what, err := range map[string]error{"push": other.Push(t.Context(), brought.Ref, address), "pull": pull, "deployment": deploy} {
			if err == nil || !strings.Contains(err.Error(), "401 Unauthorized") || strings.Contains(err.Error(), "guess") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s with %s: %v, want one line with the registry's refusal", what, name, err)
			}
		}
	}
	if err := s.Push(t.Context(), brought.Ref, address); err != nil {
		t.Fatal(err)
	}
	forgotten(t, g, brought.Ref)
	if i := ensure(t, s, imageRecipe("strange", host+"/team/strange@"+brought.Digest)); i.Digest != brought.Digest {
		t.Errorf("deployed %+v, want %s", i, brought.Digest)
	}
	dropImages(t, g, "strange")
	if pulled, err := s.Pull(t.Context(), address); err != nil || pulled.Digest != brought.Digest {
		t.Errorf("pulled %+v, %v; want %s", pulled, err, brought.Digest)
	}
}

func imageRecipe(name app.Name, address string) images.Recipe {
	return images.Recipe{Name: name, Version: "1.0.0", Source: app.Source{Type: app.SourceImage, URL: address}}
}

// An image of ours that comes by a registry boots as a release, without its
// source; so does one in an archive.
func TestImageSource(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	built := ensure(t, s, recipe("pulse", source(t, "pulse", nil)))
	repo := registryHost(t) + "/team/pulse"
	pushImage(t, g, built, repo+":1.0.0")
	tarball := filepath.Join(t.TempDir(), "pulse.tar")
	save(t, g, built, tarball)
	if err := s.Remove(t.Context(), "pulse"); err != nil {
		t.Fatal(err)
	}
	dropImages(t, g, "pulse")
	jobs := g.jobs

	pulled := ensure(t, s, imageRecipe("pulse", repo+"@"+built.Digest))
	if pulled.Digest != built.Digest || pulled.Revision != built.Digest || g.jobs != jobs || pulled.Cached {
		t.Errorf("pulled %+v after %d jobs", pulled, g.jobs-jobs)
	}
	if diff := cmp.Diff(built.Release, pulled.Release); diff != "" {
		t.Errorf("release (-built +pulled):\n%s", diff)
	}
	if got := erlang(t, g, pulled, `io:format("~p", [[A || {A, _, _} <- application:which_applications()]])`); !strings.Contains(got, "[pulse,stdlib,kernel]") {
		t.Errorf("the guest says %q", got)
	}
	again, took := found(t, s, imageRecipe("pulse", repo+"@"+built.Digest))
	if again.Ref != pulled.Ref || took > 100*time.Millisecond {
		t.Errorf("the second time took %v: %+v", took, again)
	}
	if byTag := ensure(t, s, imageRecipe("pulse", repo+":1.0.0")); byTag.Digest != built.Digest {
		t.Errorf("by tag: %+v", byTag)
	}
	if fromFile := ensure(t, s, imageRecipe("pulse", "file://"+tarball)); fromFile.Digest != built.Digest {
		t.Errorf("from an archive: %+v", fromFile)
	}
	checkRefusedImages(t, s, repo, built.Digest, tarball)
	names, err := g.stack.Client().ImageService().List(g.stack.Namespaced(t.Context()), "name~="+repo)
	if err != nil || len(names) != 0 {
		t.Errorf("images by the registry's name are left: %v, %v", names, err)
	}
}

func checkRefusedImages(t *testing.T, s *images.Store, repo, digest, tarball string) {
	flipped := digest[:len(digest)-1] + map[bool]string{true: "1", false: "0"}[strings.HasSuffix(digest, "0")]
	cut := filepath.Join(t.TempDir(), "cut.tar")
	data, err := os.ReadFile(tarball)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cut, data[:len(data)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ address, want string }{
		"other digest":   {repo + "@" + flipped, "not found"},
		"other tag":      {repo + ":none", "not found"},
		"nobody answers": {"127.0.0.1:1/x@" + flipped, "refused"},
		"cut archive":    {"file://" + cut, "archive"},
		"no archive":     {"file:///nowhere.tar", "no such file"},
	} {
		_, err := s.Ensure(t.Context(), imageRecipe("other", tt.address))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", name, err, tt.want)
		}
	}
	code := imageRecipe("pulse", repo+"@"+digest)
	code.Code, code.OTP = true, s.OTP()
	if _, err := s.Ensure(t.Context(), code); !errors.Is(err, images.ErrImage) {
		t.Errorf("an image as code: %v, want ErrImage", err)
	}
}

// save writes an image as an OCI archive.
func save(t *testing.T, g *guests, i images.Image, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx := g.stack.Namespaced(t.Context())
	if err := g.stack.Client().Export(ctx, f, archive.WithImage(g.stack.Client().ImageService(), i.Ref)); err != nil {
		t.Fatal(err)
	}
}
