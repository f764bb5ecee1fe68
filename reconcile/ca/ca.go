// Package ca issues and keeps the certificates that prove who is who in
// distribution over TLS: ECDSA P-256, signed by authorities of this machine
// alone.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/durable"
)

// Authority signs certificates of one kind. Whoever believes one does not
// believe the others, so that a certificate is worth something at one kind of
// door only.
type Authority string

// The authorities.
const (
	Guests  Authority = "guests"  // signs guests, believed by the gateway
	Gateway Authority = "gateway" // signs what the gateway proves to guests
	Host    Authority = "host"    // signs the host VM, and what is proved to it
)

const (
	caLife = 20 * 365 * 24 * time.Hour
	// life is how long a certificate is good; it is renewed after two thirds.
	life = 90 * 24 * time.Hour
	// lent is how long one is good that an operator has to replace himself.
	lent = 2 * 365 * 24 * time.Hour
	// skew is how far clocks may differ.
	skew = time.Hour
)

// Store keeps authorities and certificates in files below Root, mode 0600.
type Store struct {
	Root string           // folder, made when missing
	Now  func() time.Time // time.Now
}

// Issued is a certificate with its key.
type Issued struct {
	Cert string     // PEM
	Key  app.Secret // PEM
	// Since is when it became good, a little before it was issued, Due when it
	// is to be renewed.
	Since, Due, Ends time.Time
}

// PEM is certificate and key as one file.
func (i Issued) PEM() app.Secret { return app.NewSecret(i.Cert + i.Key.Reveal()) }

// Trust is the certificate of an authority, as PEM; the authority is made when
// it is missing.
func (s Store) Trust(a Authority) (string, error) {
	unlock, err := s.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	ca, err := s.authority(a)
	return ca.text, err
}

// Keep returns the certificate of node that is kept under a name; one that is
// missing, due or for another node is issued.
func (s Store) Keep(a Authority, name, node string) (Issued, error) {
	unlock, err := s.lock()
	if err != nil {
		return Issued{}, err
	}
	defer unlock()
	ca, err := s.authority(a)
	if err != nil {
		return Issued{}, err
	}
	kept, cert, err := read(s.path(a, name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return s.issue(ca, a, name, node)
	case err != nil:
		return Issued{}, err
	case cert.CheckSignatureFrom(ca.cert) != nil || !slices.Contains(cert.EmailAddresses, node) || !s.Now().Before(kept.Due):
		return s.issue(ca, a, name, node)
	}
	return kept, nil
}

// Renew issues a certificate in place of the one that is kept, which stays
// good until it ends.
func (s Store) Renew(a Authority, name, node string) (Issued, error) {
	unlock, err := s.lock()
	if err != nil {
		return Issued{}, err
	}
	defer unlock()
	ca, err := s.authority(a)
	if err != nil {
		return Issued{}, err
	}
	return s.issue(ca, a, name, node)
}

// Forget removes the certificate that is kept under a name; there may be none.
func (s Store) Forget(a Authority, name string) error {
	if err := os.Remove(s.path(a, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget certificate of %s: %w", name, err)
	}
	return nil
}

func (s Store) path(a Authority, name string) string {
	return filepath.Join(s.Root, string(a), name+".pem")
}

// authority is a certificate that signs others.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	text string
}

// authority reads an authority or makes it.
func (s Store) authority(a Authority) (authority, error) {
	path := filepath.Join(s.Root, string(a)+"-ca.pem")
	kept, cert, err := read(path)
	if errors.Is(err, os.ErrNotExist) {
		kept, cert, err = s.found(a, path)
	}
	if err != nil {
		return authority{}, err
	}
	key, err := parseKey(kept.Key)
	if err != nil {
		return authority{}, fmt.Errorf("read %s: %w: restore it, or remove it and restart every guest", path, err)
	}
	if !s.Now().Before(cert.NotAfter) {
		return authority{}, fmt.Errorf("authority %s has ended: remove it and restart every guest", path)
	}
	return authority{cert, key, kept.Cert}, nil
}

// found makes a new authority.
func (s Store) found(a Authority, path string) (Issued, *x509.Certificate, error) {
	tmpl, err := s.template("beamsandbox "+string(a), caLife)
	if err != nil {
		return Issued{}, nil, err
	}
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.MaxPathLenZero = true, true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Issued{}, nil, fmt.Errorf("make authority %s: %w", a, err)
	}
	text, err := sign(tmpl, tmpl, key, key)
	if err != nil {
		return Issued{}, nil, fmt.Errorf("make authority %s: %w", a, err)
	}
	return keep(path, text)
}

// Lend issues a certificate that is not kept: its key is somebody else's.
func (s Store) Lend(a Authority, node string) (Issued, error) {
	unlock, err := s.lock()
	if err != nil {
		return Issued{}, err
	}
	defer unlock()
	ca, err := s.authority(a)
	if err != nil {
		return Issued{}, err
	}
	text, err := s.certify(ca, node, lent)
	if err != nil {
		return Issued{}, err
	}
	issued, _, err := parse("certificate of "+node, text)
	return issued, err
}

// issue certifies node and keeps that under a name.
func (s Store) issue(ca authority, a Authority, name, node string) (Issued, error) {
	text, err := s.certify(ca, node, life)
	if err != nil {
		return Issued{}, err
	}
	issued, _, err := keep(s.path(a, name), text)
	return issued, err
}

// certify makes a key and signs a certificate for node: its name, and its
// host, which is what a BEAM looks for that dials it.
func (s Store) certify(ca authority, node string, life time.Duration) (text []byte, err error) {
	_, host, ok := strings.Cut(node, "@")
	if !ok || host == "" {
		return nil, fmt.Errorf("issue a certificate: %q is no node name such as demo_web@myhost", node)
	}
	tmpl, err := s.template(node, life)
	if err != nil {
		return nil, err
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	tmpl.EmailAddresses, tmpl.DNSNames = []string{node}, []string{host}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %s: %w", node, err)
	}
	if text, err = sign(tmpl, ca.cert, key, ca.key); err != nil {
		return nil, fmt.Errorf("issue a certificate for %s: %w", node, err)
	}
	return text, nil
}

func (s Store) template(subject string, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("choose a serial number: %w", err)
	}
	now := s.Now()
	if len(subject) > 64 { // ub-common-name, RFC 5280
		subject = subject[:64]
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: subject},
		NotBefore: now.Add(-skew), NotAfter: now.Add(life)}, nil
}

// sign signs a certificate and returns it, with its key, as PEM.
func sign(tmpl, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: keyDER})...), nil
}

// keep writes a certificate and its key to path.
func keep(path string, text []byte) (Issued, *x509.Certificate, error) {
	if err := durable.Write(path, text); err != nil {
		return Issued{}, nil, err
	}
	return parse(path, text)
}
