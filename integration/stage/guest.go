package stage

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"beamsandbox/distribution/control"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// GuestCookie is the cookie that sandboxd keeps for a guest.
func (s *Stage) GuestCookie(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(s.Root, "cookies", name))
	return strings.TrimSpace(string(b)), err
}

// DialGuest connects a hidden node of the test's own to a guest, past the
// gateway, with the guest's own cookie.
func (s *Stage) DialGuest(ctx context.Context, name string) (*control.Node, error) {
	cookie, err := s.GuestCookie(name)
	if err != nil {
		return nil, err
	}
	guest := s.daemon.App(ctx, name)
	addr, err := netip.ParseAddr(guest.Address)
	if err != nil {
		return nil, err
	}
	return control.Dial(ctx, control.Config{Name: s.Node("probe_" + name), Cookie: app.NewSecret(cookie),
		Peer: guest.Node, Addr: netip.AddrPortFrom(addr, policy.DistributionPort)})
}
