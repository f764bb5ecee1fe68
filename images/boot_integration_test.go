//go:build integration

package images_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/images"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime"
)

// bootable is what the runtime room is told of an image's release.
func bootable(r images.Release) runtime.Release {
	b := runtime.Release{Name: r.Name, Version: r.Version, ERTS: r.ERTS, Root: r.Root}
	if r.Entry != nil {
		b.Entry = &runtime.Entry{Args: r.Entry.Args, Env: r.Entry.Env, Dir: r.Entry.Dir}
	}
	return b
}

// start runs an image as a guest without a network, until the test ends.
func (g *guests) start(t *testing.T, i images.Image, change func(*runtime.Config)) {
	t.Helper()
	rules := policy.Rules{}
	grant, err := rules.Grant(app.Spec{Name: i.Name, Isolation: app.VM})
	if err != nil {
		t.Fatal(err)
	}
	c := runtime.Config{
		Name: i.Name, Digest: "d", Image: i.Ref, Release: bootable(i.Release), Hostname: "vm",
		VM: app.VMConfig{MemoryLimit: 256}, Env: map[string]term.Term{}, Cookie: app.NewSecret("c"), Privileges: grant.Privileges,
	}
	if change != nil {
		change(&c)
	}
	if _, err := g.tasks.Ensure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.tasks.Remove(context.Background(), i.Name); err != nil {
			t.Error(err)
		}
	})
}

// says waits until the guest has written a line that holds want.
func (g *guests) says(t *testing.T, name app.Name, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w := &awaited{want: want, found: cancel}
	if err := g.tasks.Logs(ctx, name, true, w); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.text.String(), want) {
		t.Fatalf("%s never said %q:\n%s", name, want, w.text.String())
	}
}

type awaited struct {
	text  strings.Builder
	want  string
	found func()
}

func (a *awaited) Write(p []byte) (int, error) {
	a.text.Write(p)
	if strings.Contains(a.text.String(), a.want) {
		a.found()
	}
	return len(p), nil
}

// mixRelease makes a release of a small Elixir application with mix, as its
// author would, and returns its folder.
func mixRelease(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mix.exs": `defmodule Greet.MixProject do
  use Mix.Project
  def project, do: [app: :greet, version: "0.1.0", releases: [greet: [` + options + `]]]
  def application, do: [mod: {Greet, []}, extra_applications: [:logger]]
end
`,
		"config/config.exs":  "import Config\nconfig :greet, word: \"build\", kept: :yes\n",
		"config/runtime.exs": "import Config\nconfig :greet, word: System.fetch_env!(\"WORD\"), release: System.get_env(\"RELEASE_NAME\"), env: config_env()\n",
		"rel/vm.args.eex":    "+P 54321\n",
		"lib/greet.ex": `defmodule Greet do
  use Application
  def start(_type, _args) do
    env = Application.get_all_env(:greet) |> Enum.sort()
    IO.puts("greet #{inspect(env)} processes #{:erlang.system_info(:process_limit)} näh")
    Supervisor.start_link([], strategy: :one_for_one)
  end
end
`,
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("mix", "release")
	c.Dir = dir
	c.Env = append(os.Environ(), "MIX_ENV=prod", "HOME="+t.TempDir(), "LANG=C.UTF-8")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("mix release: %v\n%s", err, out)
	}
	return filepath.Join(dir, "_build/prod/rel/greet")
}

// Templates of relx's configuration are filled in without its scripts, from the
// guest's environment; what the app's env sets wins.
func TestRelxTemplates(t *testing.T) {
	g, cfg := rooms(t)
	i := ensure(t, open(t, cfg), recipe("greet", source(t, "", map[string]string{
		"rebar.config":          `{relx, [{release, {greet, "0.1.0"}, [greet]}, {mode, prod}, {sys_config_src, "config/sys.config.src"}, {vm_args_src, "config/vm.args.src"}]}.` + "\n",
		"config/sys.config.src": `[{greet, [{kept, ${KEPT:-build}}, {size, ${SIZE:-7}}, {word, "${WORD}"}]}].` + "\n",
		"config/vm.args.src":    "-sname ${WORD}\n+P ${PROCESSES:-1000}\n+A ${THREADS:-3}\n",
		"src/greet.app.src":     `{application, greet, [{description, "x"}, {vsn, "0.1.0"}, {mod, {greet, []}}, {applications, [kernel, stdlib]}]}.` + "\n",
		"src/greet.erl": `-module(greet).
-behaviour(application).
-export([start/2, stop/1, init/1]).
start(_, _) ->
    Env = lists:sort(application:get_all_env(greet)),
    io:format("greet ~p processes ~p threads ~p~n", [Env, erlang:system_info(process_limit), erlang:system_info(thread_pool_size)]),
    supervisor:start_link(greet, []).
stop(_) -> ok.
init([]) -> {ok, {{one_for_one, 1, 1}, []}}.
`,
	})))
	for _, loading := range []app.CodeLoading{app.LoadInteractive, app.LoadEmbedded} {
		word := "run-" + string(loading)
		g.start(t, i, func(c *runtime.Config) {
			c.Digest, c.VM.CodeLoading = word, loading
			c.Env["WORD"], c.Env["PROCESSES"], c.Env["kept"] = term.Binary(word), term.Int(100000), term.Atom("no")
		})
		g.says(t, "greet", `greet [{kept,no},{size,7},{word,"`+word+`"}] processes 131072 threads 3`)
	}
}

// A release that mix made starts without its scripts: vm.args, runtime.exs
// and config providers, also those that write a new sys.config and restart.
func TestMixRelease(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	for name, options := range map[string]string{"in memory": "", "restarting": "reboot_system_after_config: true", "without its emulator": "include_erts: false"} {
		t.Run(name, func(t *testing.T) {
			i := ensure(t, s, serveFile(t, "greet", "0.1.0", packed(t, mixRelease(t, options), "")))
			for _, loading := range []app.CodeLoading{app.LoadInteractive, app.LoadEmbedded} {
				began := time.Now()
				word := fmt.Sprintf("run-%s", loading)
				g.start(t, i, func(c *runtime.Config) {
					c.Digest = word
					c.VM.CodeLoading = loading
					c.Env["WORD"] = term.Binary(word)
					c.Env["kept"] = term.Atom("no")
				})
				g.says(t, "greet", `greet [env: :prod, kept: :no, release: "greet", word: "`+word+`"] processes 65536 näh`)
				memory, err := g.tasks.Memory(t.Context(), "greet")
				t.Logf("%s: said so after %v, %d MB, %v", loading, time.Since(began), memory>>20, err)
			}
		})
	}
}
