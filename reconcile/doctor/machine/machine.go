// Package machine checks whether a machine can run guests: its kernel, its
// programs, its folders, its name and its port mapper. It needs no daemon.
package machine

import (
	"context"
	"net/netip"
	"time"

	"beamsandbox/reconcile/status"
)

// Config says where to look. All paths are absolute.
type Config struct {
	Root       string         // sandboxd's root, which need not exist yet
	RunDir     string         // sandboxd's run_dir, which need not exist yet
	Bin        string         // folder of our containerd, shim, runc and sandbox-gateway; "": not found
	Containerd string         // socket of the machine's containerd; "": our own
	Erlang     string         // OTP root; "": that of erl on PATH
	Hostname   string         // the machine's short name
	EPMD       netip.AddrPort // the machine's port mapper
}

// patience bounds one question to another program.
const patience = 5 * time.Second

// Check looks at everything, in the order in which things depend on each
// other. It changes nothing.
func Check(ctx context.Context, c Config) []status.Check {
	checks := []status.Check{
		kernel(release()), userNamespaces(), seccomp(), overlay(), firewall(), cgroups(),
	}
	checks = append(checks, c.programs(ctx)...)
	checks = append(checks, c.erlang())
	checks = append(checks, folder("root", c.Root), secrets(c.Root), space(c.Root))
	checks = append(checks, folder("run_dir", c.RunDir))
	checks = append(checks, c.name(ctx), c.epmd(ctx))
	return checks
}
