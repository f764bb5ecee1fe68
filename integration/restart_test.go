//go:build integration

package integration

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

// TestDaemonKilled: kill -9 of sandboxd changes nothing for guests, links or
// status.
func TestDaemonKilled(t *testing.T) {
	w.have(t, map[string]string{
		"pulse":   w.pulseConfig("pulse", "", 18085),
		"counter": w.counterConfig("vm", "http_port => 18086"),
	})
	before, changed := facts(t), len(changes(t))
	w.daemon.Kill()
	waitForBeat(t, "pulse", "1.0.0") // links live without sandboxd
	d, err := w.RestartDaemon(within(t, 20*time.Second))
	must(t, err)
	w.daemon = d
	must(t, d.AwaitHealthy(within(t, 30*time.Second), "pulse", "counter"))
	if after := facts(t); !maps.Equal(before, after) {
		t.Errorf("facts changed: before %v, after %v", before, after)
	}
	if c := changes(t)[changed:]; len(c) > 0 {
		t.Errorf("the host VM saw %v", c)
	}
}

// fact is what must not change about an app over a restart of sandboxd.
type fact struct {
	pid                                     uint32
	restarts                                int
	version, node, address, image, revision string
	phase                                   status.Phase
	linked                                  bool
}

func facts(t *testing.T) map[string]fact {
	t.Helper()
	h, err := w.daemon.Status(t.Context())
	must(t, err)
	out := map[string]fact{}
	for _, a := range h.Apps {
		out[a.Name] = fact{a.Pid, a.Restarts, a.Version, a.Node, a.Address, a.Image, a.Revision, a.Phase, a.Linked}
	}
	return out
}

// TestGuestKilled: a guest that dies in any way comes back, and the other one
// and the host VM go on.
func TestGuestKilled(t *testing.T) {
	w.twoGuests(t)
	before, changed := w.daemon.App(t.Context(), "pulse"), len(changes(t))
	must(t, syscall.Kill(int(before.Pid), syscall.SIGKILL))
	must(t, w.daemon.Await(within(t, 30*time.Second), "pulse is back", func(h status.Host) bool {
		a := appOf(h, "pulse")
		return a.Phase == status.Healthy && a.Pid != before.Pid
	}))
	w.cameBack(t, "pulse", changed)
	waitForBeat(t, "pulse", "1.0.0")
}

// TestHostRestarts: the host VM may be gone; guests go on and are linked again
// when it is back, and embedded apps are loaded again.
func TestHostRestarts(t *testing.T) {
	w.have(t, map[string]string{
		"pulse":   w.pulseConfig("pulse", "", 18085),
		"counter": w.counterConfig("embedded", ""),
	})
	pid := w.daemon.App(t.Context(), "pulse").Pid
	must(t, w.host.Stop())
	must(t, w.daemon.Await(within(t, 30*time.Second), "the host VM is seen to be gone", func(h status.Host) bool {
		return !h.HostUp && !appOf(h, "pulse").Linked
	}))
	host, err := w.StartHost(within(t, 20*time.Second), "demo_web")
	must(t, err)
	w.host = host
	must(t, w.daemon.AwaitHealthy(within(t, 60*time.Second), "pulse", "counter"))
	if now := w.daemon.App(t.Context(), "pulse").Pid; now != pid {
		t.Errorf("the guest's pid changed from %d to %d with the host VM's restart", pid, now)
	}
	mustHost(t, "counter", "value")
	waitForBeat(t, "pulse", "1.0.0")
}

