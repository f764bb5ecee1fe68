package main

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/reconcile/status"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares what a command printed with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestTables(t *testing.T) {
	down := busyHost()
	down.HostUp, down.HostError, down.Gateway, down.Apps = false, "dial demo_web@myhost: no node of that name is registered", false, nil
	down.Error = "fetch https://git.example/gitops.git: connection refused"
	steps := []status.Step{
		{App: "pulse", Action: "upgrade", From: "1.0.0", To: "1.1.0", Why: "its version changed"},
		{App: "old", Action: "remove", From: "2", Why: "no commit asks\tfor it"},
	}
	tests := []struct {
		golden string
		host   status.Host
		args   []string
	}{
		{"status.txt", busyHost(), []string{"status"}},
		{"status_down.txt", down, []string{"status"}},
		{"status_pulse.txt", busyHost(), []string{"status", "pulse"}},
		{"status_sick.txt", busyHost(), []string{"status", "sick"}},
		{"plan.txt", status.Host{}, []string{"plan"}},
	}
	for _, tt := range tests {
		t.Run(tt.golden, func(t *testing.T) {
			socket := serveFake(t, &fakeDaemon{host: tt.host, steps: steps})
			code, out, diagnostics := ctl(t, append([]string{"--socket", socket}, tt.args...)...)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, diagnostics)
			}
			if strings.ContainsAny(out, "\x1b\u202e") {
				t.Errorf("a control character reaches the terminal: %q", out)
			}
			golden(t, tt.golden, out)
		})
	}
}

func TestJSON(t *testing.T) {
	steps := []status.Step{{App: "pulse", Action: "deploy", To: "1"}}
	socket := serveFake(t, &fakeDaemon{host: busyHost(), steps: steps})
	var host status.Host
	var app status.App
	var plan []status.Step
	for _, tt := range []struct {
		args []string
		into any
	}{
		{[]string{"status", "-o", "json"}, &host},
		{[]string{"status", "pulse", "--output", "json"}, &app},
		{[]string{"plan", "-o", "json"}, &plan},
	} {
		code, out, diagnostics := ctl(t, append([]string{"--socket", socket}, tt.args...)...)
		if code != 0 || json.Unmarshal([]byte(out), tt.into) != nil {
			t.Errorf("%v: exit code %d %s\n%s", tt.args, code, diagnostics, out)
		}
	}
	if !cmp.Equal(host, busyHost()) || !cmp.Equal(app, busyHost().Apps[2]) || !cmp.Equal(plan, steps) {
		t.Errorf("JSON lost something:\n%v\n%v\n%v", host, app, plan)
	}
}

func TestExitCodes(t *testing.T) {
	socket := serveFake(t, &fakeDaemon{host: busyHost(), planErr: errors.New("the repository cannot be read")})
	nobody := filepath.Join(t.TempDir(), "none.sock")
	empty := t.TempDir()
	tests := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no daemon", []string{"--socket", nobody, "status"}, exitUnreachable, "start it, or name its socket with --socket"},
		{"no daemon to sync", []string{"--socket", nobody, "sync"}, exitUnreachable, nobody},
		{"no daemon for logs", []string{"--socket", nobody, "logs", "pulse"}, exitUnreachable, nobody},
		{"unknown app", []string{"--socket", socket, "status", "puls"}, exitFailed, "no app puls on this host"},
		{"unknown app's log", []string{"--socket", socket, "logs", "puls"}, exitFailed, "no app puls on this host"},
		{"plan fails", []string{"--socket", socket, "plan"}, exitFailed, "the repository cannot be read"},
		{"unknown flag", []string{"status", "--colour"}, exitUsage, "unknown flag: --colour"},
		{"unknown output", []string{"status", "-o", "xml"}, exitUsage, "choose table or json"},
		{"too many arguments", []string{"status", "a", "b"}, exitUsage, "accepts at most 1 arg"},
		{"too few arguments", []string{"logs"}, exitUsage, "accepts 1 arg"},
		{"unknown command", []string{"statsu"}, exitUsage, `unknown command "statsu"`},
		{"bad duration", []string{"sync", "--wait", "soon"}, exitUsage, "--wait"},
		{"validate nothing", []string{"validate", empty}, exitFailed, "apps"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, _, diagnostics := ctl(t, tt.args...)
			if code != tt.code || !strings.Contains(diagnostics, tt.says) {
				t.Errorf("exit code %d, %q; want %d and %q", code, diagnostics, tt.code, tt.says)
			}
			if strings.Contains(strings.TrimSpace(diagnostics), "\n") {
				t.Errorf("more than one line: %q", diagnostics)
			}
		})
	}
}

