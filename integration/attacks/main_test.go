//go:build integration

// Package attacks proves that a guest cannot get out by what it says: every
// attack on an unfiltered host VM that the gateway's design knows of is done by
// a real guest in its container to a real host VM, once where the guest is
// trusted, and there it works, and once where the rules are enforced.
package attacks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"beamsandbox/distribution/control"
	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/policy"
	"beamsandbox/reconcile/status"
)

// The three guests. The second one is an ordinary app whose node is made to run
// the attacks that end its link: a guest whose links end too often is kept off.
const (
	attacker = "attacker"
	second   = "counter"
	innocent = "pulse"
)

// world is a host VM that attacks are aimed at, sandboxd, and three guests.
type world struct {
	*stage.Stage
	host    *stage.Host
	daemon  *stage.Daemon
	gitops  *stage.Repo
	code    string                   // folder with what the host VM and the attackers run
	hands   map[string]*control.Node // connections of the test's own into the guests
	mode    policy.Mode              // that the attackers are under
	gateway int                      // pid of sandbox-gateway, once a test asked
}

var w *world

// TestMain fails when a part is missing; nothing here is ever skipped.
func TestMain(m *testing.M) {
	os.Exit(stage.Tests(m, "../../bin", setUp, end))
}

func setUp(ctx context.Context, s *stage.Stage) error {
	w = &world{Stage: s, code: s.Path("code"), hands: map[string]*control.Node{}, mode: policy.Trusted}
	if err := os.Setenv("ERL_CRASH_DUMP", s.Path("erl_crash.dump")); err != nil { // host VMs are made to crash
		return err
	}
	for _, step := range []func(context.Context) error{s.StartEPMD, w.compile, w.startHost, w.makeRepos, w.startDaemon, w.takeHands} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func end(context.Context) error {
	for _, n := range w.hands {
		_ = n.Close() // the attack may have ended it before
	}
	return nil
}

// compile makes the modules of host VM and attackers.
func (w *world) compile(ctx context.Context) error {
	files, err := filepath.Glob("testdata/host/*.erl")
	if err != nil {
		return err
	}
	files = append(files, "testdata/attacker/src/attacker.erl")
	if err := os.MkdirAll(w.code, 0o755); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "erlc", append([]string{"-o", w.code}, files...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("compile %v: %w: %s", files, err, out)
	}
	return nil
}

// startHost starts the host VM, a new one where the last was killed.
func (w *world) startHost(ctx context.Context) error {
	if w.host != nil {
		if err := w.host.Stop(); err != nil {
			return err
		}
	}
	var err error
	if w.host, err = w.StartHost(ctx, "demo_web"); err != nil {
		return err
	}
	return w.equip(ctx, w.host)
}

// equip gives a node the code of host VM and attackers.
func (w *world) equip(ctx context.Context, h *stage.Host) error {
	if _, err := h.Call(ctx, "code", "add_patha", term.String(w.code)); err != nil {
		return err
	}
	_, err := h.Call(ctx, "attack_host", "start")
	return err
}

func (w *world) makeRepos(context.Context) error {
	a, err1 := w.NewRepo(attacker, "testdata/attacker")
	c, err2 := w.NewRepo(second, "../../examples/apps/counter")
	p, err3 := w.NewRepo(innocent, "../../examples/apps/pulse")
	gitops, err4 := w.NewRepo("gitops", "../../examples/gitops")
	if err := errors.Join(err1, err2, err3, err4, gitops.Write("apps/"+innocent, nil), gitops.Write("apps/"+second, nil)); err != nil {
		return err
	}
	w.gitops = gitops
	env := map[string]string{attacker: "", second: "http_port => 8086", innocent: "interval => 100"}
	for name, repo := range map[string]*stage.Repo{attacker: a, second: c, innocent: p} {
		text := fmt.Sprintf(`#{name => %s, version => <<"1.0.0">>, isolation => vm,
  source => #{type => git, url => <<"%s">>, ref => <<"main">>}, env => #{%s}}.`, name, repo.URL(), env[name])
		if err := gitops.Write("apps/"+name+"/app.config", []byte(text)); err != nil {
			return err
		}
	}
	return gitops.Commit("Ask for three guests")
}

// startDaemon starts sandboxd with the policy of the mode, a new one where one
// ran, and waits until the three guests are healthy.
func (w *world) startDaemon(ctx context.Context) error {
	if w.daemon != nil {
		if err := w.daemon.Stop(20 * time.Second); err != nil {
			return err
		}
	}
	d, err := w.StartDaemon(ctx, stage.Options{Repo: w.gitops, HostNode: w.host.Name, Messages: messages(w.mode)})
	if err != nil {
		return err
	}
	w.daemon = d
	if err := d.AwaitHealthy(ctx, attacker, second, innocent); err != nil {
		return err
	}
	return d.Await(ctx, "the guests are linked in mode "+string(w.mode), func(h status.Host) bool {
		for _, a := range h.Apps {
			if !a.Linked || a.Name != innocent && a.Messages != shown(w.mode) {
				return false
			}
		}
		return true
	})
}

// messages is the policy as an operator would write it for apps with a purpose:
// a PubSub with two topics, a process group, one name of the host VM.
func messages(m policy.Mode) string {
	return fmt.Sprintf(`#{attacker => %[1]s, counter => %[1]s, pulse => %[2]s}`, fmt.Sprintf(`#{mode => %s,
  pubsubs => [#{name => 'Elixir.Attacked', topics => [<<"updates">>, <<"room:*">>],
    dispatchers => ['Elixir.Phoenix.PubSub', 'Elixir.Phoenix.Channel.Server']}],
  groups => [#{scope => attack_scope, names => [own]}],
  allow => [#{to => attack_sink, kind => info}],
  limits => #{atoms => 200, messages => -1, bytes => -1, handshakes => -1, closes => 64}}`, m), `#{groups => [#{scope => beamsandbox_demo, names => [pulse],
  message => {pulse, '$atom', '$string', '$integer'}}]}`)
}

// shown is how status tells of a mode.
func shown(m policy.Mode) string {
	if m == policy.Enforce {
		return ""
	}
	return string(m)
}
