package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"beamsandbox/distribution/control"
	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/doctor/machine"
	"beamsandbox/reconcile/health"
	"beamsandbox/reconcile/status"
)

// app looks at one app.
func (e *examination) app(a status.App) {
	e.subject = a.Name
	defer func() { e.subject = "" }()
	e.phase(a)
	switch {
	case a.Isolation == string(app.Embedded) && e.hostUp:
		e.applications(a, e.host)
	case a.Isolation == string(app.VM) && a.Pid != 0:
		e.guestNode(a)
		e.refusals(a)
	}
	if e.hostUp {
		e.components(a)
	}
}

// phase says where the app is in its life.
func (e *examination) phase(a status.App) {
	const name = "app"
	why := strings.Trim(a.Reason+": "+a.Detail, ": ")
	found := strings.TrimSpace(string(a.Phase) + " " + why)
	switch a.Phase {
	case status.Healthy:
		e.good(name, fmt.Sprintf("healthy, version %s, %d restarts", a.Version, a.Restarts))
	case status.Broken:
		e.bad(name, found, "mend its app.config; 'sandboxctl validate DIR' checks it")
	case status.Quarantined:
		e.bad(name, found, "sandboxctl status "+a.Name+" shows what it sent; mend the app, or allow it in sandboxd.policy (docs/config.md)")
	case status.Failed, status.Backoff, status.Unhealthy:
		e.bad(name, found, "sandboxctl logs "+a.Name+"; docs/operating.md lists the reasons")
	default:
		e.doubtful(name, found, "wait, then sandboxctl status "+a.Name)
	}
}

// guestNode goes the way of a link: name, cookie, link, ping, application.
func (e *examination) guestNode(a status.App) {
	if !e.guestRegistered(a) || !e.guestAnswers(a) {
		return
	}
	e.guestCookie()
	if !e.guestLink(a) || !e.hostUp {
		return
	}
	if e.ping(a) {
		e.applications(a, func(module, function string, args ...term.Term) (term.Term, error) {
			answer, err := e.host("rpc", "call", term.Atom(a.Node), term.Atom(module), term.Atom(function), term.List{Elems: args}, term.Int(patience.Milliseconds()))
			var bad *control.BadRPC
			if errors.As(err, &bad) && bad.Reason == term.Term(term.Atom("notsup")) {
				return e.guest(module, function, args...) // a node that is no BEAM spawns nothing
			}
			return answer, err
		})
	}
}

// guestRegistered checks the guest's name, at the gateway and at the machine's
// port mapper.
func (e *examination) guestRegistered(a status.App) bool {
	const name = "guest_registered"
	node, member := e.nodes[app.Name(a.Name)]
	if !member {
		e.bad(name, "the gateway does not know it", "see check gateway; sandboxd tells it again by itself")
		return false
	}
	alive, _, _ := strings.Cut(node.Node, "@")
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	info, err := epmd.Lookup(ctx, e.EPMD, alive)
	switch {
	case err == nil && info.Port != node.Port:
		e.bad(name, fmt.Sprintf("%s has the name %s", machine.Holder(info.Port), alive), "stop it, or give the app a node_prefix")
		return false
	case errors.Is(err, epmd.ErrNotFound) && node.Error != "":
		e.bad(name, node.Error, "mend what it names")
		return false
	case errors.Is(err, epmd.ErrNotFound):
		e.bad(name, "its BEAM holds no name: it boots, or runs without distribution", "sandboxctl logs "+a.Name+"; the release must start kernel's distribution, and must not stop it")
		return false
	case err != nil:
		e.bad(name, err.Error(), "see check epmd")
		return false
	}
	e.good(name, fmt.Sprintf("%s at port %d, %s", alive, info.Port, machine.Holder(info.Port)))
	return true
}

// guestAnswers asks the guest for its own name.
func (e *examination) guestAnswers(a status.App) bool {
	answer, err := e.guest("erlang", "node")
	switch {
	case err != nil && strings.Contains(err.Error(), wire.ErrCookie.Error()):
		e.badCookie("its BEAM has another cookie than it was given")
	case err != nil:
		e.bad("guest_node", err.Error(), "sandboxctl logs "+a.Name)
	case answer != term.Term(term.Atom(a.Node)):
		e.bad("guest_node", "its node is "+term.Brief(answer, 80), "it must be '"+a.Node+"': the release must not start distribution under a name of its own")
	default:
		e.good("guest_node", a.Node)
		return true
	}
	return false
}

