package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadProject(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  project
	}{
		{"plain", map[string]string{"rebar.config": `{erl_opts, [debug_info]}.`}, project{}},
		{"release", map[string]string{"rebar.config": `{relx, [{release, {a, "1"}, [a]}]}.`}, project{release: true}},
		{"release in prod", map[string]string{
			"rebar.config": `{profiles, [{prod, [{relx, [{release, {a, "1"}, [a]}]}]}]}.`,
		}, project{release: true, profiles: true}},
		{"mode in prod only", map[string]string{
			"rebar.config": `{profiles, [{prod, [{relx, [{mode, prod}]}]}]}.`,
		}, project{profiles: true}},
		{"relx.config", map[string]string{"rebar.config": ``, "relx.config": ``}, project{release: true}},
		{"remotes", map[string]string{
			"rebar.config": `{deps, [hexdep, {a, {git, "https://h/a.git", {tag, "1"}}},
				{b, ".*", {git, "https://h/b", {branch, "main"}}, [raw]}, {c, {git_subdir, <<"https://h/c">>, {ref, "x"}, "d"}}]}.
				{plugins, [{p, {git, "https://h/p", "main"}}]}.`,
			"rebar.lock": `{"1.2.0", [{<<"d">>, {git, "https://h/d", {ref, "abc"}}, 1}]}.`,
		}, project{deps: true, remotes: []string{"https://h/a.git", "https://h/b", "https://h/c", "https://h/p", "https://h/d"}}},
		{"umbrella", map[string]string{
			"rebar.config": `{deps, []}.`, "apps/left/src/left.app.src": "", "lib/right/src/right.app.src": "", "apps/none/README": "",
			"apps/left/rebar.config": `{deps, [{a, {git, "https://h/a", "main"}}]}. {relx, []}. {profiles, []}.`, "src/top.app.src": "",
		}, project{deps: true, remotes: []string{"https://h/a"}, apps: []string{"left", "right", "top"}}},
		{"umbrella in folders of its own", map[string]string{
			"rebar.config": `{project_app_dirs, ["services/*", "../up"]}.`, "services/one/src/one.app.src": "", "apps/two/src/two.app.src": "",
		}, project{folders: []string{"services/*"}, apps: []string{"one"}}},
		{"one application", map[string]string{"rebar.config": ``, "src/a.app.src": ``}, project{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readProject(mustRoot(t, writeFiles(t, tt.files)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(project{}, tool{})); diff != "" {
				t.Errorf("project (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadProjectRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ content, want string }{
		"syntax":  {"{deps, [}.\n", "rebar.config: "},
		"endless": {strings.Repeat(" ", maxConfig+1), "at most"},
	} {
		dir := t.TempDir()
		if tt.content != "" {
			if err := os.WriteFile(filepath.Join(dir, "rebar.config"), []byte(tt.content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := readProject(mustRoot(t, dir)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: err = %v, want %q in it", name, err, tt.want)
		}
	}
}

func TestOverlay(t *testing.T) {
	for want, p := range map[string]project{
		`{relx, [{release, {a, "1.0"}, [a]}, {mode, prod}]}.`: {},
		`{profiles, [{prod, [{relx, [{mode, prod}]}]}]}.`:     {release: true},
		`{release, {a, "1.0"}, [left, 'Right', b]}`:           {apps: []string{"left", "Right", "b"}},
		``: {release: true, profiles: true},
	} {
		if got := p.overlay("a", "1.0"); !strings.Contains(got, want) || (want == "" && got != "") {
			t.Errorf("%+v: overlay = %q, want %q", p, got, want)
		}
	}
}

func TestFilterArgs(t *testing.T) {
	tests := []struct {
		name, in, want string
		dropped        []string
	}{
		{"names and cookie", "-sname pulse\n-setcookie secret\n+P 1000\n", "+P 1000\n", []string{"-sname", "-setcookie"}},
		{"one line", "-name a@b -setcookie 'x y' +K true -env A 1", "+K true\n-env A 1\n", []string{"-name", "-setcookie"}},
		{"comments", "## -sname no\n+Bi # why\n", "+Bi\n", nil},
		{"distribution ports", "-kernel inet_dist_listen_min 1 -kernel logger_level debug", "-kernel logger_level debug\n", []string{"-kernel"}},
		{"distribution over TLS", "-proto_dist inet_tls\n-ssl_dist_optfile /etc/tls.conf\n-ssl_dist_opt server_certfile a.pem client_verify verify_peer\n+A 5", "+A 5\n", []string{"-proto_dist", "-ssl_dist_optfile", "-ssl_dist_opt"}},
		{"negative value", "-app limit -1\n-heart", "-app limit -1\n", []string{"-heart"}},
		{"value on the next line", "-setcookie\nsecret\n+A 5", "+A 5\n", []string{"-setcookie"}},
		{"quotes stay", `-app motto '"a # b"'`, "-app motto '\"a # b\"'\n", nil},
		{"empty", "", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, dropped := filterArgs(tt.in)
			if got != tt.want {
				t.Errorf("kept %q, want %q", got, tt.want)
			}
			if diff := cmp.Diff(tt.dropped, dropped); diff != "" {
				t.Errorf("dropped (-want +got):\n%s", diff)
			}
		})
	}
}
