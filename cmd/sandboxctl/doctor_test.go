package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"beamsandbox/reconcile/status"
)

// Doctor answers well for pulse, badly for the rest.
func (d *fakeDaemon) Doctor(_ context.Context, app string) ([]status.Check, error) {
	machine := status.Good("kernel", "Linux 6.1.0")
	switch app {
	case "pulse":
		doubt := status.Doubtful("guest_messages", "refused: name 5\x1b[2J", "see policy")
		doubt.App = "pulse"
		return []status.Check{machine, doubt}, nil
	case "":
		return []status.Check{machine, status.Bad("epmd", "nothing listens", "run 'epmd -daemon'")}, nil
	}
	return nil, fmt.Errorf("no app %s on this host", app)
}

func TestDoctor(t *testing.T) {
	socket := serveFake(t, &fakeDaemon{})
	code, out, _ := ctl(t, "--socket", socket, "doctor", "pulse")
	if want := "ok    -      kernel          Linux 6.1.0\nwarn  pulse  guest_messages  refused: name 5\\x1b[2J => see policy\n"; code != 0 || out != want {
		t.Errorf("pulse: code %d\n%s\nwant\n%s", code, out, want)
	}
	code, out, diagnostics := ctl(t, "--socket", socket, "doctor")
	if code != exitFailed || !strings.Contains(out, "fail  -  epmd    nothing listens => run 'epmd -daemon'") || diagnostics != "1 check of 2 failed" {
		t.Errorf("all: code %d, %q\n%s", code, diagnostics, out)
	}
	code, _, diagnostics = ctl(t, "--socket", socket, "doctor", "nobody")
	if code != exitFailed || !strings.Contains(diagnostics, "no app nobody") {
		t.Errorf("nobody: code %d, %q", code, diagnostics)
	}
}

// TestDoctorWithoutDaemon: the machine is looked at, and what was not is said.
func TestDoctorWithoutDaemon(t *testing.T) {
	for _, flags := range [][]string{{"--json"}, {"-o", "json"}} {
		code, out, _ := ctl(t, append([]string{"--socket", filepath.Join(t.TempDir(), "none.sock"), "doctor", "--root", t.TempDir()}, flags...)...)
		var checks []status.Check
		if err := json.Unmarshal([]byte(out), &checks); err != nil || code != exitFailed {
			t.Fatalf("%v: code %d, %v\n%s", flags, code, err, out)
		}
		names := map[string]status.Verdict{}
		for _, c := range checks {
			names[c.Name] = c.Verdict
		}
		if names["kernel"] == "" || names["daemon"] != status.Fail || names["host_cookie"] != "" {
			t.Errorf("%v: %+v", flags, checks)
		}
	}
}
