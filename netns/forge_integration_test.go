//go:build integration

package netns

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inject sends a frame from the guest end of the thread's namespace, past
// everything that watches sockets.
func inject(frame []byte) error {
	l, err := netlink.LinkByName(guestLink)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index}), unix.Close(fd))
}

func frame(to net.HardwareAddr, kind uint16, payload []byte) []byte {
	f := append([]byte(nil), to...)
	f = append(f, 2, 0, 0, 0, 0, 1)
	return append(binary.BigEndian.AppendUint16(f, kind), payload...)
}

func ipv4Packet(from, to netip.Addr, payload []byte) []byte {
	p := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, tcp, 0, 0}
	p = append(append(p, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)+len(payload)))
	var sum uint32
	for i := 0; i < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum+sum>>16))
	return append(p, payload...)
}

func ipv6Packet() []byte {
	p := make([]byte, 40)
	p[0], p[6], p[7] = 0x60, 59, 64 // version, no next header, hop limit
	p[8], p[9], p[23] = 0xfe, 0x80, 2
	p[24], p[25], p[39] = 0xff, 0x02, 1
	return p
}

func tcpSegment(from, to uint16, flags byte) []byte {
	s := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from), to)
	return append(s, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
}