// TestGatewayKilled: a new gateway takes over with every member.
func TestGatewayKilled(t *testing.T) {
	must(t, w.endStar(t.Context()))
	w.twoGuests(t)
	pid := w.daemon.App(t.Context(), "pulse").Pid
	gateway, err := stage.PidOf("sandbox-gateway", w.RunDir)
	must(t, err)
	must(t, syscall.Kill(gateway, syscall.SIGKILL))
	must(t, w.daemon.Await(within(t, 40*time.Second), "another gateway carries both links", func(h status.Host) bool {
		now, err := stage.PidOf("sandbox-gateway", w.RunDir)
		return err == nil && now != gateway && h.Gateway && appOf(h, "pulse").Linked && appOf(h, "counter").Linked
	}))
	must(t, w.daemon.AwaitHealthy(within(t, 30*time.Second), "pulse", "counter"))
	if now := w.daemon.App(t.Context(), "pulse").Pid; now != pid {
		t.Errorf("the guest was started again: pid %d, then %d", pid, now)
	}
}

// TestGatewayReplaced: sandboxd that finds another sandbox-gateway installed
// than the one that serves has it take over, and nobody notices: not the host
// VM, not the guests, not who waits for an answer.
func TestGatewayReplaced(t *testing.T) {
	w.have(t, map[string]string{
		"pulse":   w.pulseConfig("pulse", "", 18085),
		"counter": w.counterConfig("vm", "http_port => 18086"),
	})
	must(t, stage.Until(within(t, time.Minute), "the host VM sees both guests", func() bool {
		nodes, err := w.host.Nodes(t.Context())
		return err == nil && slices.Contains(nodes, w.Node("pulse")) && slices.Contains(nodes, w.Node("counter"))
	}))
	before, changed := facts(t), len(changes(t))
	installed := w.Bin
	defer func() { // and back again
		w.Bin = installed
		w.replaceDaemon(t)
		must(t, w.daemon.AwaitHealthy(within(t, time.Minute), "pulse", "counter"))
	}()
	for _, bytes := range []string{"newer", "newest"} {
		old, err := stage.PidOf("sandbox-gateway", w.RunDir)
		must(t, err)
		asked := make(chan error, 1)
		go func() {
			_, err := w.host.Call(t.Context(), "rpc", "call", term.Atom(before["pulse"].node), term.Atom("timer"), term.Atom("sleep"), term.List{Elems: []term.Term{term.Int(5000)}})
			asked <- err
		}()
		w.Bin = w.anotherGateway(t, installed, bytes)
		w.replaceDaemon(t)
		must(t, w.daemon.AwaitHealthy(within(t, time.Minute), "pulse", "counter"))
		if now, err := stage.PidOf("sandbox-gateway", w.RunDir); err != nil || now == old {
			t.Errorf("the gateway's pid was %d and is %d, %v", old, now, err)
		}
		if err := <-asked; err != nil {
			t.Errorf("a call under way: %v", err)
		}
		waitForBeat(t, "pulse", "1.0.0")
	}
	if after := facts(t); !maps.Equal(before, after) {
		t.Errorf("facts changed: before %v, after %v", before, after)
	}
	if c := changes(t)[changed:]; len(c) > 0 {
		t.Errorf("the host VM saw %v", c)
	}
}

// anotherGateway is a folder with the programs, whose gateway has some bytes
// more.
func (w *world) anotherGateway(t *testing.T, bin, more string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	entries, err := os.ReadDir(bin)
	must(t, err)
	for _, e := range entries {
		must(t, os.Symlink(filepath.Join(bin, e.Name()), filepath.Join(dir, e.Name())))
	}
	for name, more := range map[string]string{"sandboxd": "", "sandbox-gateway": more} {
		program, err := os.ReadFile(filepath.Join(bin, name))
		must(t, err)
		must(t, os.Remove(filepath.Join(dir, name))) // or it would be followed to where it leads
		must(t, os.WriteFile(filepath.Join(dir, name), append(program, more...), 0o755))
	}
	return dir
}

// replaceDaemon kills sandboxd and starts it again, from where the stage's
// programs are now.
func (w *world) replaceDaemon(t *testing.T) {
	t.Helper()
	w.daemon.Kill()
	d, err := w.RestartDaemon(within(t, time.Minute))
	must(t, err)
	w.daemon = d
}
