//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/control"
	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

const (
	demoPubSub    = "Elixir.Demo.PubSub"
	demoComponent = "Elixir.Demo.StatsComponent"
	elixirCode    = "/usr/lib/elixir/lib/elixir/ebin"
)

// showingPulse is pulse with a LiveComponent, asked for its health so seldom
// that what a test breaks for a moment starts nothing anew.
func (w *world) showingPulse(title string) string {
	config := w.pulseConfig("pulse", "", 18085)
	config = strings.Replace(config, "interval => 1000", "interval => 60000", 1)
	return strings.Replace(config, "interval => 200", fmt.Sprintf(`interval => 200, liveview_components => [
    #{id => stats, module => '%s', title => <<"%s">>, description => <<"Beats">>,
      pubsub => '%s', topic => <<"stats:updates">>, update_assign => stats}]`, demoComponent, title, demoPubSub), 1)
}

// teach loads a module into the host VM: one of testdata, or one that has
// nothing in it.
func (w *world) teach(t *testing.T, module string) {
	t.Helper()
	dir := t.TempDir()
	source, err := os.ReadFile(filepath.Join("testdata", module+".erl"))
	if os.IsNotExist(err) {
		source, err = []byte("-module('"+module+"').\n"), nil
	}
	must(t, err)
	file := filepath.Join(dir, module+".erl")
	must(t, os.WriteFile(file, source, 0o600))
	if out, err := exec.Command("erlc", "-o", dir, file).CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", module, err, out)
	}
	beam, err := os.ReadFile(filepath.Join(dir, module+".beam"))
	must(t, err)
	answer := mustHost(t, "code", "load_binary", term.Atom(module), term.String(module+".beam"), term.Binary(beam))
	if !term.Equal(answer, term.Tuple{term.Atom("module"), term.Atom(module)}) {
		t.Fatalf("load %s: %s", module, term.Format(answer))
	}
}

// unteach takes a module out of the host VM again.
func (w *world) unteach(t *testing.T, module string) {
	t.Helper()
	for _, f := range []string{"purge", "delete", "purge"} {
		mustHost(t, "code", f, term.Atom(module))
	}
}

// doctor runs sandboxctl doctor for pulse.
func (w *world) doctor(t *testing.T) (checks map[string]status.Check, all string) {
	t.Helper()
	return w.doctorOf(t, "pulse")
}

// doctorOf is doctor for an app; there are no checks, only an error, of one that
// sandboxd has not heard of yet.
func (w *world) doctorOf(t *testing.T, app string) (checks map[string]status.Check, all string) {
	t.Helper()
	out, err := w.Ctl("doctor", app, "--json") // a check that fails is an exit code
	var list []status.Check
	if json.Unmarshal([]byte(out), &list) != nil {
		return nil, fmt.Sprint(out, err)
	}
	checks = map[string]status.Check{}
	for _, c := range list {
		checks[c.Name] = c
		all += fmt.Sprintf("%s %s %s: %s => %s\n", c.Verdict, c.App, c.Name, c.Found, c.Cure)
	}
	return checks, all
}

// wantCheck waits until a check is as expected.
func (w *world) wantCheck(t *testing.T, name string, v status.Verdict, found, cure string) {
	t.Helper()
	w.wantCheckOf(t, "pulse", name, v, found, cure)
}

func (w *world) wantCheckOf(t *testing.T, app, name string, v status.Verdict, found, cure string) {
	t.Helper()
	end := time.Now().Add(40 * time.Second)
	for {
		checks, all := w.doctorOf(t, app)
		c := checks[name]
		if c.Verdict == v && strings.Contains(c.Found, found) && strings.Contains(c.Cure, cure) && (v == status.OK) == (c.Cure == "") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("check %s is not %s with %q and %q:\n%s", name, v, found, cure, all)
		}
	}
}

func (w *world) wantWell(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		w.wantCheck(t, n, status.OK, "", "")
	}
}

// atGuest evaluates expressions in pulse, past the gateway.
func atGuest(t *testing.T, g *control.Node, text string) {
	t.Helper()
	call(t, g, "erl_eval", "exprs", parsed(t, g, strings.ReplaceAll(text, "HOST", "'"+w.host.Name+"'")), term.List{})
}

