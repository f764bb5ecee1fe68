package reconcile

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/health"
	"beamsandbox/reconcile/macula"
	"beamsandbox/reconcile/status"
)

// Where the host VM has Macula, what it exports of five functions is asked of
// it; the rest is done here: the host VM is asked whether it is a node, the
// cluster's cookie is that of CookieFiles, and nodes are watched by the gateway
// and by our own connection.

// cluster is what the last look at the host VM's Macula found.
type cluster struct {
	platform macula.Platform
	cookie   app.Secret // empty: not Macula's to say
	told     bool       // cookie is known
	epoch    int        // of the cookies, when the look began
	err      error
}

// maculaCall bounds one look at Macula, all calls together.
const maculaCall = 10 * time.Second

// askMacula looks at the host VM's Macula, one look at a time: it may come
// with an application that is started later, and may change its cookie.
func (s *state) askMacula() {
	if !s.hostUp || s.asking {
		return
	}
	s.asking = true
	known, link := s.cluster.platform, s.hostLinks
	s.spawn(func() {
		c := s.meetMacula(s.ctx, known)
		s.post(func(s *state) {
			s.asking = false
			if link != s.hostLinks { // that was another connection, perhaps another VM
				s.askMacula()
				return
			}
			s.learnMacula(c)
		})
	})
}

// meetMacula asks, and has Macula begin what is new of known.
func (r *Reconciler) meetMacula(ctx context.Context, known macula.Platform) (c cluster) {
	ctx, cancel := context.WithTimeout(ctx, maculaCall)
	defer cancel()
	c.epoch = r.cookies.now()
	if c.platform, c.err = macula.Detect(ctx, r.host); c.err != nil || !c.platform.Present {
		c.told = c.err == nil
		return c
	}
	var errs []error
	if !slices.Equal(known.Delegated(), c.platform.Delegated()) || !known.Present {
		errs = append(errs, c.platform.EnsureDistributed(ctx, r.host), c.platform.MonitorNodes(ctx, r.host))
	}
	errs = append(errs, c.hear(ctx, r.host))
	c.err = oneLine(errors.Join(errs...))
	return c
}

// hear asks for the cluster's cookie. One that is not the host VM's own is not
// used: with it no guest could join.
func (c *cluster) hear(ctx context.Context, host caller) error {
	cookie, err := c.platform.Cookie(ctx, host)
	if err != nil || cookie.Empty() {
		c.told = err == nil
		return err
	}
	answer, err := health.Answer(host.Call(ctx, "erlang", "get_cookie"))
	if err != nil {
		return errors.New("ask the host VM for its cookie: it does not answer")
	}
	c.told = true
	if answer != term.Term(term.Atom(cookie.Reveal())) {
		return errors.New("macula:get_cookie/0 answers another cookie than the host VM has, ours is used: call erlang:set_cookie/1 there with Macula's")
	}
	c.cookie = cookie
	return nil
}

// learnMacula takes over what a look found.
func (s *state) learnMacula(c cluster) {
	if text := errorText(c.err); text != errorText(s.cluster.err) && text != "" {
		s.log.Warn("Macula", "node", s.cfg.HostNode, "err", text)
	}
	if !slices.Equal(s.cluster.platform.Delegated(), c.platform.Delegated()) {
		s.log.Info("Macula", "node", s.cfg.HostNode, "asked", c.platform.Delegated(), "own", c.platform.Own())
	}
	s.cluster = c
	if c.told && s.cookies.learn(c.cookie, c.epoch) {
		s.log.Info("the cluster's cookie is another one, as Macula says")
		s.retell()
	}
}

// retell makes every worker tell the gateway about its guest again; links stay.
func (s *state) retell() {
	s.gateway++
	for _, e := range s.entries {
		e.vitals.set(func(f *facts) { f.gateway = s.gateway })
	}
}

// leaveMacula ends what Macula watches for us. It must not hold up an end.
func (s *state) leaveMacula() {
	if !s.hostUp {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 2*time.Second)
	defer cancel()
	if err := s.cluster.platform.UnmonitorNodes(ctx, s.host); err != nil {
		s.log.Warn("Macula", "err", err)
	}
}

// status is what sandboxctl shows.
func (c cluster) status() *status.Macula {
	if !c.platform.Present {
		return nil
	}
	return &status.Macula{Asked: c.platform.Delegated(), Own: c.platform.Own(), Error: errorText(c.err)}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// clusterHost is the host VM as somebody who gives the cluster a cookie sees
// it: Macula takes it where it serves that.
type clusterHost struct{ HostVM }

// setCookie gives a node a cookie for all nodes that it has no other one for.
func setCookie(ctx context.Context, node caller, self term.Term, cookie app.Secret) error {
	if host, ok := node.(clusterHost); ok {
		p, err := macula.Detect(ctx, host)
		if err == nil && p.Serves(macula.SetCookie) {
			return p.SetCookie(ctx, host, cookie)
		}
	}
	_, err := health.Answer(node.Call(ctx, "erlang", "set_cookie", self, term.Atom(cookie.Reveal())))
	return err
}

// clusterCookies are Cookies whose cluster's cookie is the one that Macula
// says, once it has said one.
type clusterCookies struct {
	Cookies
	mu     sync.RWMutex
	macula app.Secret
	epoch  int // counts the cookies that were replaced
}

func (c *clusterCookies) now() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch
}

// Cluster is described at Cookies.
func (c *clusterCookies) Cluster() (app.Secret, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.macula.Empty() {
		return c.macula, nil
	}
	return c.Cookies.Cluster()
}

// MaculaCookie is the cluster's cookie as the host VM's Macula said it last;
// empty when it did not.
func (r *Reconciler) MaculaCookie() app.Secret {
	r.cookies.mu.RLock()
	defer r.cookies.mu.RUnlock()
	return r.cookies.macula
}

// Commit is described at Cookies: what Macula said before is the old one.
func (c *clusterCookies) Commit(name app.Name) error {
	err := c.Cookies.Commit(name)
	if err == nil && name == clusterCookie {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.macula = app.Secret{}
		c.epoch++
	}
	return err
}

// learn takes over what Macula said in an epoch, which may be nothing, and
// reports whether Cluster has changed by that. What is replaced by now is no news.
func (c *clusterCookies) learn(cookie app.Secret, epoch int) bool {
	before, err := c.Cluster()
	c.mu.Lock()
	if c.epoch == epoch {
		c.macula = cookie
	}
	c.mu.Unlock()
	after, err2 := c.Cluster()
	return err == nil && err2 == nil && before.Reveal() != after.Reveal()
}
