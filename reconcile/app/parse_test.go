package app

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/distribution/term"
)

// everything uses each key once; the same app in every format.
func everything() map[Format]string {
	return map[Format]string{
		Erlang: `
% the coding of strings does not matter
[{name, 'pulse'},
 {version, "1.2.3-rc.1+x"},
 {description, <<"Beats, café"/utf8>>},
 {icon, #{type => url, value => <<"https://example.org/i.png">>, mime_type => <<"image/png">>}},
 {source, [{type, git}, {url, "git@example.org:org/pulse.git"}, {ref, <<"v1.2.3">>}]},
 {isolation, vm},
 {vm_config, #{memory_limit => 16#40, scheduler_limit => 1, node_prefix => <<"guest_">>,
               extra_args => ["+A", <<"4">>]}},
 {env, #{http_port => 8_080, level => <<"debug">>, nested => #{deep => [1, 2.5, true]}}},
 {health, [{type, http}, {port, 8081}, {path, "/up"}, {interval, 500}, {timeout, 250}]},
 {depends_on, [counter, <<"other">>]}].
`,
		YAML: `
# the same app
name: pulse
version: 1.2.3-rc.1+x
description: Beats, café
icon: {type: url, value: "https://example.org/i.png", mime_type: image/png}
source:
  type: git
  url: git@example.org:org/pulse.git
  ref: v1.2.3
isolation: vm
vm_config:
  memory_limit: 0x40
  scheduler_limit: 1
  node_prefix: guest_
  extra_args: ["+A", "4"]
env:
  http_port: 8080
  level: debug
  nested: {deep: [1, 2.5, true]}
health: {type: http, port: 8081, path: /up, interval: 500, timeout: 250}
depends_on: [counter, other]
`,
		JSON: `{
"name": "pulse", "version": "1.2.3-rc.1+x", "description": "Beats, caf\u00e9",
"icon": {"type": "url", "value": "https:\/\/example.org/i.png", "mime_type": "image/png"},
"source": {"type": "git", "url": "git@example.org:org/pulse.git", "ref": "v1.2.3"},
"isolation": "vm",
"vm_config": {"memory_limit": 64, "scheduler_limit": 1, "node_prefix": "guest_", "extra_args": ["+A", "4"]},
	"env": {"http_port": 8080, "level": "debug", "nested": {"deep": [1, 2.5, true]}},
"health": {"type": "http", "port": 8081, "path": "/up", "interval": 500, "timeout": 250},
"depends_on": ["counter", "other"]}
`,
	}
}

func TestParseEverything(t *testing.T) {
	prefix := "guest_"
	want := Spec{
		Name: "pulse", Version: "1.2.3-rc.1+x", Description: "Beats, café",
		Icon:      &Icon{Type: "url", Value: "https://example.org/i.png", MIME: "image/png"},
		Source:    Source{Type: SourceGit, URL: "git@example.org:org/pulse.git", Ref: "v1.2.3"},
		Isolation: VM,
		VM:        VMConfig{MemoryLimit: 64, SchedulerLimit: 1, NodePrefix: &prefix, ExtraArgs: []string{"+A", "4"}},
		Env: map[string]term.Term{
			"http_port": term.Int(8080),
			"level":     term.Binary("debug"),
			"nested": term.Map{{Key: term.Atom("deep"), Value: term.List{
				Elems: []term.Term{term.Int(1), term.Float(2.5), term.Atom("true")}}}},
		},
		Health:    &Health{Type: HealthHTTP, Port: 8081, Path: "/up", Interval: 500 * time.Millisecond, Timeout: 250 * time.Millisecond},
		DependsOn: []Name{"counter", "other"},
	}
	for format, src := range everything() {
		t.Run(string(format), func(t *testing.T) {
			got, err := Parse([]byte(src), format, "app")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if got.Digest() != want.Digest() {
				t.Error("formats differ in their digest")
			}
		})
	}
}