// TestDoctor breaks one thing after the other for real: each check is well
// before, names what is wrong and what to do, and is well again afterwards.
func TestDoctor(t *testing.T) {
	w.have(t, map[string]string{"pulse": w.showingPulse("Stats")})
	w.wantWell(t, "kernel", "cgroups", "nftables", "runc", "hostname", "epmd", "root_rights", "cookie_files", "disk_space", "daemon",
		"repository", "gateway", "host_registered", "host_cookie", "host_name", "host_nodes", "host_telemetry",
		"app", "guest_registered", "guest_node", "guest_cookie", "guest_link", "guest_ping", "applications")
	g := w.guest(t, "pulse")
	t.Run("cookie of the host VM", func(t *testing.T) {
		cookie := mustHost(t, "erlang", "get_cookie")
		mustHost(t, "erlang", "set_cookie", term.Atom("another_one"))
		defer mustHost(t, "erlang", "set_cookie", cookie)
		w.wantCheck(t, "host_cookie", status.Fail, "another cookie", "erlang:get_cookie() on the host VM")
		_, all := w.doctor(t)
		if text, _ := term.Text(cookie); strings.Contains(all, text) {
			t.Error("a cookie is printed")
		}
	})
	t.Run("cookie of the guest", func(t *testing.T) {
		own, err := w.GuestCookie("pulse")
		must(t, err)
		atGuest(t, g, "erlang:set_cookie(another_one).")
		w.wantCheck(t, "guest_cookie", status.Fail, "has changed its cookie", "take -setcookie out")
		mustHost(t, "erlang", "disconnect_node", term.Atom(w.Node("pulse")))
		w.wantCheck(t, "guest_link", status.Fail, "cookies differ", "host_cookie and guest_cookie")
		atGuest(t, g, "erlang:set_cookie('"+own+"').")
		must(t, stage.Until(within(t, 40*time.Second), "the host VM is connected again", func() bool {
			return mustHost(t, "net_kernel", "connect_node", term.Atom(w.Node("pulse"))) == term.Term(term.Atom("true"))
		}))
		w.wantWell(t, "host_cookie", "guest_cookie", "guest_link", "guest_ping")
	})
	t.Run("nodes of the host VM", brokenNodes)
	t.Run("Macula", brokenMacula)
	t.Run("node of the guest", func(t *testing.T) {
		atGuest(t, g, "register(healer, spawn(fun() -> receive ill -> sys:suspend(rex) end, receive well -> sys:resume(rex) end end)).")
		must(t, g.Send("healer", term.Atom("ill")))
		func() {
			defer func() { must(t, g.Send("healer", term.Atom("well"))) }()
			// Whoever gives up first says so: the gateway, or who asked it.
			w.wantCheck(t, "guest_node", status.Fail, "context deadline exceeded", "sandboxctl logs pulse")
		}()
		w.wantWell(t, "guest_node", "guest_cookie")
	})
	t.Run("another app", func(t *testing.T) {
		must(t, w.gitops.Write("apps/wrong/app.config", []byte("#{name => wrong")))
		must(t, w.gitops.Commit("Ask for an app that cannot be read"))
		must(t, w.daemon.Sync(t.Context()))
		w.wantCheckOf(t, "wrong", "app", status.Fail, "apps/wrong/app.config:1", "sandboxctl validate")
		must(t, w.gitops.Write("apps/wrong/app.config", nil))
		must(t, w.gitops.Commit("Do not ask for it"))
		must(t, w.daemon.Sync(t.Context()))
		w.wantWell(t, "app", "repository")
	})
	t.Run("application", func(t *testing.T) {
		atGuest(t, g, "application:stop(pulse).")
		w.wantCheck(t, "applications", status.Fail, "pulse does not run there, but:", "application:ensure_all_started(pulse)")
		atGuest(t, g, "application:start(pulse).")
		w.wantWell(t, "applications")
	})
	t.Run("ping", func(t *testing.T) {
		atGuest(t, g, "sys:suspend(net_kernel).")
		w.wantCheck(t, "guest_ping", status.Fail, "", "see check")
		atGuest(t, g, "sys:resume(net_kernel).")
		w.wantWell(t, "guest_ping")
	})
	t.Run("gateway", func(t *testing.T) {
		pid, err := stage.PidOf("sandbox-gateway", w.RunDir)
		must(t, err)
		must(t, syscall.Kill(pid, syscall.SIGSTOP))
		defer syscall.Kill(pid, syscall.SIGCONT) //nolint:errcheck // it may have ended
		w.wantCheck(t, "gateway", status.Fail, "list gateway members", "gateway.log")
		must(t, syscall.Kill(pid, syscall.SIGCONT))
		w.wantWell(t, "gateway", "guest_link")
	})
	t.Run("repository", func(t *testing.T) {
		must(t, w.gitops.Write("secret.txt", []byte(w.Cookie)))
		must(t, w.gitops.Commit("Leak a cookie"))
		must(t, w.daemon.Sync(t.Context()))
		w.wantCheck(t, "repository", status.Fail, "secret.txt holds the cluster's cookie", "mend what it names")
		must(t, w.gitops.Write("secret.txt", nil))
		must(t, w.gitops.Commit("Take it out"))
		must(t, w.daemon.Sync(t.Context()))
		w.wantWell(t, "repository")
	})
	t.Run("daemon", func(t *testing.T) {
		w.daemon.Kill()
		w.wantCheck(t, "daemon", status.Fail, "were not looked at", "systemctl start sandboxd")
		if checks, all := w.doctor(t); checks["kernel"].Verdict != status.OK || checks["host_cookie"].Name != "" {
			t.Errorf("without a daemon:\n%s", all)
		}
		d, err := w.RestartDaemon(within(t, 20*time.Second))
		must(t, err)
		w.daemon = d
		must(t, d.AwaitHealthy(within(t, 30*time.Second), "pulse"))
		w.wantWell(t, "daemon", "app")
	})
	t.Run("components", func(t *testing.T) { brokenComponents(t, g) })
	t.Run("messages", func(t *testing.T) {
		before, all := w.doctor(t)
		if c := before["guest_messages"]; c.Verdict != status.OK {
			t.Errorf("before:\n%s", all)
		}
		atGuest(t, g, "{init, HOST} ! {stop, stop}, catch gen_tcp:connect({192, 0, 2, 1}, 80, [], 300).")
		w.wantCheck(t, "guest_messages", status.Warn, "refused: name 1", "sandboxd.policy")
		w.wantCheck(t, "guest_network", status.Warn, "packets dropped", "docs/network.md")
	})
	t.Run("host VM", func(t *testing.T) {
		must(t, w.host.Stop())
		w.wantCheck(t, "host_registered", status.Fail, "knows no demo_web", "start the host VM with -sname demo_web")
		host, err := w.StartHost(within(t, 20*time.Second), "demo_web")
		must(t, err)
		w.host = host
		w.wantWell(t, "host_registered", "host_cookie", "guest_link")
	})
	t.Run("name of the guest", func(t *testing.T) {
		pid := w.daemon.App(t.Context(), "pulse").Pid
		atGuest(t, g, "exit(whereis(erl_epmd), kill).")
		w.wantCheck(t, "guest_registered", status.Fail, "holds no name", "sandboxctl logs pulse")
		must(t, syscall.Kill(int(pid), syscall.SIGKILL))
		w.wantWell(t, "app", "guest_registered", "guest_link", "applications")
	})
}

