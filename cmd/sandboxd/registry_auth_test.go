package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRegistryAuth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.json")
	text := `{"auths": {"a.example": {"auth": "` + base64.StdEncoding.EncodeToString([]byte("me:s:ecret")) + `"}, "bad.example": {"auth": "c2VjcmV0"}}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	auth := registryAuth(file)
	if user, secret, err := auth("a.example"); user != "me" || secret != "s:ecret" || err != nil {
		t.Errorf("a.example: %q, %q, %v", user, secret, err)
	}
	if user, secret, err := auth("b.example"); user != "" || secret != "" || err != nil {
		t.Errorf("b.example: %q, %q, %v", user, secret, err)
	}
	if _, _, err := auth("bad.example"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("bad.example: %v, want an error without the secret", err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := auth("a.example"); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others read: %v", err)
	}
	if registryAuth("") != nil {
		t.Error("no file, and credentials are looked for")
	}
}
