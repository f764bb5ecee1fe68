package reconcile

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"beamsandbox/distribution"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/health"
	"beamsandbox/reconcile/status"
)

// RotateCluster gives the host VM, and the nodes of its cluster, a new cookie.
// Links stay. Detail says where the operator has to write it. It needs the
// host VM: without it nothing is begun. Once begun it does not end because ctx
// does: half of the nodes would be left with a cookie that nobody keeps.
func (r *Reconciler) RotateCluster(ctx context.Context) (status.Rotation, error) {
	r.keys.one.Lock()
	defer r.keys.one.Unlock()
	if _, err := health.Answer(r.host.Call(ctx, "erlang", "node")); err != nil {
		return status.Rotation{}, fmt.Errorf("rotate the cluster's cookie: the host VM must take part: %w", err)
	}
	if _, err := r.cookies.Begin(clusterCookie); err != nil {
		return status.Rotation{}, err
	}
	detail, err := r.rotateCluster(context.WithoutCancel(ctx))
	return r.outcome("", detail, err), nil
}

// rotateCluster is rotateGuest for the cookie that the host VM and the gateway
// share.
func (r *Reconciler) rotateCluster(ctx context.Context) (detail string, err error) {
	both, err := r.clusterKeys()
	if err != nil {
		return "", err
	}
	if err := r.rekeyHosts(ctx, both, nil); err != nil {
		return "", err
	}
	others, err := r.clusterTakes(ctx, both)
	if errors.Is(err, errRefused) {
		undo := func() error { return r.cookies.Abandon(clusterCookie) }
		return "", oneLine(errors.Join(err, r.rekeyHosts(ctx, distribution.Cookie{Now: both.Now}, undo)))
	}
	if err != nil {
		return "", err
	}
	kept, err := r.keepOnHost(ctx, both)
	if err != nil {
		return "", err
	}
	commit := func() error { return r.cookies.Commit(clusterCookie) }
	return r.advice(kept, others), r.rekeyHosts(ctx, distribution.Cookie{Now: both.Next}, commit)
}

// rekeyHosts makes the gateway know c as the cookie of the host VM's leg of
// every member, then calls after, before anybody can hand on an older one.
func (r *Reconciler) rekeyHosts(ctx context.Context, c distribution.Cookie, after func() error) error {
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	nodes, err := r.rooms.Nodes.List(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := r.rooms.Nodes.Rekey(ctx, n.Name, distribution.Keys{Host: &c}); err != nil {
			return err
		}
	}
	if after == nil {
		return nil
	}
	return after()
}

// clusterTakes gives the new cookie to the nodes that the host VM is connected
// to, guests apart, and then to the host VM. One that does not take it undoes
// the others.
func (r *Reconciler) clusterTakes(ctx context.Context, c distribution.Cookie) (others []term.Atom, err error) {
	if others, err = r.otherNodes(ctx); err != nil {
		return nil, err
	}
	var asked []caller
	for _, node := range others {
		asked = append(asked, remote{r.host, node})
	}
	asked = append(asked, clusterHost{r.host})
	for i, node := range asked {
		err := takesCookie(ctx, node, c)
		if err == nil {
			continue
		}
		if i == len(others) && !errors.Is(err, errRefused) {
			return nil, err // it may have taken it: on from there
		}
		back := distribution.Cookie{Now: c.Next, Next: c.Now}
		for _, told := range asked[:i+1] { // of the last one the answer alone may be lost
			if err := takesCookie(ctx, told, back); err != nil {
				r.log.Warn("give a node of the cluster its old cookie back", "err", err)
			}
		}
		return nil, fmt.Errorf("%w; %w", err, errRefused)
	}
	return others, nil
}

// remote is another node of the cluster, asked through the host VM.
type remote struct {
	host HostVM
	node term.Atom
}

func (n remote) Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error) {
	return n.host.Call(ctx, "rpc", "call", n.node, term.Atom(module), term.Atom(function), term.List{Elems: args}, term.Int(rekeyCall.Milliseconds()))
}

// otherNodes are the visible nodes that the host VM is connected to and that
// are no guests of ours: they know the cluster's cookie.
func (r *Reconciler) otherNodes(ctx context.Context) ([]term.Atom, error) {
	answer, err := health.Answer(r.host.Call(ctx, "erlang", "nodes"))
	if err != nil {
		return nil, err
	}
	members, err := r.rooms.Nodes.List(ctx)
	if err != nil {
		return nil, err
	}
	guests := map[string]bool{}
	for _, n := range members {
		guests[n.Node] = true
	}
	list, _ := answer.(term.List)
	var others []term.Atom
	for _, e := range list.Elems {
		if node, ok := e.(term.Atom); ok && !guests[string(node)] {
			others = append(others, node)
		}
	}
	return others, nil
}

// keepOnHost replaces the cookie in the host VM's own file, if that is where
// it comes from, and returns the path, "" when there is no such file.
func (r *Reconciler) keepOnHost(ctx context.Context, c distribution.Cookie) (kept string, err error) {
	home, err := health.Answer(r.host.Call(ctx, "os", "getenv", term.String("HOME")))
	if err != nil {
		return "", err
	}
	dir, _ := term.Text(home)
	file := path.Join(dir, ".erlang.cookie")
	content, err := health.Answer(r.host.Call(ctx, "file", "read_file", term.String(file)))
	if err != nil {
		return "", without(err, c.Now, c.Next)
	}
	t, _ := content.(term.Tuple)
	if len(t) != 2 || t[0] != term.Term(term.Atom("ok")) {
		return "", nil // there is none: the cookie comes from elsewhere
	}
	text, _ := term.Text(t[1])
	switch strings.TrimSpace(text) {
	case c.Next.Reveal():
		return file, nil
	case c.Now.Reveal():
		return file, r.writeOnHost(ctx, file, c.Next)
	}
	return "", nil
}

// writeOnHost replaces a file of the host VM by one that its user alone can
// read, which nobody sees half written.
func (r *Reconciler) writeOnHost(ctx context.Context, file string, secret app.Secret) error {
	fresh := term.String(file + ".new")
	for _, step := range []struct {
		function string
		args     []term.Term
	}{
		{"write_file", []term.Term{fresh, term.Binary("")}},
		{"change_mode", []term.Term{fresh, term.Int(0o600)}},
		{"write_file", []term.Term{fresh, term.Binary(secret.Reveal())}},
		{"change_mode", []term.Term{fresh, term.Int(0o400)}},
		{"rename", []term.Term{fresh, term.String(file)}},
	} {
		answer, err := health.Answer(r.host.Call(ctx, "file", step.function, step.args...))
		if err == nil && answer != term.Term(term.Atom("ok")) {
			err = fmt.Errorf("file:%s: %s", step.function, term.Brief(answer, 100))
		}
		if err != nil {
			return without(fmt.Errorf("write %s on the host VM: %w", file, err), secret)
		}
	}
	return nil
}

// advice says where the new cookie has to be written before nodes start again.
func (r *Reconciler) advice(kept string, others []term.Atom) string {
	var out []string
	if kept != "" {
		out = append(out, "the host VM's "+kept+" holds the new one")
	} else {
		out = append(out, "give the host VM the new one, the first line of "+path.Join(r.cfg.Root, "cookie")+", before it starts again (-setcookie, RELEASE_COOKIE)")
	}
	if r.cookies.Outside() {
		out = append(out, "sandboxd's configuration, environment or ~/.erlang.cookie may keep the old one: it counts as the new one")
	}
	for _, n := range others {
		out = append(out, string(n)+" has it until it starts again")
	}
	return strings.Join(out, "; ")
}