func TestParseDefaults(t *testing.T) {
	got, err := Parse([]byte(`#{name => a, version => '1', env => #{http_port => 80}, health => #{}, icon => undefined}.`), Erlang, "app.config")
	if err != nil {
		t.Fatal(err)
	}
	want := Spec{
		Name: "a", Version: "1", Isolation: Embedded, Source: Source{Type: SourceHex, Ref: "1"},
		Env:    map[string]term.Term{"http_port": term.Int(80)},
		Health: &Health{Type: HealthHTTP, Port: 80, Path: "/health", Interval: 10 * time.Second, Timeout: 5 * time.Second},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// with is an app with a few keys more.
func with(more string) string { return "#{name => a, version => <<\"1\">>, " + more + "}." }

func TestParseAccepts(t *testing.T) {
	tests := []struct {
		name, src string
		get       func(Spec) any
		want      any
	}{
		{"icon of bc_gitops", with(`icon => #{type => base64, value => "aGk="}`), func(s Spec) any { return *s.Icon }, Icon{Type: "base64", Value: "aGk="}},
		{"icon by type", with(`icon => #{type => url, url => <<"https://x/y">>}`), func(s Spec) any { return *s.Icon }, Icon{Type: "url", Value: "https://x/y"}},
		{"icon as tuple", with(`icon => {url, <<"https://x/y">>}`), func(s Spec) any { return *s.Icon }, Icon{Type: "url", Value: "https://x/y"}},
		{"icon as atom", with(`icon => identicon`), func(s Spec) any { return *s.Icon }, Icon{Type: "identicon"}},
		{"git without ref", with(`source => #{type => git, url => "file:///srv/a.git"}`), func(s Spec) any { return s.Source }, Source{Type: SourceGit, URL: "file:///srv/a.git", Ref: "HEAD"}},
		{"git over ssh", with(`source => #{type => git, url => "ssh://git@h:22/a.git"}`), func(s Spec) any { return s.Source.URL }, "ssh://git@h:22/a.git"},
		{"hex of another name and version", with(`source => #{type => hex, name => b, ref => "2.0.0"}`), func(s Spec) any { return s.Source }, Source{Type: SourceHex, Ref: "2.0.0", Name: "b"}},
		{"release", with(`source => #{type => release, url => "https://h/a.tar.gz", sha256 => <<"` + strings.Repeat("Ab", 32) + `">>}`), func(s Spec) any { return s.Source },
			Source{Type: SourceRelease, URL: "https://h/a.tar.gz", SHA256: strings.Repeat("ab", 32)}},
		{"mesh", with(`source => #{type => mesh, mcid => <<"mcid1-manifest-blake3-5d41402a">>}`), func(s Spec) any { return s.Source.MCID }, "mcid1-manifest-blake3-5d41402a"},
		{"image", with(`source => #{type => image, url => <<"ghcr.io/org/app:1.0">>}`), func(s Spec) any { return s.Source.URL }, "ghcr.io/org/app:1.0"},
		{"path", with(`source => #{type => path, path => <<"/home/me/my app">>}`), func(s Spec) any { return s.Source.URL }, "/home/me/my app"},
		{"smallest guest", with(`vm_config => #{memory_limit => 64}`), func(s Spec) any { return s.VM.MemoryLimit }, 64},
		{"no prefix at all", with(`vm_config => #{node_prefix => <<"">>}`), func(s Spec) any { return *s.VM.NodePrefix }, ""},
		{"no arguments", with(`vm_config => #{extra_args => []}`), func(s Spec) any { return len(s.VM.ExtraArgs) }, 0},
		{"harmless kernel parameters", with(`vm_config => #{extra_args => ["-kernel", "shell_history", "enabled", "+SDio", "2"]}`), func(s Spec) any { return len(s.VM.ExtraArgs) }, 5},
		{"tcp", with(`health => #{type => tcp, port => 1}`), func(s Spec) any { return s.Health.Path }, ""},
		{"custom", with(`health => #{type => custom, module => 'Elixir.My.Check'}`), func(s Spec) any { return s.Health.Module }, "Elixir.My.Check"},
		{"4369 in the host VM", with(`env => #{http_port => 4369}`), func(s Spec) any { return s.Ports() }, []uint16{4369}},
		{"flags in env", with(`env => [debug, {x, undefined}]`), func(s Spec) any { return s.Env }, map[string]term.Term{"debug": term.Atom("true"), "x": term.Atom("undefined")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse([]byte(tt.src), Erlang, "app.config")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tt.get(s)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseYAMLValues(t *testing.T) {
	src := "name: a\nversion: '1'\nhealth: ~\nenv:\n  big: 123456789012345678901234567890\n  date: 2026-11-22\n" +
		"  yes: yes\n  none: null\n  level: !atom debug\n  path: !charlist /tmp\n  oct: 0o17\n  neg: -5\n"
	s, err := Parse([]byte(src), YAML, "app.yaml")
	if err != nil {
		t.Fatal(err)
	}
	big, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	want := map[string]term.Term{
		"big": big, "date": term.Binary("2026-11-22"), "yes": term.Binary("yes"), "none": term.Atom("null"),
		"level": term.Atom("debug"), "path": term.String("/tmp"), "oct": term.Int(15), "neg": term.Int(-5),
	}
	for k, v := range want {
		if !term.Equal(v, s.Env[k]) {
			t.Errorf("%s: got %#v, want %#v", k, s.Env[k], v)
		}
	}
	if s.Health != nil {
		t.Error("a null section counts as given")
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"no map", `{a}.`, "f:1:1: expected a map or a proplist, found {a}"},
		{"nothing in it", `#{}.`, `f:1:1: name: expected an atom: a lower-case letter, then letters, digits and underscores, at most 64, found nothing` + "\n" +
			`f:1:1: version: expected a version such as <<"1.0.0">>, found nothing`},
		{"two terms", "#{}.\n#{}.", "f:2:1: a second term begins: the file is one map or proplist and a full stop"},
		{"empty", "% nothing\n", "f:1:1: the file is empty: it needs one map or proplist and a full stop"},
		{"syntax", "#{name => }.", "f:1:11: "},
		{"every error", "#{name => 'Upper',\n  version => 1,\n  isolaton => vm,\n  vm_config => #{memory_limit => <<\"512\">>,\n    scheduler_limt => 2}}.",
			"f:1:11: name: expected an atom: a lower-case letter, then letters, digits and underscores, at most 64, found 'Upper'\n" +
				"f:2:14: version: expected a version such as <<\"1.0.0\">>, found 1; put it in quotes\n" +
				"f:3:3: isolaton: expected one of the keys depends_on, description, env, health, icon, isolation, name, source, version, vm_config, found an unknown one; did you mean isolation?\n" +
				"f:4:34: vm_config.memory_limit: expected an integer of megabytes from 16 to 1048576, found <<\"512\">>; write 512 without quotes\n" +
				"f:5:5: vm_config.scheduler_limt: expected one of the keys code_loading, extra_args, memory_limit, node_prefix, scheduler_limit, found an unknown one; did you mean scheduler_limit?"},
		{"the platform", `#{name => kernel, version => "1"}.`, "f:1:11: name: expected an application of your own, found kernel; kernel belongs to the platform"},
		{"a flood", with(`env => [` + strings.Repeat("{1, 2}, ", 1000) + `a]`), "\nf: further errors are not shown"},
		{"twice", `[{name, a}, {name, b}, {version, "1"}].`, "f:1:14: name: expected each key once, found it again"},
		{"a cookie", with(`cookie => <<"x">>`), "cookies do not belong into git"},
		{"too little memory", with(`vm_config => #{memory_limit => 15}`), "vm_config.memory_limit: expected an integer of megabytes from 16 to 1048576, found 15"},
		{"too much memory", with(`vm_config => #{memory_limit => 1048577}`), "found 1048577"},
		{"a float", with(`vm_config => #{memory_limit => 64.0}`), "found 64.0"},
		{"no scheduler", with(`vm_config => #{scheduler_limit => 0}`), "vm_config.scheduler_limit: expected an integer of CPUs from 1 to 1024, found 0"},
		{"a huge number", with(`vm_config => #{scheduler_limit => 99999999999999999999}`), "found 99999999999999999999"},
		{"prefix", with(`vm_config => #{node_prefix => <<"a@b">>}`), "vm_config.node_prefix: expected letters, digits, _ and -, at most 64, found <<\"a@b\">>"},
		{"isolation", with(`isolation => vms`), "isolation: expected one of embedded, vm, found vms; did you mean vm?"},
		{"source type", with(`source => #{type => gti, url => "https://x/y"}`), "source.type: expected one of hex, git, release, mesh, image, path, found gti; did you mean git?"},
		{"source as atom", with(`source => 42`), "source: expected a map or a proplist, found 42"},
		{"git without url", with(`source => #{type => git}`), "source.url: expected one for type git, found nothing"},
		{"git by http", with(`source => #{type => git, url => "http://x/y"}`), `source.url: expected a git address: https://…, ssh://…, file:///… or git@host:path, found "http://x/y"`},
		{"git with option", with(`source => #{type => git, url => "git@h:-oProxyCommand=x"}`), "source.url: expected a git address"},
		{"ref with option", with(`source => #{type => git, url => "https://x/y", ref => "--upload-pack=x"}`), "source.ref: expected a branch"},
		{"an unverified sha256", with(`source => #{type => git, url => "https://x/y", sha256 => "00"}`), "source.sha256: expected none for type git"},
		{"release without sha256", with(`source => #{type => release, url => "https://x/y"}`), "source.sha256: expected one for type release, found nothing"},
		{"sha256", with(`source => #{type => release, url => "https://x/y", sha256 => "abc"}`), "source.sha256: expected 64 hex digits"},
		{"image", with(`source => #{type => image, url => "App"}`), "source.url: expected an image reference"},
		{"port", with(`health => #{type => tcp, port => 65536}`), "health.port: expected an integer of a TCP port from 1 to 65535, found 65536"},
		{"no port", with(`health => #{type => tcp}`), "health.port: expected a TCP port, found nothing; name it here or as http_port in env"},
		{"path", with(`health => #{port => 1, path => "health"}`), "health.path: expected an absolute path"},
		{"path for tcp", with(`health => #{type => tcp, port => 1, path => "/"}`), "health.path: expected it for type http only"},
		{"custom without module", with(`health => #{type => custom}`), "health.module: expected the name of a module that exports health_check/0, found nothing"},
		{"interval", with(`health => #{port => 1, interval => 10}`), "health.interval: expected an integer of milliseconds from 100 to 86400000, found 10"},
		{"http_port as text", with(`env => #{http_port => <<"8080">>}`), "env.http_port: expected an integer of a TCP port from 1 to 65535, found <<\"8080\">>; write 8080 without quotes"},
		{"env keys", with(`env => #{<<"a">> => 1}`), "env: expected an atom as key, found <<\"a\">>"},
		{"env twice", with(`env => [{a, 1}, {a, 2}]`), "env.a: expected each key once"},
		{"env", with(`env => 1`), "env: expected a map or a proplist, found 1"},
		{"our ports", with(`isolation => vm, env => #{http_port => 4369}, health => #{port => 9100}`), "env.http_port: expected a port of the app's own, found 4369; 4369 is the guest's port mapper\nf:1:"},
		{"depends_on", with(`depends_on => [a, "B"]`), "depends_on[1]: expected an atom"},
		{"depends_on as text", with(`depends_on => "abc"`), "depends_on: expected a list of app names, found \"abc\""},
		{"args as text", with(`vm_config => #{extra_args => "+A 4"}`), "vm_config.extra_args: expected a list of strings such as"},
		{"an odd arg", with(`vm_config => #{extra_args => [1]}`), "vm_config.extra_args[0]: expected a string of one line, found 1"},
		{"component", with(`env => #{liveview_components => [#{id => x}]}`), "env.liveview_components[0].module: expected an atom, found nothing"},
		{"icon", with(`icon => {png, "x"}`), "icon.type: expected one of url, base64, identicon, found png"},
		{"icon without value", with(`icon => #{type => url}`), "icon.value: expected the icon's url as one line, found nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, err := Parse([]byte(tt.src), Erlang, "f")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got  %v\nwant %s", err, tt.want)
			}
			if diff := cmp.Diff(Spec{}, spec); diff != "" {
				t.Errorf("a spec beside the error:\n%s", diff)
			}
			var list Errors
			if !errors.As(err, &list) || len(list.Lines()) != strings.Count(err.Error(), "\n")+1 {
				t.Errorf("%T is not one error a line", err)
			}
		})
	}
}

func TestParseRefusesYAMLAndJSON(t *testing.T) {
	tests := []struct {
		name   string
		format Format
		src    string
		want   string
	}{
		{"a field", YAML, "name: a\nversion: 1.10\n", `f:2:10: version: expected a version such as <<"1.0.0">>, found 1.1; put it in quotes`},
		{"deep", YAML, "name: a\nversion: '1'\nvm_config:\n  memory_limit: \"512\"\n", `f:4:17: vm_config.memory_limit: expected an integer of megabytes from 16 to 1048576, found "512"; write 512 without quotes`},
		{"unknown", YAML, "name: a\nversion: '1'\nenvs: {}\n", "f:3:1: envs: expected one of the keys "},
		{"twice", YAML, "name: a\nname: b\n", "f:2:1: key name is there twice, first on line 1"},
		{"syntax", YAML, "name: a\n  b: c\n", "f:2:1: mapping values are not allowed in this context"},
		{"alias", YAML, "name: &x a\nversion: *x\n", "f:2:10: aliases are not supported"},
		{"merge", YAML, "name: a\n<<: {version: b}\n", "f:2:1: merge keys are not supported"},
		{"tag", YAML, "name: !!binary aGk=\n", "f:1:7: tag !!binary is not supported"},
		{"infinity", YAML, "name: a\nversion: .inf\n", "f:2:10: .inf is not a value"},
		{"two documents", YAML, "name: a\n---\nname: b\n", "a second document begins"},
		{"empty", YAML, "", "f:1:1: the file is empty"},
		{"a list", YAML, "- name\n", "f:1:1: expected a map or a proplist, found a list"},
		{"not UTF-8", YAML, "name: a\nversion: \xff\n", "f:2:1: the line is not UTF-8"},
		{"bool", YAML, "name: true\nversion: '1'\n", "f:1:7: name: expected an atom"},
		{"a field", JSON, "{\"name\": \"a\",\n  \"version\": 1}", `f:2:14: version: expected a version such as <<"1.0.0">>, found 1; put it in quotes`},
		{"after an é", JSON, `{"description": "é", "name": 1, "version": "1"}`, `f:1:30: name: expected`},
		{"twice", JSON, "{\"name\": \"a\",\n \"name\": \"b\"}", "f:2:2: key name is there twice, first on line 1"},
		{"syntax", JSON, "{\"name\": \"a\",\n }", "f:2:2: invalid character '}'"},
		{"ends", JSON, "{\"name\": [\n", "f:2:1: the file ends too early"},
		{"nothing", JSON, "", "f:1:1: the file ends too early"},
		{"more", JSON, "{}\n{}", "f:2:1: more follows the first value"},
		{"yaml in json", JSON, "{name: a}", "f:1:2: invalid character 'n'"},
		{"too large", JSON, `{"name": 1e999}`, "f:1:10: the number is too large"},
		{"deep", JSON, strings.Repeat("[", 300), "f:1:102: values are nested too deeply"},
		{"deep", YAML, strings.Repeat("[", 300) + strings.Repeat("]", 300), "values are nested too deeply"},
		{"deep", Erlang, strings.Repeat("[", 300), "f:1:101: "},
		{"long", Erlang, strings.Repeat("%", maxFile+1), "f: the file is larger than 1 MiB"},
	}
	for _, tt := range tests {
		t.Run(string(tt.format)+"/"+tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.src), tt.format, "f")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestNoPasswordInErrors(t *testing.T) {
	for _, url := range []string{
		"https://user:hunter2@example.org/x.git", "https://hunter2@example.org/x.git",
		"ssh://git:hunter2@example.org/x.git", "user:hunter2@example.org/x.git", "https://a:hunter2@b@c /",
	} {
		for _, kind := range []string{"git", "release", "image"} {
			_, err := Parse([]byte(with(`source => #{type => `+kind+`, url => "`+url+`"}`)), Erlang, "f")
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s %s: %v", kind, url, err)
			}
		}
	}
}

func TestVariables(t *testing.T) {
	const base = `#{name => a, version => <<"1">>, isolation => %s, env => #{%s}}.`
	for _, tt := range []struct{ isolation, env, want string }{
		{"vm", `'SECRET_KEY_BASE' => <<"x">>, 'PORT' => 80, 'RATIO' => 0.5, 'MODE' => prod`, ""},
		{"vm", `'PORT' => #{}`, "env.PORT: expected a text or a number"},
		{"vm", `'RELEASE_COOKIE' => <<"x">>`, "a cookie of its own"},
		{"vm", `'BEAMSANDBOX_NODE' => <<"x">>`, "who it is"},
		{"vm", `'ERL_FLAGS' => <<"x">>`, "are the sandbox's"},
		{"vm", `'LD_PRELOAD' => <<"/x">>`, "the sandbox's"},
		{"vm", `'HOME' => <<"/x">>`, "the sandbox's"},
		{"vm", `'HOMEPAGE' => <<"x">>, 'Mixed' => #{}`, ""},
		{"embedded", `'PORT' => 80`, "it shares the host VM's"},
	} {
		_, err := Parse(fmt.Appendf(nil, base, tt.isolation, tt.env), Erlang, "f")
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("env %s: %v, want %q", tt.env, err, tt.want)
		}
	}
}

// A variable is how a guest starts; a parameter can be changed in place.
func TestVariablesNeedANewStart(t *testing.T) {
	spec := func(key string, value int, loading CodeLoading) Spec {
		return Spec{Name: "a", Isolation: VM, VM: VMConfig{CodeLoading: loading}, Env: map[string]term.Term{key: term.Int(value)}}
	}
	for name, tt := range map[string]struct {
		a, b Spec
		same bool
	}{
		"parameter":        {spec("port", 1, ""), spec("port", 2, ""), true},
		"variable":         {spec("PORT", 1, ""), spec("PORT", 2, ""), false},
		"default loading":  {spec("port", 1, ""), spec("port", 1, LoadInteractive), true},
		"embedded loading": {spec("port", 1, ""), spec("port", 1, LoadEmbedded), false},
	} {
		if got := tt.a.RunDigest() == tt.b.RunDigest(); got != tt.same {
			t.Errorf("%s: same digest %v, want %v", name, got, tt.same)
		}
	}
}
