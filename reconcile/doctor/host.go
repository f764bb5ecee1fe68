package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/control"
	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/doctor/machine"
	"beamsandbox/reconcile/status"
)

// self is the name that a trial connection to the host VM has.
const self = "sandboxd_doctor"

// repository says whether the newest commit was read.
func (e *examination) repository() {
	const name = "repository"
	s := e.Status
	commit := s.Commit[:min(12, len(s.Commit))]
	switch {
	case s.Error != "":
		e.bad(name, s.Error, "mend what it names; what runs goes on, and the next look is at most one reconcile_interval away")
	case commit == "":
		e.doubtful(name, "no commit was read yet", "wait a moment; then see sandboxd's log")
	default:
		e.good(name, fmt.Sprintf("commit %s, looked at %s ago", commit, time.Since(s.Fetched).Round(time.Second)))
	}
}

// gateway asks the gateway for its members.
func (e *examination) gateway() {
	const name = "gateway"
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	nodes, err := e.Guests.List(ctx)
	if err != nil {
		e.bad(name, err.Error(), "see gateway.log in run_dir; sandboxd starts it again by itself")
		return
	}
	e.nodes = map[app.Name]distribution.Node{}
	for _, n := range nodes {
		e.nodes[n.Name] = n
	}
	e.good(name, fmt.Sprintf("answers, %d members", len(nodes)))
}

// hostVM checks the leg between the host VM and us, which is the gateway's too.
func (e *examination) hostVM() {
	if e.hostRegistered() && e.hostAccepts() {
		e.hostNodes()
		e.telemetry()
		e.macula()
	}
}

// hostRegistered checks that the port mapper knows the host VM.
func (e *examination) hostRegistered() bool {
	const name = "host_registered"
	node := e.Status.HostNode
	alive, _, _ := strings.Cut(node, "@")
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	info, err := epmd.Lookup(ctx, e.EPMD, alive)
	switch {
	case errors.Is(err, epmd.ErrNotFound):
		e.bad(name, fmt.Sprintf("the port mapper knows no %s", alive), fmt.Sprintf("start the host VM with -sname %s, or name the one that runs (sandboxd.host_node); 'epmd -names' lists those that do", alive))
		return false
	case err != nil:
		e.bad(name, err.Error(), "see check epmd")
		return false
	}
	e.good(name, fmt.Sprintf("%s at port %d, %s", alive, info.Port, machine.Holder(info.Port)))
	return true
}

// hostAccepts makes a new connection: that the old one lasts says nothing about
// the next.
func (e *examination) hostAccepts() bool {
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	err := e.Host.Try(ctx, self+"@"+e.Hostname)
	switch {
	case errors.Is(err, wire.ErrCookie):
		e.bad("host_cookie", "the host VM has another cookie: "+err.Error(), "give both the same: erlang:get_cookie() on the host VM, and bc_gitops.cookie, RELEASE_COOKIE or ~/.erlang.cookie for sandboxd (docs/config.md); then restart sandboxd")
	case errors.Is(err, control.ErrOtherNode):
		e.good("host_cookie", "the cookies agree")
		e.bad("host_name", err.Error(), fmt.Sprintf("start the host VM with -sname and without a host of its own: node() must be '%s'", e.Status.HostNode))
	case err != nil:
		e.bad("host_connection", err.Error(), "see that the host VM's distribution listens where the machine's short name resolves, that it runs OTP 25 or later, and that both or neither of you speak TLS on this leg (docs/tls.md)")
	default:
		e.good("host_cookie", "the cookies agree")
		e.good("host_name", e.Status.HostNode)
		e.hostUp = true
	}
	return e.hostUp
}

// hostNodes lists the nodes that the host VM is connected to.
func (e *examination) hostNodes() {
	const name = "host_nodes"
	answer, err := e.host("erlang", "nodes")
	if err != nil {
		e.bad(name, err.Error(), "see that the host VM answers calls (rpc:call): its rex process must run")
		e.hostUp = false
		return
	}
	var names []string
	for _, n := range elems(answer) {
		if a, ok := n.(term.Atom); ok {
			names = append(names, string(a))
		}
	}
	slices.Sort(names)
	for _, a := range e.Status.Apps {
		if found, cure := e.lacking(a, names); found != "" {
			e.bad(name, found, cure)
			return
		}
	}
	if len(names) == 0 {
		names = []string{"none"}
	}
	e.good(name, "connected: "+strings.Join(names, ", "))
}

// lacking says what is wrong with nodes() on the host VM where an app that has a
// node of its own is not among them: nothing that goes by nodes(), PubSub
// included, knows it then.
func (e *examination) lacking(a status.App, names []string) (found, cure string) {
	member, known := e.nodes[app.Name(a.Name)]
	switch {
	case !known || slices.Contains(names, member.Node):
		return "", ""
	case member.Up:
		return fmt.Sprintf("nodes() lacks %s, which is connected as a hidden node", member.Node),
			"start the host VM without -hidden; erlang:disconnect_node('" + member.Node + "') there has it connect anew"
	case member.Registered:
		return fmt.Sprintf("nodes() lacks %s, which has its name and waits", member.Node),
			"net_kernel:connect_node('" + member.Node + "') on the host VM; check guest_link says why it is not connected"
	}
	return "", ""
}

// telemetry says whether events are executed. That they are not is no fault.
func (e *examination) telemetry() {
	const name = "host_telemetry"
	answer, err := e.host("erlang", "function_exported", term.Atom("telemetry"), term.Atom("execute"), term.Int(3))
	switch {
	case err != nil:
		e.bad(name, err.Error(), "see check host_nodes")
	case answer == term.Term(term.Atom("true")):
		e.good(name, "loaded, events are executed")
	default:
		e.good(name, "not loaded, no events are executed")
	}
}

// macula says what the host VM's Macula is asked for, where there is one.
func (e *examination) macula() {
	const name = "host_macula"
	switch m := e.Status.Macula; {
	case m == nil:
	case m.Error != "":
		e.bad(name, m.Error, "see the host VM's log; docs/macula.md says what is asked of it")
	default:
		e.good(name, fmt.Sprintf("asked for %d of %d functions", len(m.Asked), len(m.Asked)+len(m.Own)))
	}
}
