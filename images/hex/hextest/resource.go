package hextest

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/binary"
	"fmt"

	hexrepo "beamsandbox/images/hex"
)

// message is a protocol buffer under construction.
type message []byte

func (m *message) bytes(field int, b []byte) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|2)
	*m = binary.AppendUvarint(*m, uint64(len(b)))
	*m = append(*m, b...)
}

// text leaves an empty text out.
func (m *message) text(field int, s string) {
	if s != "" {
		m.bytes(field, []byte(s))
	}
}

func (m *message) int(field int, n uint64) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3)
	*m = binary.AppendUvarint(*m, n)
}

// Payload is p as the registry signs it (registry-v2.md, Package).
func Payload(p hexrepo.Package) []byte {
	var m message
	for _, r := range p.Releases {
		m.bytes(1, release(r))
	}
	m.text(2, p.Name)
	m.text(3, p.Repository)
	return m
}

func release(r hexrepo.Release) []byte {
	var m message
	m.text(1, r.Version)
	m.bytes(2, r.InnerChecksum)
	for _, d := range r.Dependencies {
		m.bytes(3, dependency(d))
	}
	if r.Retired != nil {
		var retired message
		retired.int(1, uint64(r.Retired.Reason))
		retired.text(2, r.Retired.Message)
		m.bytes(4, retired)
	}
	if len(r.OuterChecksum) > 0 {
		m.bytes(5, r.OuterChecksum)
	}
	return m
}

func dependency(d hexrepo.Dependency) []byte {
	var m message
	m.text(1, d.Package)
	m.bytes(2, []byte(d.Requirement))
	if d.Optional {
		m.int(3, 1)
	}
	if d.App != d.Package {
		m.text(4, d.App)
	}
	m.text(5, d.Repository)
	return m
}

// Sign is the signature of payload: RSA PKCS #1 v1.5 over SHA-512.
func Sign(key *rsa.PrivateKey, payload []byte) ([]byte, error) {
	sum := sha512.Sum512(payload)
	b, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA512, sum[:])
	if err != nil {
		return nil, fmt.Errorf("sign resource: %w", err)
	}
	return b, nil
}

// Signed is a resource as it is served: gzip of Signed{payload, signature};
// without signature if that is nil.
func Signed(payload, signature []byte) []byte {
	var m message
	m.bytes(1, payload)
	if signature != nil {
		m.bytes(2, signature)
	}
	return Gzip(m)
}

// Gzip is b compressed.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b) //nolint:errcheck // a buffer takes everything
	z.Close()  //nolint:errcheck // a buffer takes everything
	return out.Bytes()
}