// brokenNodes: a host VM that connected its guest as a hidden node, and one that
// cannot connect it.
func brokenNodes(t *testing.T) {
	pulse := term.Atom(w.Node("pulse"))
	must(t, stage.Until(within(t, 40*time.Second), "pulse is a hidden node", func() bool {
		mustHost(t, "erlang", "disconnect_node", pulse)
		mustHost(t, "net_kernel", "hidden_connect_node", pulse) // sandboxd connects it too, and may be first
		hidden, _ := mustHost(t, "erlang", "nodes", term.Atom("hidden")).(term.List)
		return slices.Contains(hidden.Elems, term.Term(pulse))
	}))
	w.wantCheck(t, "host_nodes", status.Fail, "lacks "+string(pulse), "erlang:disconnect_node('"+string(pulse)+"')")
	mustHost(t, "erlang", "disconnect_node", pulse) // as it says
	w.wantWell(t, "host_nodes", "guest_link")

	cookie := mustHost(t, "erlang", "get_cookie")
	mustHost(t, "erlang", "set_cookie", pulse, term.Atom("another_one"))
	mustHost(t, "erlang", "disconnect_node", pulse)
	w.wantCheck(t, "host_nodes", status.Fail, "lacks "+string(pulse)+", which has its name and waits", "net_kernel:connect_node('"+string(pulse)+"')")
	w.wantCheck(t, "guest_link", status.Fail, "cookies differ", "host_cookie and guest_cookie")
	mustHost(t, "erlang", "set_cookie", pulse, cookie)
	must(t, stage.Until(within(t, 40*time.Second), "the host VM is connected again", func() bool {
		return mustHost(t, "net_kernel", "connect_node", pulse) == term.Term(term.Atom("true"))
	}))
	w.wantWell(t, "host_nodes", "guest_link", "guest_ping")
}

