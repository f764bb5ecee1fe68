package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Holder names the process that listens on a TCP port of this machine, "epmd
// (pid 12)". Without root the processes of others cannot be seen.
func Holder(port uint16) string {
	sockets := listeners(port)
	if len(sockets) == 0 {
		return "no process"
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*") //nolint:errcheck // the pattern is well formed
	for _, dir := range dirs {
		if holds(dir, sockets) {
			return fmt.Sprintf("%s (pid %s)", program(dir), filepath.Base(dir))
		}
	}
	return "a process of another user"
}

// program names the process of a folder of /proc: by its first argument, since
// one that was run by a descriptor is called after that otherwise.
func program(proc string) string {
	cmdline, _ := os.ReadFile(filepath.Join(proc, "cmdline")) //nolint:errcheck // it may have ended
	if first, _, _ := strings.Cut(string(cmdline), "\x00"); first != "" {
		return filepath.Base(first)
	}
	comm, _ := os.ReadFile(filepath.Join(proc, "comm")) //nolint:errcheck // it may have ended
	return strings.TrimSpace(string(comm))
}

// listeners are the sockets, as "socket:[INODE]", that listen on port. In
// /proc/net/tcp the second field ends in the port in hex, the fourth is the
// state (0A: listening) and the tenth the inode (proc_pid_net(5)).
func listeners(port uint16) map[string]bool {
	found := map[string]bool{}
	end := fmt.Sprintf(":%04X", port)
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], end) && f[3] == "0A" {
				found["socket:["+f[9]+"]"] = true
			}
		}
	}
	return found
}

// holds reports whether the process of a folder of /proc has one of the
// sockets open.
func holds(proc string, sockets map[string]bool) bool {
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return false
	}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		if err == nil && sockets[target] {
			return true
		}
	}
	return false
}
