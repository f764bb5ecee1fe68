package app

import (
	"slices"

	"beamsandbox/distribution/term"
)

// Ports returns the TCP ports that the app declares, ascending and without
// repetition: env.http_port and health.port.
func (s Spec) Ports() []uint16 {
	var ports []uint16
	if p, ok := s.HTTPPort(); ok {
		ports = append(ports, p)
	}
	if s.Health != nil && s.Health.Port != 0 {
		ports = append(ports, s.Health.Port)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// HTTPPort returns env.http_port, and whether it is there.
func (s Spec) HTTPPort() (uint16, bool) {
	n, ok := s.Env["http_port"].(term.Int)
	if !ok || n < 1 || n > 65535 {
		return 0, false
	}
	return uint16(n), true
}

// reserved refuses declared ports that are ours in every guest.
func (d *document) reserved() {
	if d.spec.Isolation != VM {
		return
	}
	for _, field := range []string{"env.http_port", "health.port"} {
		n := d.places[field]
		if d.absent(n) {
			continue
		}
		switch n.Term {
		case term.Term(term.Int(EPMDPort)):
			d.fail(n, field, "a port of the app's own", "4369 is the guest's port mapper")
		case term.Term(term.Int(DistributionPort)):
			d.fail(n, field, "a port of the app's own", "9100 is the guest's Erlang distribution")
		}
	}
}
