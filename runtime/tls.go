package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"beamsandbox/distribution/secure"
	"beamsandbox/reconcile/app"
)

// Files of a guest whose distribution is TLS, in guestRun.
const (
	tlsOptions = "ssl_dist.config"
	tlsCA      = "tls/ca.pem"
	tlsNode    = "tls/node.pem"
)

// tlsFlags make the guest speak TLS (ssl, "Using TLS for Erlang Distribution").
func tlsFlags(c Config) []string {
	if c.TLS == nil {
		return nil
	}
	return []string{"-proto_dist", "inet_tls", "-ssl_dist_optfile", path.Join(guestRun, tlsOptions)}
}

// tlsFiles are what tlsFlags names. Certificate and key are one file, so that
// both are replaced at once.
func tlsFiles(c Config) []guestFile {
	if c.TLS == nil {
		return nil
	}
	options := secure.Options(path.Join(guestRun, tlsCA), path.Join(guestRun, tlsNode))
	return []guestFile{
		{path: "run/" + tlsOptions, data: []byte(options), owned: true},
		{path: "run/" + tlsCA, data: []byte(c.TLS.CA), owned: true},
		{path: "run/" + tlsNode, data: []byte(c.TLS.Node.Reveal()), owned: true},
	}
}

// checkTLS refuses a release that cannot speak TLS: its emulator would end
// without a word of why. Its boot script names the code path.
func checkTLS(c Config, read func(path string) ([]byte, bool)) error {
	boot, found := read(path.Join(c.Release.dir(), "start.boot"))
	if c.TLS == nil || !found || bytes.Contains(boot, []byte("/ssl-")) {
		return nil
	}
	return fmt.Errorf("guests speak TLS and release %s holds no application ssl: add ssl to its applications, or make the guests' leg plain (key distribution)", c.Release.Name)
}

// SetTLS gives a running guest another certificate and key, for the next
// handshakes, and reports whether they are new to it. A guest that is not
// there, or was started plain, is left as it is.
func (t *Tasks) SetTLS(ctx context.Context, name app.Name, given TLS) (changed bool, err error) {
	unlock, err := t.names.lock(ctx, string(name))
	if err != nil {
		return false, fmt.Errorf("wait for the turn of %s: %w", name, err)
	}
	defer unlock()
	state := t.state(string(name))
	for file, text := range map[string]string{tlsNode: given.Node.Reveal(), tlsCA: given.CA} {
		has, err := os.ReadFile(filepath.Join(string(state), "run", file))
		if errors.Is(err, os.ErrNotExist) || string(has) == text {
			continue
		}
		if err == nil {
			err = state.replace("run/"+file, []byte(text))
		}
		if err != nil {
			return changed, fmt.Errorf("give %s its new certificate: %w", name, err)
		}
		changed = true
	}
	return changed, nil
}
