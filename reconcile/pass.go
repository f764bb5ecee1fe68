package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"time"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/git"
	"beamsandbox/reconcile/status"
)

// pass looks at the repository, one look at a time.
func (s *state) pass() {
	if !s.adopted || s.drained {
		return
	}
	if s.passing {
		s.again = true
		return
	}
	s.passing = true
	have, start := s.held(), s.passBegan()
	s.spawn(func() {
		c, want, err := s.look(s.ctx, have)
		s.passEnded(start, err)
		s.post(func(s *state) { s.passed(c, want, err) })
	})
}

// rememberer is a Repo that knows its last commit while the remote is away.
type rememberer interface {
	Last(ctx context.Context) (git.Commit, error)
}

// look fetches and reads the newest commit. When the remote does not answer
// and nothing was read since the start, the last commit of the store serves:
// guests that run need their specs.
func (r *Reconciler) look(ctx context.Context, have map[app.Name]Have) (git.Commit, app.Set, error) {
	c, err := r.repo.Fetch(ctx)
	if err == nil {
		r.pulled()
		want, err := r.parse(c, have)
		return c, want, err
	}
	old, ok := r.repo.(rememberer)
	if !ok || r.snapshot.Load().Commit != "" {
		return c, app.Set{}, err
	}
	c, lastErr := old.Last(ctx)
	if lastErr != nil {
		return git.Commit{}, app.Set{}, err
	}
	want, loadErr := r.parse(c, have)
	return c, want, errors.Join(loadErr, &staleError{err})
}

// staleError says that a commit was read from our own store because the
// remote could not be asked.
type staleError struct{ err error }

func (e *staleError) Error() string { return e.err.Error() }
func (e *staleError) Unwrap() error { return e.err }

// load reads the apps of one commit and refuses a commit that must not be
// followed as a whole.
func (r *Reconciler) load(c git.Commit, have map[app.Name]Have) (app.Set, error) {
	if err := r.secretFree(c); err != nil {
		return app.Set{}, err
	}
	set, err := app.Load(c.Tree, r.cfg.AppsDir, app.LoadOptions{
		AllowPath:  r.rules.AllowPath,
		NodePrefix: r.cfg.NodePrefix,
		Hostname:   r.cfg.Hostname,
		HostNode:   r.cfg.HostNode,
		Shared:     r.rules.Shares,
	})
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return set, err
	case len(have) > 0 && !r.cfg.AllowEmpty:
		return app.Set{}, errNoApps(c.Hash, r.cfg.AppsDir, have)
	}
	return app.Set{}, nil
}

// secretFree refuses a commit that holds the cluster's cookie: whoever can
// read the repository could run code on the host.
func (r *Reconciler) secretFree(c git.Commit) error {
	cookie, err := r.cookies.Cluster()
	if err != nil {
		return err
	}
	next, err := r.cookies.Next(clusterCookie)
	if err != nil {
		return err
	}
	for _, secret := range []app.Secret{cookie, next} {
		if file, found := app.ContainsSecret(c.Tree, secret); found {
			return fmt.Errorf("read commit %s: %s holds the cluster's cookie: change the cookie (sandboxctl cookie rotate --cluster) and take it out of the repository", short(c.Hash), file)
		}
	}
	return nil
}

// passed takes over what look found.
func (s *state) passed(c git.Commit, want app.Set, err error) {
	s.passing = false
	s.problem = ""
	var stale *staleError
	if err != nil {
		s.problem = err.Error()
		s.log.Warn("pass stopped short", "commit", short(c.Hash), "err", err)
		s.tell(status.Event{Kind: "error", Text: s.problem})
	}
	if (err == nil || errors.As(err, &stale) && want.Specs != nil) && !s.drained {
		s.follow(c, want)
	}
	if s.again {
		s.again = false
		s.pass()
	}
}

func (s *state) follow(c git.Commit, want app.Set) {
	s.fetched = time.Now()
	if c.Hash != s.commit.Hash {
		s.log.Info("commit", "commit", short(c.Hash), "apps", len(want.Specs), "broken", len(want.Broken))
		s.tell(status.Event{Kind: "commit", Commit: c.Hash, Text: "commit " + short(c.Hash)})
	}
	s.commit = c
	s.apply(want)
}

// apply starts a worker for every app whose wish changed.
func (s *state) apply(want app.Set) {
	s.set = want
	for _, step := range Plan(want, s.held()) {
		s.take(step)
	}
	s.dropUnwanted(want)
}

// take acts on one step.
func (s *state) take(step Step) {
	e := s.entry(step.Name)
	switch {
	case step.Err != nil:
		s.hold(e, step.Err)
	case step.Action == Remove:
		if !e.removes() {
			w := &worker{Reconciler: s.Reconciler, name: e.name, removal: true}
			w.changing(step)
			s.begin(w)
		}
	default:
		s.want(e, step)
	}
}

// want starts a worker for step unless one works for the same wish already.
func (s *state) want(e *entry, step Step) {
	spec := s.set.Specs[step.Name]
	if w := e.newest(); w != nil && !w.removal && reflect.DeepEqual(w.spec, spec) {
		e.err = nil
		return
	}
	if step.Action != Keep {
		s.log.Info(string(step.Action), "app", step.Name, "from", step.From, "to", step.To, "why", step.Why)
		s.tell(status.Event{App: string(step.Name), Kind: string(step.Action), Text: step.Why})
	}
	w := &worker{Reconciler: s.Reconciler, name: e.name, spec: spec, last: s.history[e.name]}
	w.changing(step)
	s.begin(w)
}

// hold leaves an app as it is: what runs goes on, what was being made stops.
func (s *state) hold(e *entry, err error) {
	e.endUseless()
	e.err = err
}

// dropUnwanted forgets apps that never ran and are in no commit any more.
func (s *state) dropUnwanted(want app.Set) {
	for n, e := range s.entries {
		_, wanted := want.Specs[n]
		if !wanted && e.newest() == nil && e.have.Isolation == "" && !isBroken(want, n) {
			delete(s.entries, n)
			delete(s.history, n)
			s.unsaved = true
		}
	}
}

func isBroken(want app.Set, n app.Name) bool {
	for dir := range want.Broken {
		if brokenName(want, dir, nil) == n {
			return true
		}
	}
	return false
}
