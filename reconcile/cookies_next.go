package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/durable"
)

const (
	// nextSuffix marks the file of a cookie that is about to replace another
	// one. It is written before anybody is told of that cookie and goes when
	// nobody needs the old one any more: while it is there, either may be in
	// force, and the rotation has to be finished.
	nextSuffix = ".next"
	// replacesMark begins the second line of the cluster's file.
	replacesMark = "replaces "
)

func (c CookieFiles) next(name app.Name) string { return c.path(name) + nextSuffix }

// Begin makes and keeps the cookie that is to replace the one of name, ""
// for the cluster's; one that is kept from a rotation which was cut short
// serves again.
func (c CookieFiles) Begin(name app.Name) (app.Secret, error) {
	s, err := c.Next(name)
	if err != nil || !s.Empty() {
		return s, err
	}
	return makeCookie(c.next(name))
}

// Next is the cookie that is to replace the one of name; it is empty when no
// rotation is under way.
func (c CookieFiles) Next(name app.Name) (app.Secret, error) {
	s, err := readCookie(c.next(name))
	if errors.Is(err, os.ErrNotExist) {
		return app.Secret{}, nil
	}
	return s, err
}

// Commit makes the next cookie of name its only one.
func (c CookieFiles) Commit(name app.Name) error {
	if name != clusterCookie {
		if err := os.Rename(c.next(name), c.path(name)); err != nil {
			return fmt.Errorf("keep the new cookie of %s: %w", name, err)
		}
		return durable.SyncDir(filepath.Dir(c.path(name)))
	}
	return c.commitCluster()
}

// commitCluster keeps the new cookie beside the fingerprint of what it
// replaces: the old one is still where the operator wrote it.
func (c CookieFiles) commitCluster() error {
	next, err := readCookie(c.next(clusterCookie))
	if err != nil {
		return fmt.Errorf("keep the cluster's new cookie: %w", err)
	}
	found, err := c.resolve()
	if err != nil {
		return err
	}
	text := next.Reveal() + "\n"
	if !found.Empty() {
		text += replacesMark + fingerprint(found) + "\n"
	}
	if err := durable.Write(c.path(clusterCookie), []byte(text)); err != nil {
		return err
	}
	return c.Abandon(clusterCookie)
}

// Abandon gives up the next cookie of name: nobody knows it.
func (c CookieFiles) Abandon(name app.Name) error {
	if err := os.Remove(c.next(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("drop a cookie that is not used: %w", err)
	}
	return nil
}

// Pending lists whose rotation is not finished, the cluster first.
func (c CookieFiles) Pending() ([]app.Name, error) {
	entries, err := os.ReadDir(filepath.Join(c.Root, "cookies"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list cookies: %w", err)
	}
	var names []app.Name
	if _, err := os.Stat(c.next(clusterCookie)); err == nil {
		names = append(names, clusterCookie)
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), nextSuffix); ok {
			names = append(names, app.Name(name))
		}
	}
	return slices.Clip(names), nil
}

// Outside reports whether the cluster's cookie is written somewhere that is
// not ours: the configuration, the environment or ~/.erlang.cookie.
func (c CookieFiles) Outside() bool {
	found, err := c.resolve()
	return err == nil && !found.Empty()
}

// fingerprint tells cookies apart without naming them.
func fingerprint(s app.Secret) string {
	sum := sha256.Sum256([]byte("beamsandbox cookie " + s.Reveal()))
	return hex.EncodeToString(sum[:])
}
