// Package doctor asks the host VM, the port mapper, the gateway and every guest
// what can keep them from working together, and says what to do. It changes
// nothing.
package doctor

import (
	"context"
	"net/netip"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// Config is what a cluster is looked at with.
type Config struct {
	Status   status.Host    // the newest snapshot
	Hostname string         // the machine's short name
	EPMD     netip.AddrPort // the machine's port mapper
	Host     Host
	Guests   Guests
	// Cookie is the cookie that a guest was given.
	Cookie func(app.Name) (app.Secret, error)
}

// Host is the host VM.
type Host interface {
	Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
	// Try connects once more, under another name.
	Try(ctx context.Context, name string) error
}

// Guests is the gateway.
type Guests interface {
	Call(ctx context.Context, name app.Name, module, function string, args ...term.Term) (term.Term, error)
	List(ctx context.Context) ([]distribution.Node, error)
}

// patience bounds one question.
const patience = 3 * time.Second

// Check looks at the host VM and at every app, or at one app alone when only
// is not empty.
func Check(ctx context.Context, c Config, only app.Name) []status.Check {
	e := examination{Config: c, ctx: ctx}
	e.repository()
	e.gateway()
	e.hostVM()
	for _, a := range c.Status.Apps {
		if only == "" || a.Name == string(only) {
			e.app(a)
		}
	}
	return e.checks
}

// examination collects checks.
type examination struct {
	Config
	ctx    context.Context
	checks []status.Check

	subject string // the app that checks are about
	hostUp  bool   // the host VM answers
	nodes   map[app.Name]distribution.Node
}

func (e *examination) add(c status.Check) {
	c.App = e.subject
	e.checks = append(e.checks, c)
}

func (e *examination) good(name, found string) { e.add(status.Good(name, found)) }

func (e *examination) doubtful(name, found, cure string) { e.add(status.Doubtful(name, found, cure)) }

func (e *examination) bad(name, found, cure string) { e.add(status.Bad(name, found, cure)) }

// host calls a function in the host VM.
func (e *examination) host(module, function string, args ...term.Term) (term.Term, error) {
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	return e.Host.Call(ctx, module, function, args...)
}

// guest calls a function in the subject.
func (e *examination) guest(module, function string, args ...term.Term) (term.Term, error) {
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	return e.Guests.Call(ctx, app.Name(e.subject), module, function, args...)
}

// call is host or guest.
type call func(module, function string, args ...term.Term) (term.Term, error)

// elems are the elements of a proper list.
func elems(t term.Term) []term.Term {
	l, _ := t.(term.List)
	all, _ := l.Proper()
	return all
}
