package ca

import (
	"errors"
	"fmt"
	"os"
	"time"

	"beamsandbox/distribution/secure"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime"
)

// Files are an operator's own certificate for the host VM's leg, as PEM.
type Files struct{ CA, Cert, Key string }

// Legs hands out what is proved on the two legs of guests' links.
type Legs struct {
	Store
	Hostname string // the machine's short name
	HostNode string // "demo_web@myhost"; the gateway proves this name to guests
	Own      Files  // empty: certificates of the authority Host
}

// The names under which our own certificates are kept.
const (
	gatewayName = "gateway"
	daemonName  = "sandboxd"
)

// Guest is what a guest is given.
func (l Legs) Guest(name app.Name, node string) (runtime.TLS, error) {
	issued, err := l.Keep(Guests, string(name), node)
	if err != nil {
		return runtime.TLS{}, err
	}
	trust, err := l.Trust(Gateway)
	return runtime.TLS{CA: trust, Node: issued.PEM()}, err
}

// RenewGuest makes another certificate for a guest.
func (l Legs) RenewGuest(name app.Name, node string) error {
	_, err := l.Renew(Guests, string(name), node)
	return err
}

// ForgetGuest removes a guest's certificate; there may be none.
func (l Legs) ForgetGuest(name app.Name) error { return l.Forget(Guests, string(name)) }

// settles is how long after it was issued a certificate has surely reached its
// guest: sandboxd looks once an hour, and a BEAM once in two minutes.
const settles = 2 * time.Hour

// ToGuest is what the gateway proves to a guest, and whom it believes there:
// the newest certificate of the guest alone, once that has reached it. Reached
// says that it has; else time tells.
func (l Legs) ToGuest(name app.Name, node string, reached bool) (secure.Identity, error) {
	id, err := l.toGuests()
	if err != nil {
		return secure.Identity{}, err
	}
	kept, err := l.Keep(Guests, string(name), node)
	if err == nil && (reached || l.Now().After(kept.Since.Add(skew+settles))) {
		id.PeerSince = kept.Since
	}
	return id, err
}

func (l Legs) toGuests() (secure.Identity, error) {
	issued, err := l.Keep(Gateway, gatewayName, l.HostNode)
	if err != nil {
		return secure.Identity{}, err
	}
	trust, err := l.Trust(Guests)
	return secure.Identity{CA: trust, Cert: issued.Cert, Key: issued.Key}, err
}

// ToHost is what the gateway and sandboxd prove to the host VM, and whom they
// believe there.
func (l Legs) ToHost() (secure.Identity, error) {
	if l.Own != (Files{}) {
		return l.Own.read()
	}
	issued, err := l.Keep(Host, daemonName, daemonName+"@"+l.Hostname)
	if err != nil {
		return secure.Identity{}, err
	}
	trust, err := l.Trust(Host)
	return secure.Identity{CA: trust, Cert: issued.Cert, Key: issued.Key}, err
}

// RenewOurs makes other certificates for the gateway and sandboxd. An
// operator's own are his to replace.
func (l Legs) RenewOurs() error {
	_, err := l.Renew(Gateway, gatewayName, l.HostNode)
	if err == nil && l.Own == (Files{}) {
		_, err = l.Renew(Host, daemonName, daemonName+"@"+l.Hostname)
	}
	return err
}

// Issue makes a certificate of the authority Host for a node of the cluster,
// which is not kept.
func (l Legs) Issue(node string) (secure.Identity, error) {
	if l.Own != (Files{}) {
		return secure.Identity{}, errors.New("issue a certificate: the host VM's leg has an authority of yours (key distribution): issue it there")
	}
	issued, err := l.Lend(Host, node)
	if err != nil {
		return secure.Identity{}, err
	}
	trust, err := l.Trust(Host)
	return secure.Identity{CA: trust, Cert: issued.Cert, Key: issued.Key}, err
}

// read reads the operator's files, at every use: he may replace them.
func (f Files) read() (secure.Identity, error) {
	var texts [3]string
	for i, path := range []string{f.CA, f.Cert, f.Key} {
		data, err := os.ReadFile(path)
		if err != nil {
			return secure.Identity{}, fmt.Errorf("read certificate of the host VM's leg: %w", err)
		}
		texts[i] = string(data)
	}
	id := secure.Identity{CA: texts[0], Cert: texts[1], Key: app.NewSecret(texts[2])}
	if err := id.Check(); err != nil {
		return secure.Identity{}, fmt.Errorf("%s: %w", f.Cert, err)
	}
	return id, nil
}