// guestCookie compares the guest's cookie with the one that it was given.
func (e *examination) guestCookie() {
	given, err := e.Cookie(app.Name(e.subject))
	if err != nil {
		e.bad("guest_cookie", err.Error(), "see check cookie_files")
		return
	}
	answer, err := e.guest("erlang", "get_cookie")
	switch text, ok := term.Text(answer); {
	case err != nil:
		e.bad("guest_cookie", err.Error(), "sandboxctl logs "+e.subject)
	case !ok || text != given.Reveal():
		e.badCookie("its BEAM has changed its cookie: the link lasts, the next one will be refused")
	default:
		e.good("guest_cookie", "it is the one that the guest was given")
	}
}

func (e *examination) badCookie(found string) {
	e.bad("guest_cookie", found, "take -setcookie out of vm.args and extra_args, and erlang:set_cookie out of the code: each guest is given a cookie as a file")
}

// guestLink says why there is no link, when there is none.
func (e *examination) guestLink(a status.App) bool {
	const name = "guest_link"
	node := e.nodes[app.Name(a.Name)]
	if node.Up {
		e.good(name, "connected since "+node.Since.Format("2006-01-02 15:04:05"))
		return true
	}
	why, cure := node.Error, "net_kernel:connect_node('"+a.Node+"') on the host VM tries again now; sandboxd does so every 30 s"
	switch {
	case why == "" && !e.hostUp:
		why = "the host VM is not there"
	case why == "":
		why = "nobody has connected yet"
	case strings.Contains(why, wire.ErrCookie.Error()):
		cure = "see checks host_cookie and guest_cookie: one of the two nodes has another cookie than we know"
	}
	e.bad(name, why, cure)
	return false
}

// ping is net_adm:ping/1 on the host VM.
func (e *examination) ping(a status.App) bool {
	const name = "guest_ping"
	answer, err := e.host("net_adm", "ping", term.Atom(a.Node))
	switch {
	case err != nil:
		e.bad(name, err.Error(), "see check host_nodes")
	case answer != term.Term(term.Atom("pong")):
		e.bad(name, "the host VM's ping of "+a.Node+" says "+term.Brief(answer, 80), "see checks guest_link and host_cookie")
	default:
		e.good(name, "pong")
		return true
	}
	return false
}

// applications checks that the app's application runs in its node.
func (e *examination) applications(a status.App, ask call) {
	const name = "applications"
	answer, err := health.Answer(ask("application", "which_applications"))
	if err != nil {
		e.bad(name, err.Error(), "sandboxctl logs "+a.Name)
		return
	}
	var running []string
	for _, t := range elems(answer) {
		if entry, ok := t.(term.Tuple); ok && len(entry) == 3 {
			if n, ok := entry[0].(term.Atom); ok {
				running = append(running, string(n))
			}
		}
	}
	found := strings.Join(running, ", ")
	if !slices.Contains(running, a.Name) {
		e.bad(name, a.Name+" does not run there, but: "+found, "application:ensure_all_started("+a.Name+") says why; sandboxctl logs "+a.Name)
		return
	}
	e.good(name, found)
}

// refusals says what the gateway and the firewall did not pass.
func (e *examination) refusals(a status.App) {
	const name = "guest_messages"
	switch {
	case a.Messages != "":
		e.doubtful(name, "its messages are in mode "+a.Messages+": what the rules refuse passes", "set mode to enforce in sandboxd.policy once the rules allow what it needs")
	case len(a.Refusals) > 0:
		e.doubtful(name, "refused: "+counts(notable(a)), "sandboxctl status "+a.Name+" shows the last ones; what the app needs is allowed in sandboxd.policy (docs/config.md)")
	default:
		e.good(name, "none refused that a well-behaved guest does not send")
	}
	if len(a.Drops) > 0 {
		e.doubtful("guest_network", "packets dropped: "+counts(a.Drops), "docs/network.md says what each rule is for, and how to open a port")
	} else {
		e.good("guest_network", "no packets dropped")
	}
}

// notable are the counters by rule without those of messages that any node
// sends, of which the gateway keeps no record.
func notable(a status.App) map[string]uint64 {
	rules := map[string]uint64{}
	for _, r := range a.Refusals {
		rules[r.Rule] = a.Refused[r.Rule]
	}
	return rules
}

func counts(m map[string]uint64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}
