package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSSHFor(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	put := func(name string) string {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := sshFiles{key: put("own.key"), knownHosts: put("own.hosts")}
	const url = "git@example.org:team/app.git"
	wantSSHError(t, url, sshFiles{}, "--ssh-key", "id_ed25519, ", "id_rsa")
	wantSSHError(t, url, sshFiles{key: own.key}, "ssh-keyscan", "--known-hosts", "known_hosts")
	wantSSHError(t, url, sshFiles{key: "nowhere", knownHosts: own.knownHosts}, "no file nowhere")
	wantSSHError(t, "https://example.org/app.git", own, "over ssh")
	key, hosts := put(".ssh/id_rsa"), put(".ssh/known_hosts")
	for source, want := range map[string]sshFiles{
		url:                                  {key, hosts},
		"ssh://git@example.org/app.git":      {key, hosts},
		"https://user@example.org:1/app.git": {},
		"file:///srv/a@b:c.git":              {},
	} {
		if got, err := sshFor(source, sshFiles{}); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", source, got, err, want)
		}
	}
	if got, err := sshFor(url, own); err != nil || got != own {
		t.Errorf("named: %+v, %v", got, err)
	}
}

func wantSSHError(t *testing.T, source string, named sshFiles, parts ...string) {
	t.Helper()
	_, err := sshFor(source, named)
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s with %+v: %v, want one line with %q", source, named, err, part)
		}
	}
}

// sandboxd fetches the source once more, with the same files.
func TestTrialKnowsSSH(t *testing.T) {
	tr := &trial{}
	tr.runDir = t.TempDir()
	if err := os.MkdirAll(tr.path("host"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, files := range []sshFiles{{}, {"/k/id", "/k/hosts"}} {
		if err := tr.writeFiles(project{name: "app", ssh: files}, "hush"); err != nil {
			t.Fatal(err)
		}
		config, err := os.ReadFile(tr.path("sandboxd.config"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`{ssh_key,<<"/k/id">>}`, `{known_hosts,<<"/k/hosts">>}`} {
			if got := strings.Contains(strings.ReplaceAll(string(config), " ", ""), want); got != (files.key != "") {
				t.Errorf("%s in the configuration: %v\n%s", want, got, config)
			}
		}
	}
}
