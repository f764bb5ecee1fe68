//go:build integration

package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/reconcile/status"
)

// sandboxd runs it in the foreground and returns its exit code and what it said.
func (p *place) sandboxd(args ...string) (int, string) {
	p.t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(within(p.t, 10*time.Second), filepath.Join(p.Bin, "sandboxd"), args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(out.String())
}

// TestSurroundingsConfig: a configuration that cannot be read is refused with
// its place, before anything is touched.
func TestSurroundingsConfig(t *testing.T) {
	p := newPlace(t, "conf")
	must(t, p.WriteConfig(p.options()))
	if code, said := p.sandboxd("--config", p.ConfigPath(), "--check"); code != 0 || said != p.ConfigPath()+": ok" {
		t.Errorf("--check of a good file: exit code %d: %s", code, said)
	}
	bad := p.Path("bad.config")
	tests := []struct{ text, want string }{
		{"[{sandboxd, [\n  {host_nod, x}]}].", bad + ":2:4: sandboxd.host_nod is not a key; did you mean host_node?"},
		{"[{sandboxd,\n [{pool, <<\"10.0.0.0/33\">>}]}].", bad + ":2:10: sandboxd.pool: expected"},
		{"[{sandboxd, [}].", bad + ":1:14: "},
		{"", "found 0 terms"},
		{"[].", "bc_gitops.repo_url is missing"},
	}
	for _, tt := range tests {
		must(t, os.WriteFile(bad, []byte(tt.text), 0o600))
		for _, args := range [][]string{{"--config", bad, "--check"}, {"--config", bad}} {
			if code, said := p.sandboxd(args...); code != 1 || !strings.Contains(said, tt.want) || strings.Contains(said, "\n") {
				t.Errorf("%q, %v: exit code %d, want 1 and one line with %q:\n%s", tt.text, args, code, tt.want, said)
			}
		}
	}
	if code, said := p.sandboxd("--config", p.Path("none.config"), "--check"); code != 1 || !strings.Contains(said, "none.config") {
		t.Errorf("no file: exit code %d: %s", code, said)
	}
}

// TestSurroundingsDaemon: a second sandboxd is refused and disturbs nothing;
// the history file may be deleted, or damaged, and no guest is started again.
func TestSurroundingsDaemon(t *testing.T) {
	p := newPlace(t, "two")
	p.up()
	p.ask(map[string]string{"counter": p.counter("")})
	p.serve()
	p.healthy("counter")
	guest := p.pid("counter")
	if code, said := p.sandboxd("--config", p.ConfigPath()); code != 1 || !strings.Contains(said, "another sandboxd uses root "+p.Root) || strings.Contains(said, "\n") {
		t.Errorf("a second sandboxd: exit code %d: %s", code, said)
	}
	p.same("counter", guest)
	history := filepath.Join(p.Root, "history.json")
	for name, spoil := range map[string]func() error{
		"deleted": func() error { err := os.Remove(history); return ignore(err, os.ErrNotExist) },
		"damaged": func() error { return os.WriteFile(history, []byte("{not json"), 0o600) },
	} {
		must(t, p.daemon.Stop(20*time.Second))
		must(t, spoil())
		p.restart()
		must(t, p.daemon.Await(within(t, 20*time.Second), "counter is healthy, history "+name, func(h status.Host) bool {
			return appOf(h, "counter").Phase == status.Healthy && h.Settled
		}))
		p.same("counter", guest)
		if a := p.daemon.App(t.Context(), "counter"); a.Restarts != 0 {
			t.Errorf("history %s: %d restarts are counted", name, a.Restarts)
		}
	}
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}
