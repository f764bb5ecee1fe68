//go:build integration

package images_test

import (
	"strings"
	"testing"
)

// appFiles is a small Erlang application in folder dir whose module says its
// name.
func appFiles(dir, name, needs string) map[string]string {
	return map[string]string{
		dir + "src/" + name + ".app.src": `{application, ` + name + `, [{description, "x"}, {vsn, "1.0.0"}, {applications, [kernel, stdlib` + needs + `]}]}.` + "\n",
		dir + "src/" + name + ".erl":     "-module(" + name + ").\n-export([say/0]).\nsay() -> " + name + ".\n",
	}
}

func merged(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, files := range all {
		for name, text := range files {
			out[name] = text
		}
	}
	return out
}

// An umbrella for rebar3 builds with what its applications declare, and its
// release holds them all, whether or not it has a configuration of its own.
func TestErlangUmbrella(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	dep := source(t, "", merged(appFiles("", "dep", ""), map[string]string{"rebar.config": ""}))
	roof := merged(appFiles("apps/left/", "left", ", dep"), appFiles("apps/right/", "right", ""), map[string]string{
		"apps/left/rebar.config": `{deps, [{dep, {git, "` + dep + `", {branch, "main"}}}]}.` + "\n",
	})
	for name, more := range map[string]map[string]string{
		"with a configuration":    {"rebar.config": "{erl_opts, [debug_info]}.\n"},
		"without one":             nil,
		"with a release":          {"rebar.config": `{relx, [{release, {left, "1.0.0"}, [left, right]}]}.` + "\n"},
		"in folders of its names": {"rebar.config": `{project_app_dirs, ["apps/*", "more/*"]}.` + "\n", "more/third/src/third.app.src": `{application, third, [{vsn, "1"}, {applications, [kernel]}]}.`},
	} {
		t.Run(name, func(t *testing.T) {
			i := ensure(t, s, recipe("left", source(t, "", merged(roof, more))))
			got := erlang(t, g, i, `io:format("~p ~p", [[left:say(), right:say(), dep:say()], [A || {A, _, _} <- application:which_applications(), lists:member(A, [left, right, dep])]])`)
			if !strings.Contains(got, "[left,right,dep] [right,left,dep]") {
				t.Errorf("the guest says %q", got)
			}
			if _, third := more["more/third/src/third.app.src"]; third != strings.Contains(strings.Join(i.Release.Apps, " "), "third-1") {
				t.Errorf("the release holds %v", i.Release.Apps)
			}
		})
	}
}
