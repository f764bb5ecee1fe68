package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"beamsandbox/reconcile/status"
)

func (d *fakeDaemon) RotateTLS(_ context.Context, app string) ([]status.Rotation, error) {
	if app != "" {
		return nil, errors.New(app + " is no guest that runs and speaks TLS")
	}
	return []status.Rotation{{App: "pulse", State: status.RotationDone}, {State: status.RotationDone}}, nil
}

func (d *fakeDaemon) IssueTLS(_ context.Context, node string) (status.Certificate, error) {
	if node != "demo_web@myhost" {
		return status.Certificate{}, errors.New(node + " is no node name")
	}
	return status.Certificate{CA: "CA", Node: "NODEANDKEY", Options: `[{certfile,"node.pem"},{cacertfile,"ca.pem"}].`}, nil
}

func TestTLSRotate(t *testing.T) {
	socket := serveFake(t, &fakeDaemon{})
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"--all", 0, ""},
		{"pulse", exitFailed, "pulse is no guest that runs and speaks TLS"},
		{"", exitUsage, "name one app, or say --all"},
		{"pulse --all", exitUsage, "name one app, or say --all"},
	} {
		code, out, says := ctl(t, append([]string{"--socket", socket, "tls", "rotate"}, strings.Fields(tc.args)...)...)
		if code != tc.code || !strings.Contains(says, tc.says) || code == 0 && !strings.Contains(out, "(gateway)") {
			t.Errorf("%q: code %d, %q, %q", tc.args, code, out, says)
		}
	}
}

func TestTLSIssue(t *testing.T) {
	socket := serveFake(t, &fakeDaemon{})
	dir := filepath.Join(t.TempDir(), "tls")
	run := func(node string) (int, string, string) {
		return ctl(t, "--socket", socket, "tls", "issue", node, "--dir", dir)
	}
	if code, _, says := run("demo_web"); code != exitFailed || !strings.Contains(says, "no node name") {
		t.Errorf("code %d, %q", code, says)
	}
	code, out, says := run("demo_web@myhost")
	if code != 0 || !strings.Contains(out, "-ssl_dist_optfile "+dir+"/ssl_dist.config\n") || strings.Contains(out, "NODEANDKEY") {
		t.Fatalf("code %d, %q, %q", code, out, says)
	}
	for name, want := range map[string]string{"ca.pem": "CA", "node.pem": "NODEANDKEY",
		"ssl_dist.config": `[{certfile,"` + dir + `/node.pem"},{cacertfile,"` + dir + `/ca.pem"}].`} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		info, statErr := os.Stat(filepath.Join(dir, name))
		if err != nil || statErr != nil || string(text) != want || info.Mode().Perm() != 0o600 {
			t.Errorf("%s holds %q, %v, %v", name, text, info.Mode(), err)
		}
	}
	if code, _, says := run("demo_web@myhost"); code != exitFailed || !strings.Contains(says, "is there already") {
		t.Errorf("a second time: code %d, %q", code, says)
	}
}
