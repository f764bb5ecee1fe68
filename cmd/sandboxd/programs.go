package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// programs finds the folder of the programs that are installed with sandboxd:
// beside it in a build, under libexec when installed.
func programs() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find sandboxd's own folder: %w", err)
	}
	beside := filepath.Dir(self)
	libexec := filepath.Join(beside, "..", "libexec", "beamsandbox")
	for _, dir := range []string{beside, libexec} {
		if _, err := os.Stat(filepath.Join(dir, "sandbox-gateway")); err == nil {
			return filepath.Clean(dir), nil
		}
	}
	return "", fmt.Errorf("sandbox-gateway is missing in %s and %s: run 'make build' or 'make install'", beside, libexec)
}

// rebar3 is the one beside our programs, else that on PATH; "" when there is
// none, which builds then say.
func rebar3(bin string) string {
	own := filepath.Join(bin, "rebar3")
	if _, err := os.Stat(own); err == nil {
		return own
	}
	p, _ := exec.LookPath("rebar3") //nolint:errcheck // "" says it
	return p
}

// hexSource is the configured source of Hex for mix, else the one beside our
// programs, "" when there is none.
func hexSource(bin, configured string) string {
	own := filepath.Join(bin, "erlang-hex.tar.gz")
	if _, err := os.Stat(own); configured != "" || err != nil {
		return configured
	}
	return own
}
