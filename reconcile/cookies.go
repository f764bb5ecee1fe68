package reconcile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/durable"
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
// else one that is made once and kept. A cookie that was replaced by a
// rotation counts as the one that replaced it.
func (c CookieFiles) Cluster() (app.Secret, error) {
	found, err := c.resolve()
	if err != nil {
		return app.Secret{}, err
	}
	kept, replaces, err := readKept(c.path(clusterCookie))
	switch {
	case err == nil && (found.Empty() || replaces == fingerprint(found)):
		return kept, nil
	case found.Empty() && errors.Is(err, os.ErrNotExist):
		return makeCookie(c.path(clusterCookie))
	case found.Empty():
		return app.Secret{}, err
	}
	return found, nil
}

// resolve looks where an Erlang operator puts the cluster's cookie; it is
// empty when it is nowhere.
func (c CookieFiles) resolve() (app.Secret, error) {
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
	return app.Secret{}, nil
}

// Guest returns the cookie of one guest, making it when it is missing.
func (c CookieFiles) Guest(name app.Name) (app.Secret, error) {
	s, err := readCookie(c.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return makeCookie(c.path(name))
	}
	return s, err
}

// Forget removes the cookie of one guest, and the one that was to replace it;
// there may be none.
func (c CookieFiles) Forget(name app.Name) error {
	for _, path := range []string{c.path(name), c.next(name)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("forget cookie of %s: %w", name, err)
		}
	}
	return nil
}

// clusterCookie is the name of the cluster's cookie beside those of apps.
const clusterCookie app.Name = ""

func (c CookieFiles) path(name app.Name) string {
	if name == clusterCookie {
		return filepath.Join(c.Root, "cookie")
	}
	return filepath.Join(c.Root, "cookies", string(name))
}

// readCookie reads a file that holds a cookie, as auth(3) does.
func readCookie(path string) (app.Secret, error) {
	s, _, err := readKept(path)
	return s, err
}

// readKept reads a cookie and, from the line after it, the fingerprint of the
// cookie that it replaces, "" when it replaces none.
func readKept(path string) (cookie app.Secret, replaces string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return app.Secret{}, "", fmt.Errorf("read cookie: %w", err)
	}
	text, more, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	text = strings.TrimSpace(text)
	if text == "" || len(text) > 255 { // a cookie is an atom
		return app.Secret{}, "", fmt.Errorf("read cookie: %s holds %d characters, a cookie has 1 to 255: write one or remove the file", path, len(text))
	}
	replaces, _ = strings.CutPrefix(more, replacesMark)
	return app.NewSecret(text), replaces, nil
}

// makeCookie makes a cookie and keeps it at path.
func makeCookie(path string) (app.Secret, error) {
	fresh := freshCookie()
	return fresh, durable.Write(path, []byte(fresh.Reveal()+"\n"))
}

// freshCookie is 52 letters and digits, 256 random bits.
func freshCookie() app.Secret { return app.NewSecret(rand.Text() + rand.Text()) }
