package ca

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"beamsandbox/reconcile/app"
)

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

// lock keeps others from issuing at the same time: two who both find nothing
// would make two authorities.
func (s Store) lock() (func(), error) {
	if err := os.MkdirAll(s.Root, 0o700); err != nil {
		return nil, fmt.Errorf("keep certificates: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.Root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep certificates: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("keep certificates: lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// read reads a certificate and its key from one file.
func read(path string) (Issued, *x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Issued{}, nil, fmt.Errorf("read certificate: %w", err)
	}
	return parse(path, data)
}

// parse reads the text of a file like that; path is for errors.
func parse(path string, data []byte) (Issued, *x509.Certificate, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != certBlock {
		return Issued{}, nil, fmt.Errorf("read certificate: %s holds none: remove it", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Issued{}, nil, fmt.Errorf("read certificate: %s: %w: remove it", path, err)
	}
	key, _ := pem.Decode(rest)
	if key == nil || key.Type != keyBlock {
		return Issued{}, nil, fmt.Errorf("read certificate: %s holds no private key: remove it", path)
	}
	whole := cert.NotAfter.Sub(cert.NotBefore)
	return Issued{Cert: string(pem.EncodeToMemory(block)), Key: app.NewSecret(string(pem.EncodeToMemory(key))),
		Since: cert.NotBefore, Due: cert.NotBefore.Add(whole / 3 * 2), Ends: cert.NotAfter}, cert, nil
}

func parseKey(text app.Secret) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text.Reveal()))
	if block == nil {
		return nil, errors.New("no private key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the private key cannot be read") // the cause may quote it
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is not an ECDSA key")
	}
	return key, nil
}
