package ca

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/secure"
)

func certOf(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no PEM: %q", text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// trusts reports whether an authority's certificate vouches for another one.
func trusts(t *testing.T, authority, cert string, now time.Time) bool {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(authority))
	_, err := certOf(t, cert).Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, DNSName: "myhost",
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}

func store(t *testing.T, now *time.Time) Store {
	return Store{Root: filepath.Join(t.TempDir(), "tls"), Now: func() time.Time { return *now }}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestCertificatesAreKeptAndRenewed(t *testing.T) {
	now := time.Now()
	s := store(t, &now)
	first := must[Issued](t)(s.Keep(Guests, "pulse", "pulse@myhost"))
	cert := certOf(t, first.Cert)
	if !slices.Equal(cert.EmailAddresses, []string{"pulse@myhost"}) || !slices.Equal(cert.DNSNames, []string{"myhost"}) || cert.IsCA {
		t.Errorf("it is for %v and %v, an authority: %v", cert.EmailAddresses, cert.DNSNames, cert.IsCA)
	}
	if again := must[Issued](t)(s.Keep(Guests, "pulse", "pulse@myhost")); again != first {
		t.Error("a certificate that is good was replaced")
	}
	now = now.Add(59 * 24 * time.Hour)
	if again := must[Issued](t)(s.Keep(Guests, "pulse", "pulse@myhost")); again != first {
		t.Error("a certificate was replaced before it was due")
	}
	now = now.Add(2 * 24 * time.Hour)
	second := must[Issued](t)(s.Keep(Guests, "pulse", "pulse@myhost"))
	if second == first || second.Key == first.Key || !first.Ends.After(now) {
		t.Error("a certificate that is due was not replaced, with its key, while it is good")
	}
	third := must[Issued](t)(s.Renew(Guests, "pulse", "pulse@myhost"))
	other := must[Issued](t)(s.Keep(Guests, "pulse", "new_name@myhost"))
	if third == second || other == third || certOf(t, other.Cert).EmailAddresses[0] != "new_name@myhost" {
		t.Error("a certificate for another name was kept")
	}
	trust := must[string](t)(s.Trust(Guests))
	for _, i := range []Issued{second, third, other} {
		if !trusts(t, trust, i.Cert, now) {
			t.Error("the authority does not vouch for its certificate")
		}
	}
	if trusts(t, trust, first.Cert, now.Add(40*24*time.Hour)) {
		t.Error("a certificate does not end")
	}
	for range 2 {
		if err := s.Forget(Guests, "pulse"); err != nil {
			t.Error(err)
		}
	}
	if again := must[Issued](t)(s.Keep(Guests, "pulse", "new_name@myhost")); again == other {
		t.Error("what was forgotten came back")
	}
}

func TestAuthoritiesVouchForTheirOwnAlone(t *testing.T) {
	now := time.Now()
	s := store(t, &now)
	all := []Authority{Guests, Gateway, Host}
	for _, signer := range all {
		cert := must[Issued](t)(s.Keep(signer, "x", "pulse@myhost")).Cert
		for _, believed := range all {
			if trusts(t, must[string](t)(s.Trust(believed)), cert, now) != (signer == believed) {
				t.Errorf("%s vouches wrongly for a certificate of %s", believed, signer)
			}
		}
	}
	if trusts(t, must[string](t)(s.Trust(Guests)), must[string](t)(store(t, &now).Trust(Guests)), now) {
		t.Error("another machine's authority is believed")
	}
}

func TestFilesAreRootsAlone(t *testing.T) {
	now := time.Now()
	s := store(t, &now)
	must[Issued](t)(s.Keep(Guests, "pulse", "pulse@myhost"))
	files := 0
	err := filepath.WalkDir(s.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if !d.IsDir() {
			files++
		}
		return nil
	})
	if err != nil || files != 3 { // two certificates and the lock
		t.Errorf("%d files, %v", files, err)
	}
}

func TestUnusableFiles(t *testing.T) {
	now := time.Now()
	s := store(t, &now)
	path := filepath.Join(s.Root, "guests-ca.pem")
	good := must[string](t)(s.Trust(Guests))
	for what, tc := range map[string]struct{ text, want string }{
		"garbage":  {"SECRETTEXT", "holds none"},
		"no key":   {good, "no private key"},
		"bad key":  {good + string(pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: []byte("SECRETTEXT")})), "cannot be read"},
		"bad cert": {string(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: []byte("x")})), "remove it"},
	} {
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.Keep(Guests, "pulse", "pulse@myhost")
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "SECRETTEXT") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := store(t, &now).Renew(Host, "x", "demo_web"); err == nil || !strings.Contains(err.Error(), "no node name") {
		t.Errorf("a name that is none: %v", err)
	}
	now = now.Add(caLife)
	s = store(t, &now)
	must[string](t)(s.Trust(Guests))
	now = now.Add(caLife + time.Hour)
	if _, err := s.Trust(Guests); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("an authority that has ended: %v", err)
	}
}

