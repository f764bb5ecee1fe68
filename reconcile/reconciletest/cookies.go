package reconciletest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"beamsandbox/distribution"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime"
)

// ClusterCookie is the cookie of the world's host VM at first.
const ClusterCookie = "ONLYTHEHOSTKNOWSTHIS"

// Cookies keeps no files.
type Cookies struct {
	mu        sync.Mutex
	now, next map[app.Name]app.Secret
}

// Cluster returns ClusterCookie until a rotation.
func (c *Cookies) Cluster() (app.Secret, error) { return c.get("", ClusterCookie), nil }

// Guest returns a cookie that differs for every name.
func (c *Cookies) Guest(name app.Name) (app.Secret, error) {
	return c.get(name, "guest-cookie-of-"+string(name)), nil
}

func (c *Cookies) get(name app.Name, otherwise string) app.Secret {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.now[name]; ok {
		return s
	}
	return app.NewSecret(otherwise)
}

// Forget forgets that a cookie was replaced.
func (c *Cookies) Forget(name app.Name) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.now, name)
	delete(c.next, name)
	return nil
}

// Begin makes a next cookie, "next-N".
func (c *Cookies) Begin(name app.Name) (app.Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.now, c.next = map[app.Name]app.Secret{}, map[app.Name]app.Secret{}
	}
	if _, there := c.next[name]; !there {
		c.next[name] = app.NewSecret(fmt.Sprintf("next-%d-of-%s", len(c.now)+len(c.next), name))
	}
	return c.next[name], nil
}

// Next is the cookie that Begin made.
func (c *Cookies) Next(name app.Name) (app.Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next[name], nil
}

// Commit makes the next cookie the only one.
func (c *Cookies) Commit(name app.Name) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now[name] = c.next[name]
	delete(c.next, name)
	return nil
}

// Abandon drops the next cookie.
func (c *Cookies) Abandon(name app.Name) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.next, name)
	return nil
}

// Pending lists those with a next cookie.
func (c *Cookies) Pending() ([]app.Name, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.next)), nil
}

// Outside is false: nothing else holds the cluster's cookie.
func (c *Cookies) Outside() bool { return false }

// known is the cookie that each node of a world proves, by node name.
type known struct {
	mu       sync.Mutex
	cookies  map[string]string
	deaf     map[string]bool // the node does what it is asked and its answer is lost
	stubborn map[string]bool // the node keeps the cookie that it has
	peers    []string        // other nodes of the host VM's cluster
}

func (k *known) set(node, cookie string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cookies == nil {
		k.cookies = map[string]string{}
	}
	k.cookies[node] = cookie
}

func (k *known) get(node string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cookies[node]
}

// Deaf makes calls about cookies to a node fail after they were made.
func (w *World) Deaf(node string, on bool) {
	w.known.mu.Lock()
	defer w.known.mu.Unlock()
	w.known.deaf = map[string]bool{node: on}
}

// Stubborn makes a node keep its cookie, whatever it is told.
func (w *World) Stubborn(node string) {
	w.known.mu.Lock()
	defer w.known.mu.Unlock()
	w.known.stubborn = map[string]bool{node: true}
}

// Peer connects another node of the cluster to the host VM.
func (w *World) Peer(node string) {
	w.known.set(node, w.known.get(HostNode))
	w.known.mu.Lock()
	defer w.known.mu.Unlock()
	w.known.peers = append(w.known.peers, node)
}

// nodes is what erlang:nodes/0 returns on the host VM.
func (w *World) nodes() term.Term {
	var list term.List
	members, _ := w.Nodes.List(context.Background())
	for _, m := range members {
		if m.Up {
			list.Elems = append(list.Elems, term.Atom(m.Node))
		}
	}
	w.known.mu.Lock()
	defer w.known.mu.Unlock()
	for _, p := range w.known.peers {
		list.Elems = append(list.Elems, term.Atom(p))
	}
	return list
}

