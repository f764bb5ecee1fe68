package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// backlog is how many connections may wait to be accepted; the kernel caps
// it at net.core.somaxconn.
const backlog = 1024

// listen opens a listening TCP socket in the thread's network namespace. It
// uses plain system calls: net.Listen might choose MPTCP, and would keep the
// descriptor for its own poller.
func listen(addr netip.AddrPort) (*os.File, error) {
	if !addr.Addr().Is4() {
		return nil, errors.New("check address: a guest's network has IPv4 addresses only")
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	if err := bind(fd, addr); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "tcp "+addr.String()), nil
}

func bind(fd int, addr netip.AddrPort) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("set socket option: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return fmt.Errorf("bind socket: %w", err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return fmt.Errorf("listen on socket: %w", err)
	}
	return nil
}
