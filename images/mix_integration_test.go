//go:build integration

package images_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"beamsandbox/images"
	"beamsandbox/images/hex/hextest"
	"beamsandbox/reconcile/app"
)

// elixirApp is a mix project with one module; more is put into its project/0.
func elixirApp(name, deps, more string) map[string]string {
	module := strings.ToUpper(name[:1]) + name[1:]
	return map[string]string{
		"mix.exs": `defmodule ` + module + `.MixProject do
  use Mix.Project
  def project, do: [app: :` + name + `, version: "1.0.0", elixir: "~> 1.14", deps: [` + deps + `]` + more + `]
  def application, do: [extra_applications: [:logger]]
end
`,
		"lib/" + name + ".ex": "defmodule " + module + " do\n  def say, do: :" + name + "\nend\n",
	}
}

// mapFS holds the files of a package.
func mapFS(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

// An Elixir project builds with mix, with and without releases of its own,
// and takes packages for either tool out of a Hex repository.
func TestMix(t *testing.T) {
	g, cfg := rooms(t)
	registry := hexpm(t)
	publish(t, registry, hextest.Package{Name: "greet", Version: "1.0.0", BuildTools: []string{"mix"}, Files: mapFS(elixirApp("greet", "", ""))})
	private := emptyHex(t, "acme")
	private.RequireToken("top-secret")
	publish(t, private, hextest.Package{Name: "hidden", Version: "1.0.0", Files: mapFS(appFiles("", "hidden", ""))})
	acme := configured(t, private)
	acme.AuthToken = app.NewSecret("top-secret")
	cfg.Hex = []images.HexRepository{configured(t, registry), acme}
	s := open(t, cfg)

	t.Run("dependencies for mix and rebar3", func(t *testing.T) {
		address := source(t, "", elixirApp("hello", `{:greet, "~> 1.0"}, {:recon, "2.5.2"}`, ""))
		i := ensure(t, s, recipe("hello", address))
		got := erlang(t, g, i, `io:format("~p ~p ~p", ['Elixir.Hello':say(), 'Elixir.Greet':say(), length(recon:proc_count(memory, 2))])`)
		if !strings.Contains(got, "hello greet 2") {
			t.Errorf("the guest says %q", got)
		}
		if log := buildLog(t, cfg, "hello"); !strings.Contains(log, "gave greet 1.0.0 from hexpm") {
			t.Errorf("the build log does not say what was given: %s", log)
		}
	})
	t.Run("a private repository", func(t *testing.T) {
		i := ensure(t, s, recipe("guest", source(t, "", elixirApp("guest", `{:hidden, "~> 1.0", repo: "acme"}`, ""))))
		if got := erlang(t, g, i, `io:format("~p", [hidden:say()])`); !strings.Contains(got, "hidden") {
			t.Errorf("the guest says %q", got)
		}
		if log := buildLog(t, cfg, "guest"); !strings.Contains(log, "gave hidden 1.0.0 from acme") || strings.Contains(log, "top-secret") {
			t.Errorf("the build log is %s", log)
		}
		refused(t, s, recipe("bad", source(t, "", elixirApp("bad", `{:hidden, "~> 1.0"}`, ""))), "there is no package hidden of hex repository hexpm")
	})
	t.Run("with releases", func(t *testing.T) {
		address := source(t, "", elixirApp("many", "", `, releases: [other: [], many: [applications: [runtime_tools: :permanent]]]`))
		i := ensure(t, s, recipe("many", address))
		if got := strings.Join(i.Release.Apps, " "); i.Release.Name != "many" || !strings.Contains(got, "runtime_tools-") {
			t.Errorf("release %s with %s", i.Release.Name, got)
		}
	})
	t.Run("umbrella", func(t *testing.T) {
		files := map[string]string{"mix.exs": `defmodule Roof.MixProject do
  use Mix.Project
  def project, do: [apps_path: "apps", version: "0.1.0", start_permanent: true, deps: []]
end
`}
		for _, name := range []string{"left", "right"} {
			for file, text := range elixirApp(name, "", `, build_path: "../../_build", deps_path: "../../deps", lockfile: "../../mix.lock"`) {
				files["apps/"+name+"/"+file] = text
			}
		}
		i := ensure(t, s, recipe("left", source(t, "", files)))
		if got := erlang(t, g, i, `io:format("~p ~p", ['Elixir.Left':say(), 'Elixir.Right':say()])`); !strings.Contains(got, "left right") {
			t.Errorf("the guest says %q", got)
		}
	})
	t.Run("a package of hex", func(t *testing.T) {
		i := ensure(t, s, fromHex("greet", "1.0.0"))
		if got := erlang(t, g, i, `io:format("~p", ['Elixir.Greet':say()])`); !strings.Contains(got, "greet") {
			t.Errorf("the guest says %q", got)
		}
	})
	t.Run("an address that mix.exs computes", func(t *testing.T) {
		deps := `{:far, git: "https://" <> Enum.join(["far", "example", "org"], ".") <> "/far.git"}`
		refused(t, s, recipe("bad", source(t, "", elixirApp("bad", deps, ""))),
			"it asked for the git repository https://far.example.org/far.git: neither the project nor its lock file declares it as text")
	})
	checkBuilders(t, s, 1)
	t.Run("wrong key", func(t *testing.T) {
		registry.Break(hextest.WrongKey)
		refused(t, s, recipe("bad", source(t, "", elixirApp("bad", `{:quantile_estimator, "~> 0.2"}`, ""))), "the signature is not by")
	})
}

func buildLog(t *testing.T, cfg images.Config, name string) string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(cfg.Root, "logs", name, "build.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}
