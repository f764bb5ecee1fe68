package reconcile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"beamsandbox/reconcile/app"
)

// CookieFiles keeps cookies in files that only root reads. The cluster's
// cookie is looked for where an Erlang operator puts it; every guest has one
// of its own that works nowhere else.
type CookieFiles struct {
	Root       string              // cookie and cookies/<name> are made here
	Configured app.Secret          // the key cookie of the configuration, may be empty
	Getenv     func(string) string // os.Getenv
	Home       string              // folder of .erlang.cookie; "" has none
}

// Cluster returns the host VM's cookie: the configured one, else that of
// RELEASE_COOKIE, ERLANG_COOKIE or BC_GITOPS_COOKIE, else ~/.erlang.cookie,
// else one that is made once and kept.
func (c CookieFiles) Cluster() (app.Secret, error) {
	if !c.Configured.Empty() {
		return c.Configured, nil
	}
	for _, name := range []string{"RELEASE_COOKIE", "ERLANG_COOKIE", "BC_GITOPS_COOKIE"} {
		if v := c.Getenv(name); v != "" {
			return app.NewSecret(v), nil
		}
	}
	if c.Home != "" {
		s, err := readCookie(filepath.Join(c.Home, ".erlang.cookie"))
		if !errors.Is(err, os.ErrNotExist) {
			return s, err
		}
	}
	return keepCookie(filepath.Join(c.Root, "cookie"))
}

// Guest returns the cookie of one guest, making it when it is missing.
func (c CookieFiles) Guest(name app.Name) (app.Secret, error) {
	return keepCookie(c.guest(name))
}

// Forget removes the cookie of one guest; there may be none.
func (c CookieFiles) Forget(name app.Name) error {
	if err := os.Remove(c.guest(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget cookie of %s: %w", name, err)
	}
	return nil
}

func (c CookieFiles) guest(name app.Name) string {
	return filepath.Join(c.Root, "cookies", string(name))
}

func readCookie(path string) (app.Secret, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return app.Secret{}, fmt.Errorf("read cookie: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" || len(text) > 255 { // a cookie is an atom
		return app.Secret{}, fmt.Errorf("read cookie: %s holds %d characters, a cookie has 1 to 255: write one or remove the file", path, len(text))
	}
	return app.NewSecret(text), nil
}

// keepCookie reads the cookie at path or makes one of 52 letters and digits
// (256 random bits).
func keepCookie(path string) (app.Secret, error) {
	s, err := readCookie(path)
	if !errors.Is(err, os.ErrNotExist) {
		return s, err
	}
	fresh := rand.Text() + rand.Text()
	if err := replaceFile(path, []byte(fresh+"\n")); err != nil {
		return app.Secret{}, err
	}
	return app.NewSecret(fresh), nil
}
