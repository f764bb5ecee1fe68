package main

import (
	"fmt"
	"path/filepath"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile"
	"beamsandbox/reconcile/ca"
)

// legs is how the two legs of guests' links speak.
type legs struct {
	guestTLS bool
	hostTLS  bool
	own      ca.Files // the operator's certificate for the host VM's leg
}

// distribution reads [{guest, Leg}, {host, Leg}]: a leg is plain or tls, that
// of the host also #{ca, cert, key} with paths, which start at dir.
func (l *legs) distribution(dir string) func(term.Term) bool {
	return func(t term.Term) bool {
		pairs, ok := term.Proplist(t)
		if !ok {
			return false
		}
		for _, p := range pairs {
			leg, _ := term.Text(p.Key)
			if leg != "guest" && leg != "host" || !l.leg(dir, leg == "host", p.Value) {
				return false
			}
		}
		return true
	}
}

func (l *legs) leg(dir string, host bool, t term.Term) bool {
	how, _ := term.Text(t)
	switch {
	case how == "plain" || how == "tls":
		if host {
			l.hostTLS, l.own = how == "tls", ca.Files{}
		} else {
			l.guestTLS = how == "tls"
		}
		return true
	case !host:
		return false
	}
	files, ok := t.(term.Map)
	if !ok || len(files) != 3 {
		return false
	}
	l.hostTLS = true
	for key, to := range map[string]*string{"ca": &l.own.CA, "cert": &l.own.Cert, "key": &l.own.Key} {
		value, there := files.Get(term.Atom(key))
		if !there || !path(dir, to)(value) {
			return false
		}
	}
	return true
}

// certificates keeps what the legs prove.
func (c Config) certificates() ca.Legs {
	return ca.Legs{Store: ca.Store{Root: filepath.Join(c.Root, "tls"), Now: time.Now},
		Hostname: c.Hostname, HostNode: c.HostNode, Own: c.Legs.own}
}

// checkLegs reads an operator's own certificate before anything is touched.
func (c Config) checkLegs() error {
	if c.Legs.own == (ca.Files{}) {
		return nil
	}
	if _, err := c.certificates().ToHost(); err != nil {
		return fmt.Errorf("sandboxd.distribution: %w", err)
	}
	return nil
}

// tls is what the reconciler is told of all this.
func (c Config) tls() reconcile.TLS {
	return reconcile.TLS{Guests: c.Legs.guestTLS, Host: c.Legs.hostTLS, Certificates: c.certificates()}
}
