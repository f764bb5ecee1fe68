package machine

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"beamsandbox/reconcile/status"
)

// release is the running kernel's, "6.1.0-18-amd64".
func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// kernel judges a release: the firewall needs the egress hook of 5.16, a user
// namespace for each guest the shifted mounts of 5.19.
func kernel(release string) status.Check {
	const name = "kernel"
	var major, minor int
	if n, err := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 || err != nil {
		return status.Doubtful(name, fmt.Sprintf("release %q cannot be read", release), "see that it is Linux 5.16 or later")
	}
	switch v := major*1000 + minor; {
	case v < 5016:
		return status.Bad(name, "Linux "+release, "upgrade to 5.16 or later: guests' firewall needs netfilter's egress hook")
	case v < 5019:
		return status.Doubtful(name, "Linux "+release, "upgrade to 5.19 or later for a user namespace for each guest; until then each has user ids of its own")
	}
	return status.Good(name, "Linux "+release)
}

const maxUserNamespaces = "/proc/sys/user/max_user_namespaces"

func userNamespaces() status.Check {
	const name = "user_namespaces"
	limit, err := os.ReadFile(maxUserNamespaces)
	text := strings.TrimSpace(string(limit))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return status.Doubtful(name, "the kernel has none", "use a kernel with CONFIG_USER_NS; until then each guest has user ids of its own")
	case err != nil:
		return status.Doubtful(name, err.Error(), "run as root")
	case text == "0":
		return status.Doubtful(name, "none may be made", "sysctl -w user.max_user_namespaces=15000 and restart sandboxd; until then each guest has user ids of its own")
	}
	return status.Good(name, "at most "+text)
}

func seccomp() status.Check {
	const name = "seccomp"
	actions, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	if err != nil || !strings.Contains(string(actions), "errno") {
		return status.Bad(name, "the kernel has no seccomp filters", "use a kernel with CONFIG_SECCOMP_FILTER: guests do not start without one")
	}
	return status.Good(name, "filters are there")
}

func overlay() status.Check {
	const name = "overlayfs"
	kinds, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(kinds), "overlay") {
		return status.Doubtful(name, "the kernel has none, or its module is not loaded", "modprobe overlay; until then every guest has a whole copy of its image")
	}
	return status.Good(name, "is there")
}

// firewall asks the kernel for its nftables, over netlink.
func firewall() status.Check {
	const name = "nftables"
	tables, err := listTables()
	switch {
	case errors.Is(err, os.ErrPermission):
		return status.Bad(name, "may not be used: "+err.Error(), "run as root, and give sandboxd CAP_NET_ADMIN")
	case err != nil:
		return status.Bad(name, "does not answer: "+err.Error(), "modprobe nf_tables, or use a kernel with NF_TABLES, NF_TABLES_NETDEV and NETFILTER_EGRESS")
	}
	return status.Good(name, fmt.Sprintf("answers, %d tables", tables))
}

// listTables counts the tables, which needs CAP_NET_ADMIN as changing them does.
func listTables() (int, error) {
	conn, err := nftables.New()
	if err != nil {
		return 0, err
	}
	tables, err := conn.ListTables()
	return len(tables), err
}
