package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// A sysctl is one file under /proc/sys/net (ip-sysctl, kernel
// documentation) and the value it gets. The files show the namespace of the
// thread that opens them.
type sysctl struct{ path, value string }

// linkSysctls make an end of the pair answer for its own address only, take
// no advice on routes, and speak no IPv6.
func linkSysctls(link string) []sysctl {
	v4 := "ipv4/conf/" + link + "/"
	return []sysctl{
		{"ipv6/conf/" + link + "/disable_ipv6", "1"},
		{v4 + "forwarding", "0"},
		{v4 + "rp_filter", "1"},
		{v4 + "accept_redirects", "0"},
		{v4 + "send_redirects", "0"},
		{v4 + "accept_source_route", "0"},
		{v4 + "route_localnet", "0"},
		{v4 + "arp_ignore", "1"},
		{v4 + "arp_announce", "2"},
	}
}

// guestSysctls are for the whole namespace. A guest has no capability, and
// needs none to listen below port 1024: the ports are its own.
func guestSysctls() []sysctl {
	return []sysctl{
		{"ipv6/conf/all/disable_ipv6", "1"},
		{"ipv6/conf/default/disable_ipv6", "1"},
		{"ipv4/ip_unprivileged_port_start", "0"},
	}
}

// setSysctls writes those that differ. A kernel without IPv6 lacks its files,
// which is as good.
func setSysctls(all []sysctl) error {
	for _, s := range all {
		path := "/proc/sys/net/" + s.path
		have, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(s.path, "ipv6/") {
			continue
		}
		if err != nil {
			return fmt.Errorf("read sysctl: %w", err)
		}
		if strings.TrimSpace(string(have)) == s.value {
			continue
		}
		if err := os.WriteFile(path, []byte(s.value), 0o644); err != nil {
			return fmt.Errorf("write sysctl: %w", err)
		}
	}
	return nil
}
