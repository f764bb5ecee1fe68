package hex_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"beamsandbox/images/hex"
	"beamsandbox/images/hex/hextest"
)

func TestHexPM(t *testing.T) {
	r, err := hex.HexPM()
	if err != nil {
		t.Fatal(err)
	}
	if r.Name != "hexpm" || r.PublicKey.N.BitLen() != 2048 || !strings.HasPrefix(r.URL, "https://") {
		t.Errorf("%+v", r)
	}
}

func TestReadFiles(t *testing.T) {
	r, err := hextest.New("acme")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dir := t.TempDir()
	text, err := r.OtherKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"key": text, "token": []byte("s3cret\n"), "empty": nil, "lines": []byte("a\nb"), "large": bytes.Repeat([]byte("x"), 65<<10),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	if key, err := hex.ReadPublicKey(at("key")); err != nil || key.Equal(r.Repository().PublicKey) {
		t.Error(err)
	}
	token, err := hex.ReadToken(at("token"))
	if err != nil || token.Reveal() != "s3cret" {
		t.Error(err)
	}
	for _, name := range []string{"missing", "empty", "lines", "large", "."} {
		if _, err := hex.ReadToken(at(name)); err == nil {
			t.Errorf("a token out of %s", name)
		}
		if _, err := hex.ReadPublicKey(at(name)); err == nil {
			t.Errorf("a key out of %s", name)
		}
	}
	if err := os.Chmod(at("token"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = hex.ReadToken(at("token"))
	if err == nil || !strings.Contains(err.Error(), "0600") || strings.Contains(fmt.Sprint(err), "s3cret") {
		t.Error(err)
	}
}
