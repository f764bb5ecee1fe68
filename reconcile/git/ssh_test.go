package git

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"beamsandbox/reconcile/git/gittest"
)

func TestFetchOverSSH(t *testing.T) {
	u := newUpstream(t)
	u.commit(map[string]string{"a": "one"})
	server, err := gittest.ServeSSH()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	dir := t.TempDir()
	key, known, wrong := filepath.Join(dir, "key"), filepath.Join(dir, "known"), filepath.Join(dir, "wrong")
	for file, data := range map[string][]byte{key: server.Key, known: server.KnownHosts, wrong: server.Stranger} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Config{URL: "ssh://git@" + server.Addr + u.dir, Branch: "main", SSHKey: key, KnownHosts: known}
	wantFile(t, fetch(t, open(t, cfg)), "a", "one")

	cfg.KnownHosts = wrong
	if _, err := open(t, cfg).Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "key mismatch") {
		t.Errorf("another host's key gave %v", err)
	}
	cfg.KnownHosts, cfg.SSHKey = known, filepath.Join(dir, "none")
	if _, err := open(t, cfg).Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a missing key gave %v", err)
	}
}
