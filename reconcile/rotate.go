package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/health"
	"beamsandbox/reconcile/status"
)

// rekeyCall bounds one question of a rotation to a node.
const rekeyCall = 10 * time.Second

// errRefused is wrapped when a node knows the old cookie and will not take
// another one: the rotation is undone.
var errRefused = errors.New("nothing was changed")

// RotateCookie gives one guest a new cookie. Its link stays. A guest that is
// out of reach gets it as soon as it is not: that is status.RotationPending,
// and is finished also by another sandboxd than this one. Once begun it does not
// end because ctx does.
func (r *Reconciler) RotateCookie(ctx context.Context, name app.Name) (status.Rotation, error) {
	if err := r.hasCookie(name); err != nil {
		return status.Rotation{}, err
	}
	r.keys.one.Lock()
	defer r.keys.one.Unlock()
	if _, err := r.cookies.Begin(name); err != nil {
		return status.Rotation{}, err
	}
	return r.outcome(string(name), "", r.rotateGuest(context.WithoutCancel(ctx), name)), nil
}

// hasCookie says why an app has no cookie of its own.
func (r *Reconciler) hasCookie(name app.Name) error {
	for _, a := range r.Status().Apps {
		switch {
		case a.Name != string(name):
		case a.Isolation == string(app.Embedded):
			return fmt.Errorf("%s is embedded: it has no cookie but the cluster's", name)
		default:
			return nil
		}
	}
	return fmt.Errorf("no app %s on this host; sandboxctl status lists them", name)
}

// outcome is a rotation that was begun, in words.
func (r *Reconciler) outcome(name, detail string, err error) status.Rotation {
	switch {
	case err == nil:
		r.log.Info("cookie rotated", "app", name)
		return status.Rotation{App: name, State: status.RotationDone, Detail: detail}
	case errors.Is(err, errRefused):
		r.log.Warn("rotate cookie", "app", name, "err", err)
		return status.Rotation{App: name, State: status.RotationFailed, Detail: err.Error()}
	}
	r.log.Warn("rotate cookie, to be finished", "app", name, "err", err)
	r.keys.later()
	return status.Rotation{App: name, State: status.RotationPending, Detail: err.Error()}
}

// rotateGuest walks from two cookies, of which either may be in force, to the
// new one alone. Every step may be done twice, so that it can be cut short
// anywhere and begun again.
func (r *Reconciler) rotateGuest(ctx context.Context, name app.Name) error {
	both, err := r.guestKeys(name)
	if err != nil {
		return err
	}
	if err := r.rekeyGuest(ctx, name, both); err != nil {
		return fmt.Errorf("%s gets its new cookie when it runs and the gateway knows it: %w", name, err)
	}
	err = takesCookie(ctx, guestCaller{r.rooms.Nodes, name}, both)
	if errors.Is(err, errRefused) {
		return oneLine(errors.Join(err, r.undoRotation(ctx, name, both)))
	}
	if err != nil {
		return err
	}
	if err := r.rooms.Tasks.SetCookie(ctx, name, both.Next); err != nil {
		return err
	}
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	if err := r.rooms.Nodes.Rekey(ctx, name, distribution.Keys{Guest: &distribution.Cookie{Now: both.Next}}); err != nil {
		return err
	}
	return r.cookies.Commit(name)
}

// rekeyGuest makes the gateway know both cookies.
func (r *Reconciler) rekeyGuest(ctx context.Context, name app.Name, c distribution.Cookie) error {
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	return r.rooms.Nodes.Rekey(ctx, name, distribution.Keys{Guest: &c})
}

// undoRotation goes back to the old cookie alone.
func (r *Reconciler) undoRotation(ctx context.Context, name app.Name, c distribution.Cookie) error {
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	return errors.Join(r.rooms.Nodes.Rekey(ctx, name, distribution.Keys{Guest: &distribution.Cookie{Now: c.Now}}), r.cookies.Abandon(name))
}

// takesCookie has a node take the next cookie for all nodes it has no other
// one for (erlang:set_cookie/2), and looks whether it has. Its links stay.
func takesCookie(ctx context.Context, node caller, c distribution.Cookie) error {
	ctx, cancel := context.WithTimeout(ctx, rekeyCall)
	defer cancel()
	self, err := health.Answer(node.Call(ctx, "erlang", "node"))
	var bad *distribution.BadRPC
	if errors.As(err, &bad) { // it answers, and is no Erlang
		return fmt.Errorf("%w; %w", err, errRefused)
	}
	if err != nil {
		return err
	}
	set := setCookie(ctx, node, self, c.Next)
	now, err := health.Answer(node.Call(ctx, "erlang", "get_cookie"))
	switch {
	case errors.As(err, &bad) && errors.As(set, &bad): // a node that is no BEAM need not have either
		return fmt.Errorf("%s takes no new cookie: it has neither erlang:set_cookie/2 nor erlang:get_cookie/0; %w", term.Brief(self, 100), errRefused)
	case err != nil:
		return without(err, c.Now, c.Next)
	case now == term.Term(term.Atom(c.Next.Reveal())):
		return nil
	}
	if set == nil {
		set = errors.New("erlang:get_cookie/0 returns another one")
	}
	return fmt.Errorf("%s does not take a new cookie: %w; %w", term.Brief(self, 100), without(set, c.Now, c.Next), errRefused)
}
