package links

import (
	"context"
	"io"
	"net"
	"net/netip"
)

// relay listens for one connection and copies its bytes to the address and
// back, as plainly as a program can: what it costs, no gateway can save.
func (r *Rig) relay(to netip.AddrPort) (netip.AddrPort, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	ctx, stop := context.WithCancel(context.Background())
	context.AfterFunc(ctx, func() { ln.Close() })
	r.stops = append(r.stops, stop)
	go func() {
		defer stop()
		in, err := ln.Accept()
		if err != nil {
			return
		}
		defer in.Close()
		out, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
		if err != nil {
			return
		}
		defer out.Close()
		defer context.AfterFunc(ctx, func() { in.Close(); out.Close() })()
		go func() { defer stop(); copyPlainly(in, out) }()
		copyPlainly(out, in)
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort(), nil
}

// copyPlainly reads and writes, where io.Copy would have the kernel splice.
func copyPlainly(to io.Writer, from io.Reader) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 64<<10))
}
