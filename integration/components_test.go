//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

// listed is the host VM's list of components, in Erlang's syntax.
func listed(t *testing.T) string {
	t.Helper()
	answer, _ := mustHost(t, "application", "get_env", term.Atom("bc_gitops"), term.Atom("liveview_components")).(term.Tuple)
	if len(answer) != 2 {
		return ""
	}
	return term.Format(answer[1])
}

// awaitListed waits until the list holds what is wanted and not the rest.
func awaitListed(t *testing.T, what string, want []string, not ...string) {
	t.Helper()
	must(t, stage.Until(within(t, 30*time.Second), what, func() bool {
		got := listed(t)
		for _, part := range want {
			if !strings.Contains(got, part) {
				return false
			}
		}
		for _, part := range not {
			if strings.Contains(got, part) {
				return false
			}
		}
		return true
	}))
}

// TestComponentsOnTheHostVM: a dashboard on the host VM finds what apps show,
// also after a change, a restart of the host VM and a removal; what others put
// there stays.
func TestComponentsOnTheHostVM(t *testing.T) {
	foreign := term.Map{{Key: term.Atom("id"), Value: term.Atom("clock")}, {Key: term.Atom("module"), Value: term.Atom("Elixir.Clock")}}
	setForeign := func() {
		mustHost(t, "application", "set_env", term.Atom("bc_gitops"), term.Atom("liveview_components"), term.List{Elems: []term.Term{foreign}})
	}
	w.have(t, map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)})
	setForeign()
	w.have(t, map[string]string{"pulse": w.showingPulse("Stats")})
	awaitListed(t, "the component is listed", []string{
		"id => clock", "app => pulse", "id => stats", "managed_by => sandboxd", "module => '" + demoComponent + "'", "node => pulse@" + w.Hostname,
		"pubsub => '" + demoPubSub + "'", `title => <<"Stats">>`, `topic => <<"stats:updates">>`, "update_assign => stats",
	})
	component := func(ok func(status.Component) bool) func(status.Host) bool {
		return func(h status.Host) bool {
			all := appOf(h, "pulse").Components
			return len(all) == 1 && ok(all[0])
		}
	}
	must(t, w.daemon.Await(within(t, 20*time.Second), "status says that the module is missing", component(func(c status.Component) bool {
		return c.Published && !c.Loadable && strings.Contains(c.Problem, "cannot load "+demoComponent)
	})))

	w.teach(t, demoComponent)
	defer w.unteach(t, demoComponent)
	w.have(t, map[string]string{"pulse": w.showingPulse("Renamed")})
	awaitListed(t, "the change is listed", []string{"id => clock", `title => <<"Renamed">>`}, "Stats\">>")
	must(t, w.daemon.Await(within(t, 20*time.Second), "status says that all is well", component(func(c status.Component) bool {
		return c.Published && c.Loadable && c.Title == "Renamed" && c.Problem == ""
	})))
	out, err := w.Ctl("status", "pulse")
	must(t, err)
	if !strings.Contains(out, "component") || !strings.Contains(out, "published, the host VM has its module") {
		t.Errorf("status does not show the component:\n%s", out)
	}

	must(t, w.host.Stop())
	host, err := w.StartHost(within(t, 20*time.Second), "demo_web")
	must(t, err)
	w.host = host
	awaitListed(t, "a host VM that came back is told", []string{`title => <<"Renamed">>`})
	must(t, w.daemon.AwaitHealthy(within(t, 60*time.Second), "pulse"))

	w.daemon.Kill()
	d, err := w.RestartDaemon(within(t, 20*time.Second))
	must(t, err)
	w.daemon = d
	must(t, d.AwaitHealthy(within(t, 30*time.Second), "pulse"))
	awaitListed(t, "it is still listed once", []string{`title => <<"Renamed">>`})
	if got := listed(t); strings.Count(got, "id => stats") != 1 {
		t.Errorf("after a restart of sandboxd: %s", got)
	}

	w.have(t, map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)})
	awaitListed(t, "nothing is listed", nil, "stats")
	if got := listed(t); got != "" {
		t.Errorf("%s is left", got)
	}
}
