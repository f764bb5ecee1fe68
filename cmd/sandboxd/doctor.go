package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"beamsandbox/distribution/epmd"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/doctor"
	"beamsandbox/reconcile/doctor/machine"
	"beamsandbox/reconcile/status"
)

// Doctor implements control.Doctor. Without parts it says why there are none,
// after what may be the cause.
func (d *daemon) Doctor(ctx context.Context, name string) ([]status.Check, error) {
	p := d.parts.Load()
	if p == nil {
		fault := d.Status().Error
		return append(machine.Check(ctx, d.cfg.machine()),
			status.Bad("daemon", fault, "mend what it names; sandboxd tries again at least every 15 s")), nil
	}
	now := p.reconciler.Status()
	if name != "" && !slices.ContainsFunc(now.Apps, func(a status.App) bool { return a.Name == name }) {
		return nil, fmt.Errorf("no app %s on this host; sandboxctl status lists them", name)
	}
	checks := append(machine.Check(ctx, d.cfg.machine()), status.Good("daemon", "runs, with containerd "+now.Containerd))
	return append(checks, doctor.Check(ctx, doctor.Config{
		Status: now, Hostname: d.cfg.Hostname, EPMD: portMapper(), Host: p.host, Guests: p.gateway,
		Cookie: cookies(d.cfg).Guest,
	}, app.Name(name))...), nil
}

// machine is where the machine's checks look.
func (c Config) machine() machine.Config {
	bin, _ := programs() //nolint:errcheck // "" says it
	return machine.Config{Root: c.Root, RunDir: c.RunDir, Bin: bin, Containerd: c.Containerd,
		Erlang: c.Erlang, Hostname: c.Hostname, EPMD: portMapper()}
}

func portMapper() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), epmd.Port)
}
