package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

const unit = "sandboxd.service"

// living is what an interruption of sandboxd must not change.
type living struct {
	guest   uint32
	changes term.Term // joins and leaves that the host VM saw
}

func (t *trial) living(ctx context.Context) (living, error) {
	changes, err := t.host.Call(ctx, "demo_web", "changes")
	return living{t.daemon.App(ctx, guest).Pid, changes}, err
}

// across does something to sandboxd and checks that another one is there
// after it and that the guest and its link never noticed.
func (t *trial) across(ctx context.Context, what string, replaced bool, do func() error) error {
	before, err := t.living(ctx)
	if err != nil {
		return err
	}
	main, err := command(ctx, "systemctl", "show", "--value", "-p", "MainPID", unit)
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	err = stage.Until(ctx, "sandboxd runs after "+what, func() bool {
		now, err := command(ctx, "systemctl", "show", "--value", "-p", "MainPID", unit)
		return err == nil && now != "0" && (now != main) == replaced
	})
	if err != nil {
		return err
	}
	if err := t.daemon.AwaitHealthy(ctx, guest); err != nil {
		return err
	}
	after, err := t.living(ctx)
	if err != nil {
		return err
	}
	if after.guest != before.guest || !term.Equal(after.changes, before.changes) {
		return fmt.Errorf("after %s the guest is pid %d (was %d), the host VM saw %s (before: %s)", what,
			after.guest, before.guest, term.Format(after.changes), term.Format(before.changes))
	}
	if err := t.limited(ctx, func(string, string) {}); err != nil {
		return fmt.Errorf("after %s: %w", what, err)
	}
	t.say("%s: the guest is still pid %d, its link never broke, its limits hold.", what, after.guest)
	return nil
}

func (t *trial) restart(ctx context.Context) error {
	return t.across(ctx, "systemctl restart sandboxd", true, func() error {
		_, err := command(ctx, "systemctl", "restart", unit)
		return err
	})
}

// reload makes systemd read its units and write its control groups anew.
func (t *trial) reload(ctx context.Context) error {
	return t.across(ctx, "systemctl daemon-reload", false, func() error {
		_, err := command(ctx, "systemctl", "daemon-reload")
		_, again := command(ctx, "systemctl", "set-property", "--runtime", unit, "CPUWeight=200")
		return errors.Join(err, again)
	})
}

// crash kills sandboxd; the service manager starts it again.
func (t *trial) crash(ctx context.Context) error {
	return t.across(ctx, "systemctl kill -s KILL sandboxd", true, func() error {
		_, err := command(ctx, "systemctl", "kill", "--kill-who=main", "-s", "KILL", unit)
		return err
	})
}

// remove takes the app out of the repository, stops the service, and counts
// what is left.
func (t *trial) remove(ctx context.Context) error {
	if err := errors.Join(t.gitops.Write("apps/"+guest, nil), t.gitops.Write("apps/.keep", []byte{}), t.gitops.Commit("Nothing"),
		t.daemon.Sync(ctx)); err != nil {
		return err
	}
	gone := func(h status.Host) bool { return len(h.Apps) == 0 && h.Settled }
	if err := t.daemon.Await(ctx, "the guest is gone", gone); err != nil {
		return err
	}
	if _, err := command(ctx, "systemctl", "stop", unit); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var left []string
	err := stage.Until(ctx, "nothing is left", func() bool {
		var err error
		left, err = t.left(ctx)
		return err == nil && len(left) == 0
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.Join(left, "; "))
	}
	t.say("The guest is removed, the service stopped: no process, mount, namespace, link, table, name or control group is left.")
	return nil
}

// left adds control groups of ours, and processes in the service's, to what
// the stage looks for.
func (t *trial) left(ctx context.Context) ([]string, error) {
	left, err := t.Leftovers(ctx)
	if _, e := os.Stat(cgroups + "/beamsandbox"); e == nil {
		left = append(left, cgroups+"/beamsandbox")
	}
	pids, e := os.ReadFile(cgroups + "/system.slice/" + unit + "/cgroup.procs")
	if e == nil && len(pids) > 0 {
		left = append(left, "processes of the service: "+strings.Join(strings.Fields(string(pids)), " "))
	}
	return left, err
}
