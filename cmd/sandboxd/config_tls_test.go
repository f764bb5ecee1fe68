package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"beamsandbox/reconcile/ca"
)

func TestLegsOfLinks(t *testing.T) {
	own := `#{ca => "ca.pem", cert => "/etc/cert.pem", key => "key.pem"}`
	files := ca.Files{CA: "/etc/sandboxd/ca.pem", Cert: "/etc/cert.pem", Key: "/etc/sandboxd/key.pem"}
	for src, want := range map[string]*legs{
		`[]`:                                  {},
		`[{guest, plain}, {host, plain}]`:     {},
		`[{guest, tls}]`:                      {guestTLS: true},
		`[{host, tls}]`:                       {hostTLS: true},
		`[{guest, tls}, {host, ` + own + `}]`: {guestTLS: true, hostTLS: true, own: files},
		`#{guest => tls}`:                     {guestTLS: true},
		`tls`:                                 nil,
		`[{guests, tls}]`:                     nil,
		`[{guest, ssl}]`:                      nil,
		`[{guest, ` + own + `}]`:              nil,
		`[{host, #{ca => "a", cert => "b"}}]`: nil,
		`[{host, #{ca => "a", cert => "b", keyfile => "c"}}]`: nil,
		`[{host, #{ca => "a", cert => "b", key => 1}}]`:       nil,
	} {
		c := defaults()
		err := c.read("/etc/sandboxd/f", []byte("[{sandboxd, [{distribution, "+src+"}]}]."))
		switch {
		case want == nil && (err == nil || !strings.Contains(err.Error(), "sandboxd.distribution: expected [{guest, plain | tls}")):
			t.Errorf("%s: %v", src, err)
		case want != nil && (err != nil || c.Legs != *want):
			t.Errorf("%s: %+v, %v", src, c.Legs, err)
		}
	}
}

// TestOwnCertificateIsLookedAt: a configuration whose certificate cannot be
// used is refused as a whole.
func TestOwnCertificateIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"ca", "cert", "key"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("SECRETTEXT"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for cert, want := range map[string]string{"cert": "read our own certificate", "none": "no such file"} {
		c := defaults()
		src := `[{bc_gitops, [{repo_url, "x"}]}, {sandboxd, [{host_node, 'a@h'}, {hostname, h},
		  {distribution, [{host, #{ca => "ca", cert => "` + cert + `", key => "key"}}]}]}].`
		if err := c.read(filepath.Join(dir, "f"), []byte(src)); err != nil {
			t.Fatal(err)
		}
		err := c.complete("f")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "sandboxd.distribution") || strings.Contains(err.Error(), "SECRETTEXT") {
			t.Errorf("%s: %v", cert, err)
		}
	}
}
