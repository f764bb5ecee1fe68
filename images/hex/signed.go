package hex

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
)

// minKeyBits is the smallest RSA key that is accepted; hex.pm's has 2048.
const minKeyBits = 2048

// ParsePublicKey reads an RSA public key in PEM, as /public_key serves it and
// hex.pm publishes it ("PUBLIC KEY" or "RSA PUBLIC KEY").
func ParsePublicKey(text []byte) (*rsa.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("read public key: %w: no PEM block: give it with its BEGIN PUBLIC KEY line", ErrMalformed)
	}
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, fmt.Errorf("read public key: %w: a PEM block %.40q is not a public key", ErrMalformed, block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("read public key: %w: %w", ErrMalformed, err)
	}
	rsaKey, ok := key.(*rsa.PublicKey)
	if !ok || rsaKey.N.BitLen() < minKeyBits {
		return nil, fmt.Errorf("read public key: %w: an RSA key of %d bits or more is needed", ErrMalformed, minKeyBits)
	}
	return rsaKey, nil
}

// Verify reads an answer of /packages/NAME: gzip of Signed{1: payload, 2:
// signature}. The signature (RSA PKCS #1 v1.5 over SHA-512) must be by the
// repository's key, the payload by this repository and about name.
func (r *Repository) Verify(raw []byte, name string) (Package, error) {
	signed, err := inflate(raw, MaxResourceText)
	if err != nil {
		return Package{}, fmt.Errorf("unpack registry answer: %w", err)
	}
	return r.verify(signed, name)
}

func (r *Repository) verify(signed []byte, name string) (Package, error) {
	payload, signature, err := readSigned(signed)
	if err != nil {
		return Package{}, fmt.Errorf("read registry answer: %w", err)
	}
	if r.PublicKey == nil {
		return Package{}, fmt.Errorf("%w: there is none for repository %s: configure one", ErrSignature, r.Name)
	}
	sum := sha512.Sum512(payload)
	if rsa.VerifyPKCS1v15(r.PublicKey, crypto.SHA512, sum[:], signature) != nil {
		return Package{}, fmt.Errorf("%w: the key is wrong, or the answer was changed on its way", ErrSignature)
	}
	p, err := (&packageReader{}).read(payload)
	switch {
	case err != nil:
		return Package{}, err
	case p.Repository != r.Name:
		return Package{}, fmt.Errorf("%w: %.100q instead of %q", ErrRepository, p.Repository, r.Name)
	case p.Name != name:
		return Package{}, fmt.Errorf("%w: the answer is about %.100q instead of %q", ErrPackage, p.Name, name)
	}
	return p, nil
}

func readSigned(b []byte) (payload, signature []byte, err error) {
	err = eachField(b, func(f field) (err error) {
		switch f.number {
		case 1:
			payload, err = f.data()
		case 2:
			signature, err = f.data()
		}
		return err
	})
	if err == nil && payload == nil {
		err = fmt.Errorf("%w: it has no payload", ErrMalformed)
	}
	return payload, signature, err
}

// inflate undoes gzip up to limit bytes.
func inflate(b []byte, limit int) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	case len(text) > limit:
		return nil, fmt.Errorf("%w: more than %d MB", ErrTooLarge, limit>>20)
	}
	return text, nil
}