func TestLegs(t *testing.T) {
	now := time.Now()
	l := Legs{Store: store(t, &now), Hostname: "myhost", HostNode: "demo_web@myhost"}
	guest, err := l.Guest("pulse", "pulse@myhost")
	if err != nil || !strings.Contains(guest.Node.Reveal(), keyBlock) || guest.CA != must[string](t)(l.Trust(Gateway)) {
		t.Errorf("the guest is given %v, %v", guest, err)
	}
	toGuests := must[secure.Identity](t)(l.ToGuest("pulse", "pulse@myhost", false))
	if toGuests.CA != must[string](t)(l.Trust(Guests)) || toGuests.Check() != nil {
		t.Errorf("the gateway is given %v", toGuests)
	}
	if err := errors.Join(l.RenewGuest("pulse", "pulse@myhost"), l.RenewOurs()); err != nil {
		t.Fatal(err)
	}
	if again, _ := l.Guest("pulse", "pulse@myhost"); again == guest || again.CA != guest.CA {
		t.Error("the guest's certificate was not renewed alone")
	}
	if again, _ := l.ToGuest("pulse", "pulse@myhost", false); again.Cert == toGuests.Cert {
		t.Error("the gateway's certificate was not renewed")
	}
	kept := must[Issued](t)(l.Keep(Guests, "pulse", "pulse@myhost"))
	for _, tc := range []struct {
		after   time.Duration
		reached bool
		want    time.Time
	}{{0, false, time.Time{}}, {0, true, kept.Since}, {settles / 2, false, time.Time{}}, {settles, false, kept.Since}} {
		now = now.Add(tc.after)
		if id, err := l.ToGuest("pulse", "pulse@myhost", tc.reached); err != nil || !id.PeerSince.Equal(tc.want) {
			t.Errorf("after %v more, reached %v: since %v, %v", tc.after, tc.reached, id.PeerSince, err)
		}
	}
	issued := must[secure.Identity](t)(l.Issue("demo_web@myhost"))
	if !trusts(t, issued.CA, issued.Cert, now) || issued.CA != must[string](t)(l.Trust(Host)) {
		t.Error("the host VM's certificate is not the authority's")
	}
	if left, _ := filepath.Glob(filepath.Join(l.Root, "host", "*")); len(left) != 1 { // sandboxd's own
		t.Errorf("the host VM's key was kept: %v", left)
	}
	if end := certOf(t, issued.Cert).NotAfter; end.Before(now.Add(lent - time.Hour)) {
		t.Errorf("it ends %v", end)
	}
}

func TestOwnFiles(t *testing.T) {
	now := time.Now()
	l := Legs{Store: store(t, &now), Hostname: "myhost", HostNode: "demo_web@myhost"}
	id := must[secure.Identity](t)(l.Issue("gateway@myhost"))
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	l.Own = Files{CA: file("ca", id.CA), Cert: file("cert", id.Cert), Key: file("key", id.Key.Reveal())}
	if got, err := l.ToHost(); err != nil || got != id {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := l.Issue("demo_web@myhost"); err == nil || !strings.Contains(err.Error(), "authority of yours") {
		t.Errorf("issued beside the operator's authority: %v", err)
	}
	file("key", "SECRETTEXT")
	if _, err := l.ToHost(); err == nil || !strings.Contains(err.Error(), l.Own.Cert) || strings.Contains(err.Error(), "SECRETTEXT") {
		t.Errorf("a key that is none: %v", err)
	}
	l.Own.CA = filepath.Join(dir, "none")
	if _, err := l.ToHost(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestManyAtOnceAgree(t *testing.T) {
	now := time.Now()
	s := store(t, &now)
	got := make(chan Issued, 16)
	for range cap(got) {
		go func() {
			i, err := s.Keep(Guests, "pulse", "pulse@myhost")
			if err != nil {
				t.Error(err)
			}
			got <- i
		}()
	}
	first := <-got
	for range cap(got) - 1 {
		if <-got != first {
			t.Error("two certificates were issued for one name")
		}
	}
}
