//go:build integration

package images_test

import (
	"strings"
	"testing"
)

// A NIF in C is compiled by the machine's own compiler, inside the builder.
func TestNIF(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	i := ensure(t, s, recipe("adder", source(t, "", map[string]string{
		"rebar.config": `{pre_hooks, [{compile, "make -C c_src"}]}.`,
		"c_src/Makefile": `INCLUDE := $(shell erl -noshell -eval 'io:format("~s/usr/include", [code:root_dir()]), halt().')
../priv/adder.so: adder.c
	mkdir -p ../priv
	$(CC) -O2 -Wall -shared -fPIC -I$(INCLUDE) -o $@ $< -lm
`,
		"c_src/adder.c": `#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <erl_nif.h>
static ERL_NIF_TERM add(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
  int a, b;
  if (!enif_get_int(env, argv[0], &a) || !enif_get_int(env, argv[1], &b)) return enif_make_badarg(env);
  return enif_make_int(env, (int)floor(a + b + 0.5));
}
static ErlNifFunc functions[] = {{"add", 2, add}};
ERL_NIF_INIT(adder, functions, NULL, NULL, NULL, NULL)
`,
		"src/adder.app.src": `{application, adder, [{description, "x"}, {vsn, "1.0.0"}, {applications, [kernel, stdlib]}]}.`,
		"src/adder.erl": `-module(adder).
-export([add/2]).
-on_load(load/0).
load() -> erlang:load_nif(filename:join(code:priv_dir(adder), "adder"), 0).
add(_, _) -> erlang:nif_error(not_loaded).
`,
	})))
	if got := erlang(t, g, i, `io:format("~p", [adder:add(40, 2)])`); !strings.Contains(got, "42") {
		t.Errorf("the guest says %q", got)
	}
}
