//go:build integration

package images_test

import (
	"crypto/sha256"
	stdhex "encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"beamsandbox/images"
	"beamsandbox/images/hex"
	"beamsandbox/images/hex/hextest"
	"beamsandbox/reconcile/app"
)

// hexpm serves the real packages of hex.pm that Debian's archive holds, signed
// with a key of its own.
func hexpm(t *testing.T) *hextest.Registry {
	t.Helper()
	r := emptyHex(t, "hexpm")
	all, err := filepath.Glob("../build/debian/hexpm/*.tar")
	if err != nil || len(all) == 0 {
		t.Fatalf("build/debian/hexpm holds no packages (%v): run make setup", err)
	}
	for _, file := range all {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.PublishTarball(raw); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// checksum is that of a package of Debian's archive.
func checksum(file string) string {
	raw, err := os.ReadFile("../build/debian/hexpm/" + file + ".tar")
	if err != nil {
		panic(err) // hexpm says what to do
	}
	sum := sha256.Sum256(raw)
	return stdhex.EncodeToString(sum[:])
}

func emptyHex(t *testing.T, name string) *hextest.Registry {
	t.Helper()
	r, err := hextest.New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// configured is the registry as an operator writes it down.
func configured(t *testing.T, r *hextest.Registry) images.HexRepository {
	t.Helper()
	return images.HexRepository{Name: r.Name, URL: r.URL, PublicKey: r.Repository().PublicKey}
}

func fromHex(name app.Name, version string) images.Recipe {
	return images.Recipe{Name: name, Version: version, Source: app.Source{Type: app.SourceHex, Ref: version}}
}

// Packages that nobody here wrote build and run from their name alone.
func TestHexPackages(t *testing.T) {
	g, cfg := rooms(t)
	registry := hexpm(t)
	cfg.Hex = []images.HexRepository{configured(t, registry)}
	s := open(t, cfg)
	for _, tt := range []struct {
		name             app.Name
		version, ask, is string
	}{
		{"recon", "2.5.2", `io:format("~p", [length(recon:proc_count(memory, 3))])`, "3"},
		{"observer_cli", "1.7.3", `io:format("~p", [[A || {A, _, _} <- application:which_applications()]])`, "[observer_cli,recon,"},
		{"khepri", "0.16.0", `{ok, _} = application:ensure_all_started(khepri), io:format("~p", [khepri_path:from_string("/a/b")])`, `[<<"a">>,<<"b">>]`},
	} {
		t.Run(string(tt.name), func(t *testing.T) {
			i := ensure(t, s, fromHex(tt.name, tt.version))
			if got := erlang(t, g, i, tt.ask); !strings.Contains(got, tt.is) {
				t.Errorf("the guest says %q, want %q", got, tt.is)
			}
		})
	}
	t.Run("again", func(t *testing.T) {
		asked, jobs := len(registry.Requests()), g.jobs
		registry.Close()
		i := ensure(t, s, fromHex("khepri", "0.16.0"))
		if !i.Cached || g.jobs != jobs || len(registry.Requests()) != asked {
			t.Errorf("an unchanged app asked %v and ran %d jobs", registry.Requests()[asked:], g.jobs-jobs)
		}
	})
}

// A dependency on Hex in a project from git.
func TestHexDependency(t *testing.T) {
	g, cfg := rooms(t)
	registry, private := hexpm(t), emptyHex(t, "acme")
	private.RequireToken("top-secret")
	publish(t, private, hextest.Package{Name: "hidden", Version: "0.1.0", Files: fstest.MapFS{
		"src/hidden.app.src": {Data: []byte(`{application, hidden, [{description, "h"}, {vsn, "0.1.0"}, {applications, [kernel, stdlib]}]}.`)},
		"src/hidden.erl":     {Data: []byte("-module(hidden).\n-export([say/0]).\nsay() -> found.\n")},
	}})
	acme := configured(t, private)
	acme.AuthToken = app.NewSecret("top-secret")
	cfg.Hex = []images.HexRepository{acme, configured(t, registry)}
	s := open(t, cfg)
	address := source(t, "", map[string]string{
		"rebar.config":    `{deps, [hidden, {recon, "~> 2.5.1"}]}.`,
		"src/top.app.src": `{application, top, [{description, "t"}, {vsn, "1.0.0"}, {applications, [kernel, stdlib, recon, hidden]}]}.`,
	})
	i := ensure(t, s, recipe("top", address))
	got := erlang(t, g, i, `application:load(recon), io:format("~p ~s", [hidden:say(), element(2, application:get_key(recon, vsn))])`)
	if !strings.Contains(got, "found 2.5.6") {
		t.Errorf("the guest says %q, want the newest recon of 2.5", got)
	}
	checkTook(t, g, s, i, registry, "top-secret")
	t.Run("the same again when there is a newer one", func(t *testing.T) { sameVersions(t, cfg, registry, address) })
	log, err := os.ReadFile(filepath.Join(cfg.Root, "logs", "top", "build.log"))
	if err != nil || strings.Contains(string(log), "top-secret") {
		t.Errorf("the build log is %q, %v", log, err)
	}
}

func sameVersions(t *testing.T, cfg images.Config, registry *hextest.Registry, address string) {
	publish(t, registry, hextest.Package{Name: "recon", Version: "2.5.9", Files: fstest.MapFS{
		"src/recon.app.src": {Data: []byte(`{application, recon, [{description, "h"}, {vsn, "2.5.9"}, {applications, [kernel, stdlib]}]}.`)},
	}})
	if err := os.RemoveAll(filepath.Join(cfg.Root, "releases")); err != nil {
		t.Fatal(err)
	}
	s := open(t, cfg)
	r := recipe("top", address)
	r.Code = true
	i := ensure(t, s, r)
	if got := strings.Join(i.Release.Apps, " "); !strings.Contains(got, "recon-2.5.6") || i.Cached {
		t.Errorf("built again (cached %v): %s, want recon-2.5.6 once more", i.Cached, got)
	}
}

func publish(t *testing.T, r *hextest.Registry, p hextest.Package) {
	t.Helper()
	if _, err := r.Publish(p); err != nil {
		t.Fatal(err)
	}
}

// Every way in which a registry can be wrong has its own words, whether the
// app itself or one of its dependencies comes from there.
func TestHexFaults(t *testing.T) {
	_, cfg := rooms(t)
	for name, tt := range map[string]struct {
		spoil   func(*testing.T, *hextest.Registry, *images.HexRepository)
		version string
		want    string
	}{
		"wrong key":        {func(t *testing.T, r *hextest.Registry, _ *images.HexRepository) { r.Break(hextest.WrongKey) }, "2.5.2", hex.ErrSignature.Error()},
		"wrong repository": {func(t *testing.T, r *hextest.Registry, _ *images.HexRepository) { r.Break(hextest.WrongRepository) }, "2.5.2", hex.ErrRepository.Error()},
		"wrong package":    {func(t *testing.T, r *hextest.Registry, _ *images.HexRepository) { r.Break(hextest.WrongName) }, "2.5.2", hex.ErrPackage.Error()},
		"flipped byte":     {func(t *testing.T, r *hextest.Registry, _ *images.HexRepository) { r.Break(hextest.FlipTarball) }, "2.5.2", hex.ErrChecksum.Error()},
		"missing version":  {func(*testing.T, *hextest.Registry, *images.HexRepository) {}, "9.9.9", "the newest is 2.5.6"},
		"unreachable":      {func(t *testing.T, r *hextest.Registry, _ *images.HexRepository) { r.Close() }, "2.5.2", hex.ErrUnreachable.Error()},
		"denied":           {func(t *testing.T, r *hextest.Registry, _ *images.HexRepository) { r.RequireToken("x") }, "2.5.2", hex.ErrDenied.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			registry := hexpm(t)
			c, at := cfg, configured(t, registry)
			tt.spoil(t, registry, &at)
			c.Hex, c.Root = []images.HexRepository{at}, filepath.Join(t.TempDir(), "images")
			s := open(t, c)
			refused(t, s, fromHex("recon", tt.version), tt.want)
			if name == "missing version" {
				return // rebar3 itself says so: it resolves
			}
			address := source(t, "", map[string]string{
				"rebar.config":    `{deps, [{recon, "2.5.2"}]}.`,
				"src/dep.app.src": `{application, dep, [{description, "t"}, {vsn, "1.0.0"}, {applications, [kernel, stdlib, recon]}]}.`,
			})
			refused(t, s, recipe("dep", address), tt.want)
		})
	}
}

// refused: the error is one line and names what is wrong.
func refused(t *testing.T, s *images.Store, r images.Recipe, want string) {
	t.Helper()
	i, err := s.Ensure(t.Context(), r)
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Ensure = %+v, %v; want one line with %q", i, err, want)
	}
	t.Log(err)
}

func TestRetiredPackage(t *testing.T) {
	_, cfg := rooms(t)
	registry := hexpm(t)
	if err := registry.Retire("recon", "2.5.2", hex.Retirement{Reason: hex.RetiredSecurity, Message: "take 2.5.6"}); err != nil {
		t.Fatal(err)
	}
	cfg.Hex = []images.HexRepository{configured(t, registry)}
	s := open(t, cfg)
	log := func() string { return buildLog(t, cfg, "recon") }
	ensure(t, s, fromHex("recon", "2.5.2"))
	if !strings.Contains(log(), `is retired: security: "take 2.5.6"`) {
		t.Errorf("the build log does not tell: %s", log())
	}
	note := `recon 2.5.2 is retired: security: "take 2.5.6"`
	code := fromHex("recon", "2.5.2")
	code.Code = true
	address := source(t, "", map[string]string{
		"rebar.config":    `{deps, [{recon, "2.5.2"}]}.`,
		"src/dep.app.src": `{application, dep, [{description, "t"}, {vsn, "1.0.0"}, {applications, [kernel, stdlib, recon]}]}.`,
	})
	for _, r := range []images.Recipe{fromHex("recon", "2.5.2"), code, recipe("dep", address)} {
		for range 2 { // the second time from what is kept
			if i := ensure(t, s, r); !slices.Equal(i.Notes, []string{note}) {
				t.Errorf("%s (code %v, cached %v) has notes %q, want %q", r.Name, r.Code, i.Cached, i.Notes, note)
			}
		}
	}
	for _, name := range []string{"recon", "dep"} {
		d, err := s.Inspect(t.Context(), name)
		if err != nil || len(d.Resolved) != 1 || d.Resolved[0].Checksum != checksum("recon-2.5.2") || d.Resolved[0].Retired != `security: "take 2.5.6"` || d.Resolved[0].Repository != "hexpm" {
			t.Errorf("inspect %s: %+v, %v", name, d.Resolved, err)
		}
	}
}
