package runtime

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// holding reads from an image that holds these files of pulse's release.
func holding(files map[string]string) func(string) ([]byte, bool) {
	return func(p string) ([]byte, bool) {
		text, ok := files[strings.TrimPrefix(p, "/app/releases/1.0.0/")]
		return []byte(text), ok
	}
}

func TestBootFiles(t *testing.T) {
	const runtimeConfig = "%% coding: utf-8\n%% RUNTIME_CONFIG=true\n[]."
	for name, tt := range map[string]struct {
		image map[string]string
		has   releaseFiles
		files map[string]string
	}{
		"nothing": {nil, releaseFiles{}, nil},
		"plain": {
			map[string]string{"sys.config": "[].", "vm.args": "+P 9"},
			releaseFiles{sysConfig: true, vmArgs: true}, nil,
		},
		"templates": {
			map[string]string{"sys.config.src": `[{a, [{n, '${RELEASE_NODE}'}, {k, "${KEY}"}, {p, ${PORT:-80}}, {d, $a}]}].`, "vm.args.src": "+P ${MAX_P:-1000}"},
			releaseFiles{sysConfig: true, vmArgs: true, filledConfig: true, filledArgs: true},
			map[string]string{"run/sys.config": `[{a, [{n, 'pulse@myhost'}, {k, "s3"}, {p, 80}, {d, $a}]}].`, "run/vm.args": "+P 1000"},
		},
		"config providers": {
			map[string]string{"sys.config": runtimeConfig, "vm.args": "", "elixir": "#!/bin/sh"},
			releaseFiles{sysConfig: true, vmArgs: true, provided: true, elixir: true},
			map[string]string{"config/sys.config": runtimeConfig},
		},
		"no config providers": {
			map[string]string{"sys.config": "%% coding: utf-8\n%% RUNTIME_CONFIG=false\n[]."}, releaseFiles{sysConfig: true}, nil,
		},
		"config providers in memory": {
			map[string]string{"sys.config": "[{pulse,[{http_port,1},{kept,2}]},{elixir,[{config_provider_init,#{}}]}]."},
			releaseFiles{sysConfig: true, filledConfig: true},
			map[string]string{"run/sys.config": "[{elixir,[{config_provider_init,#{}}]},{pulse,[{kept,2},{greeting,<<\"hi\">>},{http_port,8080}]}].\n"},
		},
		"config providers and what is not read": {
			map[string]string{"sys.config": "[{pulse,[{r,#Ref<0.1.2>}]},{elixir,[{config_provider_init,#{}}]}]."},
			releaseFiles{sysConfig: true}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := pulse()
			c.Env["KEY"] = term.Binary("s3")
			has, files, err := bootFiles(c, holding(tt.image))
			if err != nil || has != tt.has {
				t.Fatalf("has %+v, %v; want %+v", has, err, tt.has)
			}
			var got map[string]string
			for _, f := range files {
				if got == nil {
					got = map[string]string{}
				}
				got[f.path] = string(f.data)
				if !f.owned || f.writable != (f.path == "config/sys.config") {
					t.Errorf("%s: owned %v, writable %v", f.path, f.owned, f.writable)
				}
			}
			if diff := cmp.Diff(tt.files, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
	_, _, err := bootFiles(pulse(), holding(map[string]string{"sys.config.src": "${DB} ${X:-1}"}))
	if err == nil || !strings.Contains(err.Error(), "fill in sys.config.src: ${DB} is not set: put DB into env") {
		t.Errorf("a variable that nothing sets: %v", err)
	}
}

func TestCommandOfFiles(t *testing.T) {
	c := pulse()
	c.VM.CodeLoading = app.LoadEmbedded
	c.Env["SECRET"] = term.Binary("hush")
	has := releaseFiles{sysConfig: true, vmArgs: true, filledArgs: true, provided: true, elixir: true}
	line := strings.Join(command(c, 1, has), " ")
	for _, want := range []string{"-args_file /run/beamsandbox/vm.args", "-config /run/config/sys -config", "-mode embedded"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is missing in %s", want, line)
		}
	}
	if !strings.HasSuffix(line, "+P 131072 -s elixir start_cli -extra --no-halt") {
		t.Errorf("the line ends in %s", line)
	}
	env := environment(c, has)
	for _, want := range []string{"RELEASE_SYS_CONFIG=/run/config/sys", "RELEASE_MODE=embedded", "SECRET=hush", "RELEASE_VM_ARGS=/run/beamsandbox/vm.args"} {
		if !slices.Contains(env, want) {
			t.Errorf("%q is missing in %v", want, env)
		}
	}
	if text := string(envConfig(c.Name, c.Env)); strings.Contains(text, "SECRET") || !strings.Contains(text, "http_port") {
		t.Errorf("the app's parameters are %s", text)
	}
}

func TestEntryEnvironment(t *testing.T) {
	c := pulse()
	c.Release = Release{Entry: &Entry{Args: []string{"/usr/bin/erl", "-s", "x"}, Env: []string{"PATH=/opt", "HOME=/root", "RELEASE_COOKIE=c", "BEAMSANDBOX_NODE=other", "A=b"}, Dir: "/srv"}}
	c.Env["PORT"] = term.Int(80)
	c.VM.ExtraArgs = []string{"-eval", "io:put_chars(\"a b\")."}
	env := entryEnvironment(c, 2)
	for _, want := range []string{"PATH=/opt", "HOME=/home/app", "A=b", "PORT=80", "RELEASE_NODE=pulse@myhost",
		"BEAMSANDBOX_APP=pulse", "BEAMSANDBOX_NODE=pulse@myhost", "BEAMSANDBOX_EPMD=127.0.0.1:4369",
		"BEAMSANDBOX_LISTEN=10.231.0.1:9100", "BEAMSANDBOX_COOKIE_FILE=/home/app/.erlang.cookie"} {
		if !slices.Contains(env, want) {
			t.Errorf("%q is missing in %v", want, env)
		}
	}
	if joined := strings.Join(env, "\n"); strings.Contains(joined, "_COOKIE=") || strings.Contains(joined, "NODE=other") || strings.Contains(joined, "/root") {
		t.Errorf("the image's own cookie or home came through: %v", env)
	}
	if strings.Contains(strings.Join(env, "\n"), "BEAMSANDBOX_TLS") {
		t.Errorf("a plain guest is told of TLS: %v", env)
	}
	c.TLS = &TLS{}
	if env := entryEnvironment(c, 2); !slices.Contains(env, "BEAMSANDBOX_TLS_CA=/run/beamsandbox/tls/ca.pem") || !slices.Contains(env, "BEAMSANDBOX_TLS_NODE=/run/beamsandbox/tls/node.pem") {
		t.Errorf("a guest is not told of its certificate: %v", env)
	}
	c.TLS = nil
	flags := env[slices.IndexFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "ERL_ZFLAGS=") })]
	for _, want := range []string{"-config /run/beamsandbox/env", "-sname pulse@myhost", "-start_epmd false", "inet_dist_listen_min 9100", `"io:put_chars(\"a b\")."`} {
		if !strings.Contains(flags, want) {
			t.Errorf("%q is missing in %s", want, flags)
		}
	}
	c.Release.Entry.Args = []string{"/opt/app/bin/app", "foreground"}
	if env := strings.Join(entryEnvironment(c, 2), "\n"); strings.Contains(env, "-sname") || !strings.Contains(env, "-start_epmd false") {
		t.Errorf("a release's script names its node itself: %s", env)
	}
}
