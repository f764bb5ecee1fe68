//go:build integration

package images_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	core "github.com/containerd/containerd/v2/core/images"

	"beamsandbox/images"
)

// ownBuilder is the builder image that the store made.
func ownBuilder(t *testing.T, s *images.Store) images.Listed {
	t.Helper()
	all, err := s.Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := slices.IndexFunc(all, func(l images.Listed) bool { return l.Kind == images.KindBuilder })
	if n < 0 {
		t.Fatalf("no builder among %+v", all)
	}
	return all[n]
}

// exported writes an image of the store into an archive.
func exported(t *testing.T, s *images.Store, ref string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Export(t.Context(), ref, f), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// forgotten takes an image, with its parts, out of the store.
func forgotten(t *testing.T, g *guests, ref string) {
	t.Helper()
	if err := g.stack.Client().ImageService().Delete(g.stack.Namespaced(t.Context()), ref, core.SynchronousDelete()); err != nil {
		t.Fatal(err)
	}
}

// TestBuilderImage: a configured image is where builds run, for rebar3 and
// mix, from a registry or an archive, and what they gave is theirs alone.
func TestBuilderImage(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	hello, pulse := recipe("hello", source(t, "", elixirApp("hello", "", ""))), recipe("pulse", source(t, "pulse", nil))
	ensure(t, s, hello)
	own := ownBuilder(t, s) // with Elixir
	host := registryHost(t)
	if err := s.Push(t.Context(), own.Ref, host+"/team/builder:1"); err != nil {
		t.Fatal(err)
	}
	archive := exported(t, s, own.Ref)
	made := ensure(t, s, pulse)

	for name, address := range map[string]string{"registry": host + "/team/builder@" + own.Digest, "archive": "file://" + archive} {
		t.Run(name, func(t *testing.T) {
			forgotten(t, g, ownBuilder(t, s).Ref)
			c := cfg
			c.Builder, c.Root, c.Rebar3 = address, filepath.Join(t.TempDir(), "images"), ""
			s := open(t, c)
			jobs := g.jobs
			i := ensure(t, s, pulse)
			builder := ownBuilder(t, s)
			if i.Cached || g.jobs != jobs+2 || g.image != builder.Ref || builder.Source != "image "+address {
				t.Errorf("built in %s after %d jobs (cached %v); want a trial and a build in %+v", g.image, g.jobs-jobs, i.Cached, builder)
			}
			if i.Digest != made.Digest || i.Ref == made.Ref {
				t.Errorf("built %s as %s; want the same bytes as %s, another build", i.Ref, i.Digest, made.Ref)
			}
			if again := ensure(t, s, pulse); !again.Cached || g.jobs != jobs+2 {
				t.Errorf("the same once more ran %d jobs", g.jobs-jobs)
			}
			if got := erlang(t, g, ensure(t, s, hello), `io:format("~p", ['Elixir.Hello':say()])`); !strings.Contains(got, "hello") || g.image != builder.Ref {
				t.Errorf("the mix project says %q, built in %s", got, g.image)
			}
		})
	}
}

// TestBuilderImageRefused: an image that does not do says what it lacks.
func TestBuilderImageRefused(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	all := map[string]string{"git-remote-http": ""}
	for _, name := range images.BuilderNeeds() {
		all[name] = "exit 0"
	}
	delete(all, "sh")
	all["git"] = "echo /usr/bin"
	all["erl"] = "echo holds 99 1.2.3"
	other := merged(all)
	most := merged(all)
	delete(most, "rebar3")
	delete(most, "git-remote-http")
	broken := merged(all, map[string]string{"erl": "echo no such boot file; exit 1"})
	noMix := merged(all, map[string]string{"erl": "echo holds " + s.OTP() + " " + ertsHere(t)})
	for name, tt := range map[string]struct {
		sh      bool
		scripts map[string]string
		want    string
	}{
		"nothing in it":   {false, nil, "it must run /usr/bin/sh"},
		"a shell alone":   {true, nil, "it lacks erl, erlc, escript, rebar3, awk, basename, cat,"},
		"two missing":     {true, most, "it lacks rebar3, git-remote-http in /usr/bin"},
		"another Erlang":  {true, other, "it holds OTP and ERTS 99 1.2.3, this machine's Erlang, which guests run on, is " + s.OTP()},
		"a broken Erlang": {true, broken, "erl ended with status 1: no such boot file"},
		"no mix":          {true, noMix, "has no elixir and mix in /usr/bin"},
	} {
		t.Run(name, func(t *testing.T) {
			ref, err := s.WriteImage(g.stack.Namespaced(t.Context()), tt.sh, tt.scripts)
			if err != nil {
				t.Fatal(err)
			}
			c := cfg
			c.Builder, c.Root = "file://"+exported(t, s, ref), filepath.Join(t.TempDir(), "images")
			forgotten(t, g, ref)
			files := elixirApp("hello", "", "")
			if name != "no mix" {
				files = appFiles("", "hello", "")
			}
			r := recipe("hello", source(t, "", files))
			refused(t, open(t, c), r, tt.want)
			if _, err := open(t, c).Ensure(t.Context(), r); !errors.Is(err, images.ErrBuilder) {
				t.Errorf("the second time: %v, want ErrBuilder", err)
			}
			nothingLeft(t, c)
		})
	}
	host := registryHost(t)
	for address, want := range map[string]string{
		host + "/builder:1": "it is neither registry/name@sha256:… nor an archive's file:///…",
		host + "/builder@sha256:" + strings.Repeat("0", 64): "not found",
		"file:///nowhere.tar":                               "no such file",
	} {
		c := cfg
		c.Builder, c.Root = address, filepath.Join(t.TempDir(), "images")
		s, err := images.New(c)
		if err == nil {
			_, err = s.Ensure(t.Context(), recipe("hello", source(t, "", appFiles("", "hello", ""))))
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", address, err, want)
		}
	}
}

// ertsHere is the version of the machine's emulator.
func ertsHere(t *testing.T) string {
	t.Helper()
	root, err := images.FindErlang()
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob(filepath.Join(root, "erts-*"))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return strings.TrimPrefix(filepath.Base(all[0]), "erts-")
}
