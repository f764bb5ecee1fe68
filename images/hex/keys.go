package hex

import (
	"crypto/rsa"
	"fmt"
	"os"
	"strings"

	"beamsandbox/reconcile/app"
)

// hexPMKey is the public key of hex.pm's repository, as hex_core's default
// configuration has it and https://hex.pm/docs/public_keys shows it.
const hexPMKey = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEApqREcFDt5vV21JVe2QNB
Edvzk6w36aNFhVGWN5toNJRjRJ6m4hIuG4KaXtDWVLjnvct6MYMfqhC79HAGwyF+
IqR6Q6a5bbFSsImgBJwz1oadoVKD6ZNetAuCIK84cjMrEFRkELtEIPNHblCzUkkM
3rS9+DPlnfG8hBvGi6tvQIuZmXGCxF/73hU0/MyGhbmEjIKRtG6b0sJYKelRLTPW
XgK7s5pESgiwf2YC/2MGDXjAJfpfCd0RpLdvd4eRiXtVlE9qO9bND94E7PgQ/xqZ
J1i2xWFndWa6nfFnRxZmCStCOZWYYPlaxr+FZceFbpMwzTNs4g3d4tLNUcbKAIH4
0wIDAQAB
-----END PUBLIC KEY-----
`

// HexPM is the public repository of hex.pm, without cache.
func HexPM() (*Repository, error) {
	key, err := ParsePublicKey([]byte(hexPMKey))
	if err != nil {
		return nil, err
	}
	return &Repository{Name: "hexpm", URL: "https://repo.hex.pm", PublicKey: key}, nil
}

// maxKeyFile bounds the files of keys and tokens, in bytes.
const maxKeyFile = 64 << 10

// ReadPublicKey is ParsePublicKey for a file.
func ReadPublicKey(file string) (*rsa.PublicKey, error) {
	b, ok := readBounded(file, maxKeyFile)
	if !ok {
		return nil, fmt.Errorf("read public key: %s is not a readable file of at most %d KB", file, maxKeyFile>>10)
	}
	key, err := ParsePublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// ReadToken reads the auth token of a private repository: one line in a file
// that nobody but its owner and group may read.
func ReadToken(file string) (app.Secret, error) {
	info, err := os.Stat(file)
	if err != nil {
		return app.Secret{}, fmt.Errorf("read auth token: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return app.Secret{}, fmt.Errorf("read auth token: everybody on this machine may use %s (mode %04o): make it 0600", file, info.Mode().Perm())
	}
	b, ok := readBounded(file, maxKeyFile)
	token := strings.TrimSpace(string(b))
	if !ok || token == "" || strings.ContainsFunc(token, func(c rune) bool { return c < ' ' || c > '~' }) {
		return app.Secret{}, fmt.Errorf("read auth token: %s does not hold one line of text", file)
	}
	return app.NewSecret(token), nil
}