// brokenMacula: a host VM whose Macula does not do what it is asked.
func brokenMacula(t *testing.T) {
	loadOnHost(t, "macula", "-module(macula).\n-export([ensure_distributed/0]).\nensure_distributed() -> {error, no_cluster}.\n")
	must(t, w.daemon.Sync(t.Context()))
	w.wantCheck(t, "host_macula", status.Fail, "no_cluster", "docs/macula.md")
	loadOnHost(t, "macula", "-module(macula).\n-export([ensure_distributed/0]).\nensure_distributed() -> ok.\n")
	must(t, w.daemon.Sync(t.Context()))
	w.wantCheck(t, "host_macula", status.OK, "asked for 1 of 5", "")
	unloadFromHost(t, "macula")
	must(t, w.daemon.Sync(t.Context()))
	w.wantWell(t, "host_nodes")
}

// brokenComponents: a component whose module, PubSub, adapter or subscriber is
// not there.
func brokenComponents(t *testing.T, g *control.Node) {
	w.wantCheck(t, "component", status.Fail, "cannot load "+demoComponent, "add pulse to the host VM's dependencies")
	w.wantCheck(t, "host_pubsub", status.Fail, demoPubSub+" does not run there", "start {Phoenix.PubSub, name: "+demoPubSub)
	w.wantCheck(t, "guest_pubsub", status.Fail, demoPubSub+" does not run there", "in pulse's supervisor")
	w.teach(t, demoComponent)
	w.wantCheck(t, "component", status.OK, "stats is published", "")

	w.teach(t, "doctor_host")
	mustHost(t, "code", "add_pathz", term.String(elixirCode))
	pubsub, adapter := term.Atom(demoPubSub), term.Atom("Elixir.Phoenix.PubSub.PG2")
	mustHost(t, "doctor_host", "pubsub", pubsub, adapter)
	w.wantCheck(t, "host_pubsub", status.OK, "runs over pg", "")

	mustHost(t, "sys", "suspend", term.Atom("Elixir.Phoenix.PubSub"))
	atGuest(t, g, `pg:start('Elixir.Phoenix.PubSub'), S = self(), spawn(fun() ->
		ok = pg:join('Elixir.Phoenix.PubSub', 'Elixir.Demo.PubSub.Adapter', self()), S ! joined, receive stop -> ok end end),
		receive joined -> ok end.`)
	w.wantCheck(t, "guest_pubsub", status.OK, "runs over pg", "")
	w.wantCheck(t, "pubsub_joined", status.Fail, "does not know the guest's", "must be in a liveview_component")
	mustHost(t, "sys", "resume", term.Atom("Elixir.Phoenix.PubSub"))
	w.wantCheck(t, "pubsub_joined", status.OK, "knows the guest's", "")

	w.wantCheck(t, "pubsub_subscribed", status.Warn, "nobody on the host VM subscribes", `Phoenix.PubSub.subscribe(`+demoPubSub+`, "stats:updates")`)
	mustHost(t, "doctor_host", "subscribe", pubsub, term.Binary("stats:updates"))
	w.wantCheck(t, "pubsub_subscribed", status.OK, "1 processes", "")

	mustHost(t, "doctor_host", "adapter", pubsub, term.Atom("Elixir.Phoenix.PubSub.Redis"))
	w.wantCheck(t, "pubsub_adapter", status.Fail, "uses Elixir.Phoenix.PubSub.Redis", "its default is Phoenix.PubSub.PG2")
	mustHost(t, "doctor_host", "adapter", pubsub, adapter)
	w.wantWell(t, "host_pubsub", "pubsub_joined")
}
