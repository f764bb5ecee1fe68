//go:build integration

package images_test

import (
	"strings"
	"testing"

	"beamsandbox/images"
)

// maxBuilder bounds a builder image, bytes.
const maxBuilder = 250e6

// checkBuilders: whatever the machine has that builds may need, the images
// that they run in stay slim.
func checkBuilders(t *testing.T, s *images.Store, want int) {
	t.Helper()
	all, err := s.Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.Kind != images.KindBuilder {
			continue
		}
		want--
		t.Logf("%s: %.0f MB", l.Ref, float64(l.Bytes)/1e6)
		if l.Bytes > maxBuilder || l.Bytes < 50e6 {
			t.Errorf("builder %s has %d bytes, at most %d are fit for one", l.Ref, l.Bytes, int64(maxBuilder))
		}
	}
	if want != 0 {
		t.Errorf("%d builders are missing", want)
	}
}

// NIFs are compiled by the machine's own compilers, inside the builder.
func TestNIF(t *testing.T) {
	g, cfg := rooms(t)
	s := open(t, cfg)
	for language, files := range map[string][2]string{
		"C": {"adder.c", `#include <math.h>
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
`},
		"C++": {"adder.cpp", `#include <erl_nif.h>
#include <stdexcept>
#include <string>
#include <vector>
static ERL_NIF_TERM add(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
  std::vector<int> all(2);
  try {
    for (int i = 0; i < argc; i++)
      if (!enif_get_int(env, argv[i], &all.at(i))) throw std::invalid_argument("no integer");
  } catch (const std::exception &) {
    return enif_make_badarg(env);
  }
  return enif_make_int(env, std::stoi(std::to_string(all[0] + all[1])));
}
static ErlNifFunc functions[] = {{"add", 2, add}};
extern "C" { ERL_NIF_INIT(adder, functions, NULL, NULL, NULL, NULL) }
`},
	} {
		t.Run(language, func(t *testing.T) {
			i := ensure(t, s, recipe("adder", source(t, "", map[string]string{
				"rebar.config": `{pre_hooks, [{compile, "make -C c_src"}]}.`,
				"c_src/Makefile": `INCLUDE := $(shell erl -noshell -eval 'io:format("~s/usr/include", [code:root_dir()]), halt().')
COMPILE := $(if $(filter %.cpp,` + files[0] + `),$(CXX),$(CC))
../priv/adder.so: ` + files[0] + `
	mkdir -p ../priv
	$(COMPILE) -O2 -Wall -shared -fPIC -I$(INCLUDE) -o $@ $< -lm
`,
				"c_src/" + files[0]: files[1],
				"src/adder.app.src": `{application, adder, [{description, "x"}, {vsn, "1.0.0"}, {applications, [kernel, stdlib]}]}.`,
				"src/adder.erl": `-module(adder).
-export([add/2]).
-on_load(load/0).
load() -> erlang:load_nif(filename:join(code:priv_dir(adder), "adder"), 0).
add(_, _) -> erlang:nif_error(not_loaded).
`,
			})))
			if got := erlang(t, g, i, `io:format("~p ~p", [adder:add(40, 2), catch adder:add(x, 2)])`); !strings.Contains(got, "42 {'EXIT',{badarg") {
				t.Errorf("the guest says %q", got)
			}
		})
	}
	checkBuilders(t, s, 1)
}