func TestSync(t *testing.T) {
	healthy := func(h *status.Host) {
		h.Settled, h.Fetched = true, time.Now().Add(time.Second)
		h.Apps = []status.App{{Name: "pulse", Phase: status.Healthy}}
	}
	tests := []struct {
		name   string
		args   []string
		onSync func(*status.Host)
		code   int
		says   string
	}{
		{"asks only", nil, nil, 0, ""},
		{"waits", []string{"--wait", "5s"}, healthy, 0, ""},
		{"not healthy", []string{"--wait", "5s"}, func(h *status.Host) {
			healthy(h)
			h.Apps[0].Phase, h.Apps[0].Reason = status.Failed, "build_failed"
		}, exitUnhealthy, "app pulse is failed: build_failed"},
		{"not settled", []string{"--wait", "100ms"}, func(h *status.Host) { healthy(h); h.Settled = false },
			exitUnhealthy, "has not settled after 100ms"},
		{"no commit", []string{"--wait", "100ms"}, func(h *status.Host) { h.Error = "fetch: no route" }, exitFailed, "fetch: no route"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &fakeDaemon{onSync: tt.onSync, synced: make(chan struct{})}
			synced := d.synced
			code, _, diagnostics := ctl(t, append([]string{"--socket", serveFake(t, d), "sync"}, tt.args...)...)
			if code != tt.code || !strings.Contains(diagnostics, tt.says) {
				t.Errorf("exit code %d, %q; want %d and %q", code, diagnostics, tt.code, tt.says)
			}
			select {
			case <-synced:
			default:
				t.Error("the daemon was not asked")
			}
		})
	}
}

func TestLogs(t *testing.T) {
	socket := serveFake(t, &fakeDaemon{log: "one\n\x1b[31mred\x07 \u202e€ \xff\n"})
	tests := []struct {
		args []string
		want string
	}{
		{nil, "one\n" + `\x1b[31mred\a \u202e€ \ufffd` + "\nfollow false\n"},
		{[]string{"-f"}, "one\n" + `\x1b[31mred\a \u202e€ \ufffd` + "\nfollow true\n"},
		{[]string{"--raw"}, "one\n\x1b[31mred\x07 \u202e€ \xff\nfollow false\n"},
	}
	for _, tt := range tests {
		code, out, diagnostics := ctl(t, append([]string{"--socket", socket, "logs", "pulse"}, tt.args...)...)
		if code != 0 || out != tt.want {
			t.Errorf("logs %v: exit code %d %s, %q, want %q", tt.args, code, diagnostics, out, tt.want)
		}
	}
}

func TestEscaperKeepsCharactersWhole(t *testing.T) {
	var out strings.Builder
	e := &escaper{w: &out}
	for _, b := range []byte("grün €\nrest€") { // byte by byte, as a pipe may cut it
		if _, err := e.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	e.flush()
	if out.String() != "grün €\nrest€" {
		t.Errorf("escaped %q", out.String())
	}
}

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good":    `#{name => good, version => <<"1">>, isolation => vm, source => #{type => git, url => <<"https://h/r.git">>}}.`,
		"bad":     "#{name => bad,\n  isolation => cloud}.",
		"waiting": `#{name => waiting, version => <<"1">>, isolation => vm, depends_on => [nobody], source => #{type => git, url => <<"https://h/r.git">>}}.`,
	} {
		path := filepath.Join(dir, "services", name, "app.config")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	code, out, diagnostics := ctl(t, "validate", "--apps-dir", "services", dir)
	if code != exitFailed || diagnostics != "2 apps cannot be deployed" {
		t.Errorf("exit code %d: %s", code, diagnostics)
	}
	for _, want := range []string{"ok      good 1 (vm, git)", "services/bad/app.config:2:16: isolation", "broken  waiting: ", "nobody"} {
		if !strings.Contains(out, want) {
			t.Errorf("validate does not say %q:\n%s", want, out)
		}
	}
}
