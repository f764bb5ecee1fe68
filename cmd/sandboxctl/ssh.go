package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// sshFiles are what git over ssh needs: who we are, and whom we trust.
type sshFiles struct {
	key, knownHosts string // paths
}

// overSSH reports whether a git URL is ssh://… or user@host:path.
func overSSH(source string) bool {
	if scheme, _, ok := strings.Cut(source, "://"); ok {
		return scheme == "ssh" || scheme == "git+ssh"
	}
	_, rest, ok := strings.Cut(source, "@")
	return ok && strings.Contains(rest, ":")
}

// sshFor finds the files for a git URL: those that are named, else those that
// ssh itself would take. They are empty for a URL that is not over ssh.
func sshFor(source string, named sshFiles) (sshFiles, error) {
	if !overSSH(source) {
		if named != (sshFiles{}) {
			return sshFiles{}, usage(errors.New("--ssh-key and --known-hosts go with a git URL over ssh"))
		}
		return sshFiles{}, nil
	}
	home, _ := os.UserHomeDir() //nolint:errcheck // "" has neither file
	var err error
	if named.key, err = existing(named.key, home, "id_ed25519", "id_ecdsa", "id_rsa"); err != nil {
		return sshFiles{}, fmt.Errorf("find the private key for %s: %w: name one without a passphrase with --ssh-key", source, err)
	}
	if named.knownHosts, err = existing(named.knownHosts, home, "known_hosts"); err != nil {
		return sshFiles{}, fmt.Errorf("find the known hosts for %s: %w: make a file with ssh-keyscan, compare the fingerprint, and name it with --known-hosts", source, err)
	}
	return named, nil
}

// existing is the absolute path of a file: the named one, else the first of
// names that is in ~/.ssh.
func existing(named, home string, names ...string) (string, error) {
	tried := []string{named}
	if named == "" {
		tried = nil
		for _, n := range names {
			tried = append(tried, filepath.Join(home, ".ssh", n))
		}
	}
	for _, path := range tried {
		if i, err := os.Stat(path); err == nil && i.Mode().IsRegular() {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("no file %s", strings.Join(tried, ", "))
}
