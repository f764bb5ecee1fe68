package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

func TestApplication(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	one := fstest.MapFS{"src/one.app.src": file(`{application, one, [{vsn, "1.2.3"}]}.`)}
	two := fstest.MapFS{
		"apps/a/src/a.app.src": file(`{application, a, [{vsn, git}]}.`),
		"apps/b/src/b.app.src": file(`{application, b, [{vsn, "2"}]}.`),
	}
	tests := []struct {
		name         string
		tree         fstest.MapFS
		want         string
		app, version string
		err          string
	}{
		{"the only one", one, "", "one", "1.2.3", ""},
		{"by name", two, "b", "b", "2", ""},
		{"version of the build tool", two, "a", "a", "0.0.0", ""},
		{"many", two, "", "", "", "2 applications; choose one with --name"},
		{"none of that name", two, "c", "", "", "no application c there"},
		{"no project", fstest.MapFS{"README.md": file("")}, "", "", "", "run takes a rebar3 project"},
		{"syntax", fstest.MapFS{"src/x.app.src": file("{application,")}, "", "", "", "src/x.app.src:1:"},
		{"not an application", fstest.MapFS{"src/x.app.src": file("ok.")}, "", "", "", "src/x.app.src: expected {application, Name, Keys}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name, version, err := application(tt.tree, tt.want)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error = %v, want %q", err, tt.err)
				}
				return
			}
			if name != tt.app || version != tt.version || err != nil {
				t.Errorf("application() = %q, %q, %v", name, version, err)
			}
		})
	}
}

// TestConfigIsRead holds what run writes against what sandboxd reads.
func TestConfigIsRead(t *testing.T) {
	p := project{name: "pulse", version: "1.0.0", source: sourceMap("path", "path", "/srv/pulse", "")}
	o := runOptions{memory: 128, schedulers: 1, port: 8080, env: []string{"interval=200", "greeting=hello world", "who={a, \"b\"}"}}
	if err := p.apply(o); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "apps", "pulse", "app.config")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, term.WriteConsult(p.config()), 0o644); err != nil {
		t.Fatal(err)
	}
	set, err := app.Load(os.DirFS(dir), "apps", app.LoadOptions{AllowPath: true})
	if err != nil || len(set.Broken) > 0 {
		t.Fatalf("Load: %v, %v", err, set.Broken)
	}
	s := set.Specs["pulse"]
	if s.VM.MemoryLimit != 128 || s.VM.SchedulerLimit != 1 || s.Health == nil || s.Health.Port != 8080 {
		t.Errorf("spec: %+v, health %+v", s.VM, s.Health)
	}
	for key, want := range map[string]string{"interval": "200", "greeting": `<<"hello world">>`, "who": `{a,"b"}`, "http_port": "8080"} {
		if got := term.Format(s.Env[key]); got != want {
			t.Errorf("env %s = %s, want %s", key, got, want)
		}
	}
}
