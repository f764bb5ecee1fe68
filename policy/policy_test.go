package policy

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

func guest(change func(*app.Spec)) app.Spec {
	s := app.Spec{Name: "pulse", Isolation: app.VM, Source: app.Source{Type: app.SourceHex}}
	if change != nil {
		change(&s)
	}
	return s
}

func TestGrantFlows(t *testing.T) {
	always := []Flow{{Port: 4369, Purpose: "epmd"}, {Port: 9100, Purpose: "distribution"}}
	tests := []struct {
		name string
		spec app.Spec
		want []Flow
	}{
		{"no declared ports", guest(nil), always},
		{"one port for http and health", guest(func(s *app.Spec) {
			s.Env = map[string]term.Term{"http_port": term.Int(8083)}
			s.Health = &app.Health{Type: app.HealthHTTP, Port: 8083}
		}), []Flow{always[0], {Port: 8083, Purpose: "health", Publish: true}, always[1]}},
		{"two ports", guest(func(s *app.Spec) {
			s.Env = map[string]term.Term{"http_port": term.Int(80)}
			s.Health = &app.Health{Type: app.HealthTCP, Port: 9999}
		}), []Flow{{Port: 80, Purpose: "http_port", Publish: true}, always[0], always[1], {Port: 9999, Purpose: "health", Publish: true}}},
		{"embedded", guest(func(s *app.Spec) {
			s.Isolation = app.Embedded
			s.Env = map[string]term.Term{"http_port": term.Int(80)}
		}), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := Rules{}.Grant(tt.spec)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, g.Flows); diff != "" {
				t.Errorf("flows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGrantPrivileges(t *testing.T) {
	defaults := Privileges{Pids: 1024, OpenFiles: 65536, TmpBytes: 64 << 20, OCIRuntime: "io.containerd.runc.v2", UserNS: true}
	tests := []struct {
		name  string
		rules Rules
		want  Privileges
	}{
		{"defaults", Rules{}, defaults},
		{"floor", Rules{Pids: 3}, func() Privileges { p := defaults; p.Pids = 64; return p }()},
		{"all set", Rules{Pids: 300, OpenFiles: 4096, TmpBytes: 1 << 20, OCIRuntime: "io.containerd.runsc.v1", NoUserNS: true},
			Privileges{Pids: 300, OpenFiles: 4096, TmpBytes: 1 << 20, OCIRuntime: "io.containerd.runsc.v1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := tt.rules.Grant(guest(nil))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, g.Privileges); diff != "" {
				t.Errorf("privileges (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGrantRefuses(t *testing.T) {
	limited := func(memory, schedulers int) app.Spec {
		return guest(func(s *app.Spec) { s.VM = app.VMConfig{MemoryLimit: memory, SchedulerLimit: schedulers} })
	}
	local := guest(func(s *app.Spec) { s.Source.Type = app.SourcePath })
	tests := []struct {
		name  string
		rules Rules
		spec  app.Spec
		want  string
	}{
		{"too much memory", Rules{MaxMemory: 1024}, limited(2048, 1), "grant pulse: vm_config.memory_limit 2048 MB breaks rule max_memory: at most 1024 MB"},
		{"unlimited memory", Rules{MaxMemory: 1024}, limited(0, 1), "grant pulse: no vm_config.memory_limit breaks rule max_memory: at most 1024 MB"},
		{"too many schedulers", Rules{MaxSchedulers: 2}, limited(64, 3), "grant pulse: vm_config.scheduler_limit 3 CPUs breaks rule max_schedulers: at most 2 CPUs"},
		{"unlimited schedulers", Rules{MaxSchedulers: 2}, limited(64, 0), "grant pulse: no vm_config.scheduler_limit breaks rule max_schedulers: at most 2 CPUs"},
		{"a local folder", Rules{}, local, "grant pulse: a source of type path breaks rule allow_path: local folders are for sandboxctl run only"},
		{"at the ceiling", Rules{MaxMemory: 64, MaxSchedulers: 2}, limited(64, 2), ""},
		{"a local folder, allowed", Rules{AllowPath: true}, local, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.rules.Grant(tt.spec)
			if got := message(err); got != tt.want {
				t.Fatalf("got  %q\nwant %q", got, tt.want)
			}
			var v *Violation
			if err != nil && !errors.As(err, &v) {
				t.Errorf("%T is not a *Violation", err)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
