package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/secure"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/health"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

// TLS says which legs of guests' links speak TLS.
type TLS struct {
	Guests       bool // guests that are started from now on
	Host         bool // the host VM
	Certificates Certificates
}

// Certificates keeps what is proved over TLS. What is due is renewed by
// asking for it.
type Certificates interface {
	Guest(name app.Name, node string) (runtime.TLS, error) // what a guest is given
	// ToGuest is what the gateway proves to a guest. Reached says that the guest
	// proves its newest certificate: then no older one is believed.
	ToGuest(name app.Name, node string, reached bool) (secure.Identity, error)
	ToHost() (secure.Identity, error) // what is proved to the host VM
	RenewGuest(name app.Name, node string) error
	RenewOurs() error
	ForgetGuest(name app.Name) error
}

// labelTLS marks a guest that was started to speak TLS: it does until it ends,
// whatever the configuration says by then.
const labelTLS = "tls"

// learnTLS finds out how the guest speaks: as it was started if it runs and
// stays, else as configured.
func (w *worker) learnTLS(ctx context.Context, stays func(runtime.Task) bool) error {
	tasks, err := w.rooms.Tasks.List(ctx)
	if err != nil {
		return err
	}
	w.tls = w.cfg.TLS.Guests
	for _, t := range tasks {
		if t.Name == w.name && t.State == runtime.Running && stays(t) {
			w.tls = t.Labels[labelTLS] != ""
		}
	}
	return nil
}

func (w *worker) sameDigest(t runtime.Task) bool { return t.Digest == w.spec.Digest() }

// identities are what the gateway proves on each leg of the guest.
func (w *worker) identities() (guest, host secure.Identity, err error) {
	if w.tls {
		if guest, err = w.cfg.TLS.Certificates.ToGuest(w.name, w.node, false); err != nil {
			return guest, host, err
		}
	}
	if w.cfg.TLS.Host {
		host, err = w.cfg.TLS.Certificates.ToHost()
	}
	return guest, host, err
}

// given is what the guest is started with.
func (w *worker) given() (*runtime.TLS, error) {
	if !w.tls {
		return nil, nil
	}
	t, err := w.cfg.TLS.Certificates.Guest(w.name, w.node)
	return &t, err
}

// refreshEvery is how often certificates are looked at; they are due a month
// before they end.
const refreshEvery = time.Hour

// keepTLS renews certificates before they end.
func (r *Reconciler) keepTLS(ctx context.Context) {
	if r.cfg.TLS.Certificates == nil {
		return
	}
	for {
		if err := r.refreshTLS(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("renew certificates", "err", err)
		}
		if !sleep(ctx, refreshEvery) {
			return
		}
	}
}

// refreshTLS gives everybody the certificates that are kept by now. What is
// new counts from the next handshakes on: links stay.
func (r *Reconciler) refreshTLS(ctx context.Context) error {
	nodes, err := r.rooms.Nodes.List(ctx)
	if err != nil {
		return err
	}
	speaks, err := r.guestsOverTLS(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range nodes {
		errs = append(errs, r.refreshGuest(ctx, n, speaks[n.Name]))
	}
	if err := errors.Join(errs...); err != nil {
		return oneLine(err)
	}
	return nil
}

// guestsOverTLS are the guests that run and were started to speak TLS.
func (r *Reconciler) guestsOverTLS(ctx context.Context) (map[app.Name]bool, error) {
	tasks, err := r.rooms.Tasks.List(ctx)
	if err != nil {
		return nil, err
	}
	speaks := map[app.Name]bool{}
	for _, t := range tasks {
		speaks[t.Name] = t.State == runtime.Running && t.Labels[labelTLS] != ""
	}
	return speaks, nil
}

func (r *Reconciler) refreshGuest(ctx context.Context, n distribution.Node, speaks bool) error {
	var k distribution.Keys
	var err error
	if speaks {
		given, err := r.cfg.TLS.Certificates.Guest(n.Name, n.Node)
		if err != nil {
			return err
		}
		changed, err := r.rooms.Tasks.SetTLS(ctx, n.Name, given)
		if err != nil {
			return err
		}
		reached := false
		if changed {
			r.log.Info("certificate replaced", "app", n.Name)
			reached = r.readAnew(ctx, n.Name)
		}
		if k.GuestTLS, err = r.cfg.TLS.Certificates.ToGuest(n.Name, n.Node, reached); err != nil {
			return err
		}
	}
	if r.cfg.TLS.Host {
		if k.HostTLS, err = r.cfg.TLS.Certificates.ToHost(); err != nil {
			return err
		}
	}
	if k.GuestTLS.Empty() && k.HostTLS.Empty() {
		return nil
	}
	return r.rooms.Nodes.Rekey(ctx, n.Name, k)
}

var errPlain = errors.New("no leg speaks TLS (key distribution)")

// readAnew has a guest forget what it has read of its files (ssl_pem_cache of
// OTP, of which distribution has one of its own). Without that it looks itself
// within two minutes. It reports whether the guest has.
func (r *Reconciler) readAnew(ctx context.Context, name app.Name) bool {
	ctx, cancel := context.WithTimeout(ctx, rekeyCall)
	defer cancel()
	forget := term.Tuple{term.Atom("unconditionally_clear_pem_cache"), term.List{}}
	_, err := health.Answer(r.rooms.Nodes.Call(ctx, name, "gen_server", "call", term.Atom("ssl_pem_cache_dist"), forget))
	if err != nil {
		r.log.Debug("have a guest read its certificate anew", "app", name, "err", err)
	}
	return err == nil
}

// RotateTLS gives one guest, or with "" every guest and the gateway, another
// certificate and key. Links stay.
func (r *Reconciler) RotateTLS(ctx context.Context, name app.Name) ([]status.Rotation, error) {
	if r.cfg.TLS.Certificates == nil {
		return nil, errPlain
	}
	nodes, err := r.rooms.Nodes.List(ctx)
	if err != nil {
		return nil, err
	}
	speaks, err := r.guestsOverTLS(ctx)
	if err != nil {
		return nil, err
	}
	var all []status.Rotation
	for _, n := range nodes {
		if speaks[n.Name] && (name == "" || name == n.Name) {
			err := r.cfg.TLS.Certificates.RenewGuest(n.Name, n.Node)
			if err == nil {
				err = r.refreshGuest(ctx, n, true)
			}
			all = append(all, renewed(string(n.Name), err))
		}
	}
	if name != "" {
		if len(all) == 0 {
			return nil, fmt.Errorf("%s is no guest that runs and speaks TLS; one that runs speaks as it was started", name)
		}
		return all, nil
	}
	if len(all) == 0 && !r.cfg.TLS.Guests && !r.cfg.TLS.Host {
		return nil, errPlain
	}
	if err = r.cfg.TLS.Certificates.RenewOurs(); err == nil {
		err = r.refreshTLS(ctx)
	}
	return append(all, renewed("", err)), nil
}

func renewed(name string, err error) status.Rotation {
	if err != nil {
		return status.Rotation{App: name, State: status.RotationFailed, Detail: err.Error()}
	}
	return status.Rotation{App: name, State: status.RotationDone}
}
