package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"beamsandbox/reconcile/status"
)

func (d *fakeDaemon) RotateCookie(_ context.Context, app string) ([]status.Rotation, error) {
	switch app {
	case "":
		return []status.Rotation{{App: "pulse", State: status.RotationDone}, {App: "counter", State: status.RotationPending, Detail: "it is\x1b[2J away"}}, nil
	case "pulse":
		return []status.Rotation{{App: "pulse", State: status.RotationDone}}, nil
	}
	return nil, errors.New("no app " + app + " on this host")
}

func (d *fakeDaemon) RotateCluster(context.Context) ([]status.Rotation, error) {
	return []status.Rotation{{State: status.RotationDone, Detail: "write it down"}}, nil
}

func TestCookieRotate(t *testing.T) {
	socket := serveFake(t, &fakeDaemon{})
	for _, tc := range []struct {
		args string
		code int
		out  string // words of the last line
		says string
	}{
		{"pulse", 0, "pulse rotated -", ""},
		{"pulse -o json", 0, "]", ""},
		{"--all", exitFailed, `counter pending it is\x1b[2J away`, `counter: pending: it is\x1b[2J away`},
		{"--cluster", 0, "(cluster) rotated write it down", ""},
		{"nobody", exitFailed, "", "no app nobody on this host"},
		{"", exitUsage, "", "name one app, or say --all"},
		{"pulse --all", exitUsage, "", "name one app, or say --all"},
		{"--all --cluster", exitUsage, "", "name one app, or say --all"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			code, out, says := ctl(t, append([]string{"--socket", socket, "cookie", "rotate"}, strings.Fields(tc.args)...)...)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			last := strings.Join(strings.Fields(lines[len(lines)-1]), " ")
			if code != tc.code || last != tc.out || !strings.Contains(says, tc.says) {
				t.Errorf("code %d, %q, %q", code, last, says)
			}
		})
	}
}
