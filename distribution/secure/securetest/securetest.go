// Package securetest issues certificates for tests of distribution over TLS.
package securetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/secure"
	"beamsandbox/reconcile/app"
)

// Authority signs certificates.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	text string
}

// New makes an authority that nobody believes yet.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: rand.Text()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var text string
	a.cert, a.key, text = a.sign(tmpl, nil)
	a.text = text
	return a
}

// Issue is what node proves, believing those whom trusted signs.
func (a *Authority) Issue(node string, trusted *Authority) secure.Identity {
	a.t.Helper()
	return a.IssueFor(node, trusted, time.Hour)
}

// IssueFor is Issue with the time that is left to the certificate.
func (a *Authority) IssueFor(node string, trusted *Authority, left time.Duration) secure.Identity {
	a.t.Helper()
	_, host, _ := strings.Cut(node, "@")
	return a.issue(trusted, left, []string{node}, []string{host})
}

// IssueNames is Issue for any names of nodes and hosts.
func (a *Authority) IssueNames(trusted *Authority, nodes, hosts []string) secure.Identity {
	a.t.Helper()
	return a.issue(trusted, time.Hour, nodes, hosts)
}

func (a *Authority) issue(trusted *Authority, left time.Duration, nodes, hosts []string) secure.Identity {
	a.t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: rand.Text()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(left), EmailAddresses: nodes, DNSNames: hosts,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	_, key, text := a.sign(tmpl, a)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyText := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return secure.Identity{CA: trusted.text, Cert: text, Key: app.NewSecret(keyText)}
}

// sign signs a certificate of a new key; by nil it signs itself.
func (a *Authority) sign(tmpl *x509.Certificate, by *Authority) (*x509.Certificate, *ecdsa.PrivateKey, string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := tmpl, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
