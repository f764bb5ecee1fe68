package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"beamsandbox/distribution/epmd"
	"beamsandbox/reconcile/status"
)

// name checks that nodes of this machine find each other by its short name.
func (c Config) name(ctx context.Context) status.Check {
	const name = "hostname"
	cure := fmt.Sprintf("add '127.0.1.1 %s' to /etc/hosts", c.Hostname)
	if strings.Contains(c.Hostname, ".") {
		return status.Bad(name, c.Hostname+" is not a short name", "set sandboxd.hostname to the part before the first dot, and start the host VM with -sname")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", c.Hostname)
	if err != nil || len(found) == 0 {
		return status.Bad(name, c.Hostname+" does not resolve: nodes find each other by it", cure)
	}
	at := found[0].Unmap()
	if !own(at) {
		return status.Bad(name, fmt.Sprintf("%s resolves to %s, which is not this machine", c.Hostname, at), cure)
	}
	return status.Good(name, fmt.Sprintf("%s resolves to %s", c.Hostname, at))
}

// own reports whether one can listen at a.
func own(a netip.Addr) bool {
	l, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// epmd checks that a port mapper answers, and says whose process it is.
func (c Config) epmd(ctx context.Context) status.Check {
	const name = "epmd"
	holder := Holder(c.EPMD.Port())
	names, err := epmd.Names(ctx, c.EPMD)
	switch {
	case errors.Is(err, epmd.ErrNotRunning):
		return status.Bad(name, fmt.Sprintf("nothing listens at %s", c.EPMD), "run 'epmd -daemon' as the host VM's user; a host VM that starts does so too")
	case err != nil:
		return status.Bad(name, fmt.Sprintf("%s holds port %d and is no port mapper: %v", holder, c.EPMD.Port(), err), "stop it, then run 'epmd -daemon'")
	}
	var list []string
	for _, n := range names {
		list = append(list, n.Name)
	}
	found := fmt.Sprintf("%s answers at %s, names: %s", holder, c.EPMD, strings.Join(list, ", "))
	if len(list) == 0 {
		found = fmt.Sprintf("%s answers at %s, no names", holder, c.EPMD)
	}
	return status.Good(name, found)
}
