package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keyFile writes the public key of a new pair.
func keyFile(t *testing.T, dir string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestHexRepositories(t *testing.T) {
	dir := t.TempDir()
	keyFile(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ hex, want, err string }{
		"default":       {"", "hexpm https://repo.hex.pm;", ""},
		"none":          {"{hex, []},", "", ""},
		"mirror":        {`{hex, [#{name => hexpm, url => <<"http://127.0.0.1:1">>}]},`, "hexpm http://127.0.0.1:1;", ""},
		"private first": {`{hex, [#{name => acme, url => "https://h/r", public_key => "key.pem", auth_token_file => "token"}, #{name => hexpm}]},`, "acme https://h/r hush;hexpm https://repo.hex.pm;", ""},
		"no key":        {`{hex, [#{name => acme, url => "https://h/r"}]},`, "", "open hex repository acme: public_key is missing"},
		"no url":        {`{hex, [#{name => acme, public_key => "key.pem"}]},`, "", "open hex repository acme: url is missing"},
		"no such file":  {`{hex, [#{name => acme, url => "https://h/r", public_key => "none.pem"}]},`, "", "none.pem"},
		"unknown key":   {`{hex, [#{name => acme, urll => "https://h/r"}]},`, "", "sandboxd.hex: expected a list of #{name, url, public_key, auth_token_file}"},
		"no name":       {`{hex, [#{url => "https://h/r"}]},`, "", "sandboxd.hex"},
	} {
		t.Run(name, func(t *testing.T) {
			c := defaults()
			err := c.read(filepath.Join(dir, "f"), fmt.Appendf(nil, "[{sandboxd, [%s {host_node, 'a@h'}]}].", tt.hex))
			if err != nil {
				expect(t, err, tt.err)
				return
			}
			all, err := c.openHex()
			expect(t, err, tt.err)
			got := ""
			for _, r := range all {
				got += strings.TrimSpace(r.Name+" "+r.URL+" "+r.AuthToken.Reveal()) + ";"
			}
			if got != tt.want {
				t.Errorf("repositories %q, want %q", got, tt.want)
			}
		})
	}
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Fatal(err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Fatalf("err = %v, want %q", err, want)
	}
}
