package doctor

import (
	"fmt"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// The names that Phoenix.PubSub 2 uses: the pg scope, the adapter over pg and,
// after the PubSub's own name, its worker's.
const (
	pubsubScope   = "Elixir.Phoenix.PubSub"
	pgAdapter     = "Elixir.Phoenix.PubSub.PG2"
	adapterSuffix = ".Adapter"
)

// components checks what the app shows in dashboards: is it published, can the
// host VM load it, do its messages arrive.
func (e *examination) components(a status.App) {
	seen := map[string]bool{}
	for _, c := range a.Components {
		e.component(c)
		if key := c.PubSub + " " + c.Topic; c.PubSub != "" && !seen[key] {
			seen[key] = true
			e.pubsub(a, c)
		}
	}
}

func (e *examination) component(c status.Component) {
	name := "component"
	answer, err := e.host("code", "ensure_loaded", term.Atom(c.Module))
	loaded, _ := answer.(term.Tuple)
	switch {
	case err != nil:
		e.bad(name, err.Error(), "see check host_nodes")
	case len(loaded) != 2 || loaded[0] != term.Term(term.Atom("module")):
		e.bad(name, fmt.Sprintf("%s: the host VM cannot load %s: %s", c.ID, c.Module, term.Brief(answer, 80)), "add "+e.subject+" to the host VM's dependencies, for the component's code; Code.ensure_loaded?("+c.Module+") must be true there")
	case !c.Published:
		e.bad(name, fmt.Sprintf("%s is not published: %s", c.ID, c.Problem), "mend what it names; it is published by itself then")
	default:
		e.good(name, fmt.Sprintf("%s is published, the host VM has %s", c.ID, c.Module))
	}
}

// pubsub checks one PubSub on both nodes, and who listens.
func (e *examination) pubsub(a status.App, c status.Component) {
	hostHas := e.pubsubOn("host_pubsub", c.PubSub, e.host, "start {Phoenix.PubSub, name: "+c.PubSub+"} in the host VM: it shares the guest's PubSub under the same name")
	if a.Isolation != string(app.VM) || a.Pid == 0 || !a.Linked {
		return
	}
	guestHas := e.pubsubOn("guest_pubsub", c.PubSub, e.guest, "start {Phoenix.PubSub, name: "+c.PubSub+"} in "+a.Name+"'s supervisor, with its default adapter")
	if hostHas && guestHas {
		e.joined(a, c.PubSub)
	}
	if hostHas {
		e.subscribed(c)
	}
}

// pubsubOn checks that a PubSub runs in a node, over pg.
func (e *examination) pubsubOn(name, pubsub string, ask call, cure string) bool {
	pid, err := ask("erlang", "whereis", term.Atom(pubsub))
	if err != nil {
		e.bad(name, err.Error(), "see check guest_link")
		return false
	}
	worker := term.Atom(pubsub + adapterSuffix)
	if _, running := pid.(term.Pid); running {
		adapter, name := adapterOf(ask, pubsub)
		if adapter != "" && adapter != pgAdapter {
			e.bad("pubsub_adapter", fmt.Sprintf("%s uses %s, which does not speak to other nodes over pg", pubsub, adapter), "leave adapter: out of {Phoenix.PubSub, name: "+pubsub+"}: its default is Phoenix.PubSub.PG2")
			return false
		}
		if name != "" {
			worker = term.Atom(name)
		}
	}
	members, err := ask("pg", "get_local_members", term.Atom(pubsubScope), worker)
	if err != nil || len(elems(members)) == 0 {
		e.bad(name, fmt.Sprintf("%s does not run there, or not over pg", pubsub), cure)
		return false
	}
	e.good(name, pubsub+" runs over pg")
	return true
}

// adapterOf is Registry.meta(pubsub, :pubsub), which is {:ok, {Adapter, Name}};
// empty where there is no Elixir to ask.
func adapterOf(ask call, pubsub string) (adapter, name string) {
	answer, err := ask("Elixir.Registry", "meta", term.Atom(pubsub), term.Atom("pubsub"))
	ok, _ := answer.(term.Tuple)
	if err != nil || len(ok) != 2 {
		return "", ""
	}
	pair, _ := ok[1].(term.Tuple)
	if len(pair) != 2 {
		return "", ""
	}
	adapter, _ = term.Text(pair[0])
	name, _ = term.Text(pair[1])
	return adapter, name
}

// joined checks that the host VM's PubSub knows the guest's: only then do
// broadcasts reach it.
func (e *examination) joined(a status.App, pubsub string) {
	const name = "pubsub_joined"
	_, group := adapterOf(e.host, pubsub)
	if group == "" {
		group = pubsub + adapterSuffix
	}
	members, err := e.host("pg", "get_members", term.Atom(pubsubScope), term.Atom(group))
	if err != nil {
		e.bad(name, err.Error(), "see check host_pubsub")
		return
	}
	for _, m := range elems(members) {
		if pid, ok := m.(term.Pid); ok && string(pid.Node) == a.Node {
			e.good(name, fmt.Sprintf("the host VM's %s knows the guest's", pubsub))
			return
		}
	}
	e.bad(name, fmt.Sprintf("the host VM's %s does not know the guest's", pubsub), "see check guest_messages for what was refused: "+pubsub+" must be in a liveview_component of the app or in its pubsubs in sandboxd.policy")
}

// subscribed checks that somebody on the host VM hears the topic.
func (e *examination) subscribed(c status.Component) {
	const name = "pubsub_subscribed"
	answer, err := e.host("Elixir.Registry", "lookup", term.Atom(c.PubSub), term.Binary(c.Topic))
	switch n := len(elems(answer)); {
	case err != nil:
		e.doubtful(name, "cannot be told: "+err.Error(), "see that a process of the host VM subscribes to "+c.Topic)
	case n == 0:
		e.doubtful(name, fmt.Sprintf("nobody on the host VM subscribes to %s of %s", c.Topic, c.PubSub), fmt.Sprintf("Phoenix.PubSub.subscribe(%s, %q) in the LiveView that shows it; one that is open in no browser subscribes to nothing", c.PubSub, c.Topic))
	default:
		e.good(name, fmt.Sprintf("%d processes on the host VM subscribe to %s", n, c.Topic))
	}
}
