package main

import (
	"context"
	"errors"
	"os"

	"beamsandbox/reconcile/status"
)

// enable makes sandboxd a part of the next boot, and keeps the cluster's cookie.
func (t *trial) enable(ctx context.Context) error {
	_, err := command(ctx, "systemctl", "enable", unit)
	return errors.Join(err, os.WriteFile(t.Path("cookie"), []byte(t.Cookie), 0o600))
}

// reborn finds the service started by the machine's boot, without a host VM
// to talk to; then the host VM comes, and the guest must.
func (t *trial) reborn(ctx context.Context) error {
	cookie, err := os.ReadFile(t.Path("cookie"))
	if err != nil {
		return err
	}
	t.Cookie = string(cookie)
	t.gitops = t.OpenRepo("gitops")
	t.daemon = t.Attach()
	err = t.daemon.Await(ctx, "sandboxd answers after the reboot", func(status.Host) bool { return true })
	if err != nil {
		return err
	}
	t.say("The machine has rebooted, sandboxd is there; now the host VM starts.")
	if err := t.StartEPMD(ctx); err != nil {
		return err
	}
	if t.host, err = t.StartHost(ctx, "demo_web"); err != nil {
		return err
	}
	if err := t.daemon.AwaitHealthy(ctx, guest); err != nil {
		return err
	}
	a := t.daemon.App(ctx, guest)
	t.say("%s is healthy again, pid %d.", guest, a.Pid)
	for _, s := range a.Stages {
		t.say("  %-9s %6d ms", s.Name, s.Took.Milliseconds())
	}
	return nil
}