// callPeer is rpc:call/5 on the host VM.
func (w *World) callPeer(args []term.Term) (term.Term, error) {
	node, module, function := string(args[0].(term.Atom)), string(args[1].(term.Atom)), string(args[2].(term.Atom))
	if t, err, ok := w.known.answer(node, module, function, args[3].(term.List).Elems); ok {
		return t, err
	}
	return term.Atom(node), nil // erlang:node/0
}

// Knows is the cookie that a node proves.
func (w *World) Knows(node string) string { return w.known.get(node) }

// answer answers calls about cookies; ok is false for others.
func (k *known) answer(node, module, function string, args []term.Term) (t term.Term, err error, ok bool) {
	switch module + ":" + function {
	case "erlang:set_cookie":
		if k.keeps(node) {
			reason := term.Tuple{term.Atom("EXIT"), term.List{Elems: args}}
			return term.Tuple{term.Atom("badrpc"), reason}, nil, true
		}
		k.set(node, string(args[1].(term.Atom)))
		t = term.Atom("true")
	case "erlang:get_cookie":
		t = term.Atom(k.get(node))
	default:
		return nil, nil, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.deaf[node] {
		return nil, fmt.Errorf("the connection to %s ended", node), true
	}
	return t, nil, true
}

func (k *known) keeps(node string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stubborn[node]
}

// Rekey changes the cookies of a member.
func (n *Nodes) Rekey(ctx context.Context, name app.Name, keys distribution.Keys) error {
	if err := n.before(ctx, "rekey", name); err != nil {
		return err
	}
	there := n.Update(name, func(m *distribution.Member, _ *distribution.Node) {
		if k := keys.Guest; k != nil {
			m.Cookie, m.NextCookie = k.Now, k.Next
		}
		if k := keys.Host; k != nil {
			m.HostCookie, m.NextHostCookie = k.Now, k.Next
		}
		if !keys.GuestTLS.Empty() && !m.GuestTLS.Empty() {
			m.GuestTLS = keys.GuestTLS
		}
		if !keys.HostTLS.Empty() && !m.HostTLS.Empty() {
			m.HostTLS = keys.HostTLS
		}
	})
	if !there {
		return fmt.Errorf("gateway has no member %s", name)
	}
	n.Diary.Write("nodes: rekey %s", name)
	return nil
}

// Admits reports whether both nodes of a link prove what the gateway expects.
func (n *Nodes) Admits(name app.Name) bool {
	fits := func(node string, some ...app.Secret) bool {
		return slices.ContainsFunc(some, func(s app.Secret) bool { return s.Reveal() == n.world.known.get(node) })
	}
	ok := false
	n.Update(name, func(m *distribution.Member, _ *distribution.Node) {
		ok = fits(m.HostNode, m.HostCookie, m.NextHostCookie) && fits(m.Node, m.Cookie, m.NextCookie)
	})
	return ok
}

// Cut ends the link of a guest, as a lost connection does.
func (n *Nodes) Cut(name app.Name) { n.set(name, distribution.Down, false) }

// SetCookie replaces the file that a guest's cookie is read from.
func (t *Tasks) SetCookie(ctx context.Context, name app.Name, cookie app.Secret) error {
	if err := t.before(ctx, "set_cookie", name); err != nil {
		return err
	}
	t.Update(name, func(c *runtime.Config, _ *runtime.Task) { c.Cookie = cookie })
	return nil
}

// SetTLS replaces a guest's certificate.
func (t *Tasks) SetTLS(ctx context.Context, name app.Name, given runtime.TLS) (changed bool, err error) {
	if err := t.before(ctx, "set_tls", name); err != nil {
		return false, err
	}
	t.Update(name, func(c *runtime.Config, _ *runtime.Task) {
		if c.TLS != nil {
			changed = *c.TLS != given
			c.TLS = &given
		}
	})
	return changed, nil
}
