package links

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
)

// Crowd is many guests that are linked with one host through a gateway of
// their own; both sides are played, so that the gateway's share is plain.
type Crowd struct {
	r      *Rig
	guests []net.Conn
}

// crowdHost is the host VM that is played.
const crowdHost = "benchcrowd"

// Crowd readies a crowd without guests.
func (r *Rig) Crowd(ctx context.Context) (*Crowd, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &Crowd{r: r}
	r.stops = append(r.stops, func() { ln.Close() })
	go c.accept(ln)
	lease, err := epmd.Register(ctx, r.epmd, epmd.Registration{Name: crowdHost, Port: ln.Addr().(*net.TCPAddr).AddrPort().Port()})
	if err == nil {
		r.stops = append(r.stops, func() { lease.Close() })
	}
	return c, err
}

// accept plays the host: whatever comes is read and forgotten.
func (c *Crowd) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if _, err := wire.Accept(conn, identity(c.r.node(crowdHost)), app.NewSecret(clusterCookie), 7, nil); err == nil {
				_, _ = io.Copy(io.Discard, conn)
			}
		}()
	}
}

func identity(name string) wire.Identity {
	return wire.Identity{Name: name, Creation: 4, Flags: wire.Mandatory26 | wire.Published | wire.Spawn}
}

// Grow links guests until there are n.
func (c *Crowd) Grow(ctx context.Context, n int) error {
	for i := len(c.guests); i < n; i++ {
		if err := c.join(ctx, i); err != nil {
			return fmt.Errorf("link guest %d: %w", i, err)
		}
	}
	return nil
}

func (c *Crowd) join(ctx context.Context, i int) error {
	at := netip.AddrFrom4([4]byte{127, 88, byte(i >> 8), byte(i)})
	name := "crowd" + strconv.Itoa(i)
	m := distribution.Member{
		Name: app.Name(name), Node: c.r.node(name), HostNode: c.r.node(crowdHost),
		Guest: netip.AddrPortFrom(at, 9102), EPMD: netip.AddrPortFrom(at, 9101), Host: netip.AddrPortFrom(at, 9100),
		Cookie: app.NewSecret(guestCookie), HostCookie: app.NewSecret(clusterCookie), Messages: messages(""), Listen: listen,
	}
	if _, err := c.r.gateway.Ensure(ctx, m); err != nil {
		return err
	}
	conn, err := net.Dial("tcp", m.Host.String())
	if err != nil {
		return err
	}
	c.guests = append(c.guests, conn)
	c.r.stops = append(c.r.stops, func() { conn.Close() })
	if _, err := wire.Dial(conn, identity(m.Node), m.Cookie, 5); err != nil {
		return err
	}
	return c.send(i)
}

func listen(_ context.Context, addr netip.AddrPort) (*os.File, error) {
	ln, err := net.Listen("tcp", addr.String())
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	return ln.(*net.TCPListener).File()
}

func (c *Crowd) send(i int) error { return c.message(i, 100) }

// message has one guest send one message of so many bytes.
func (c *Crowd) message(i, size int) error {
	node := term.Atom(c.r.node("crowd" + strconv.Itoa(i)))
	to := term.Tuple{term.Int(wire.OpRegSend), term.Pid{Node: node, ID: 9, Creation: 4}, term.Atom(""), term.Atom("bench_sink")}
	frame, err := wire.AppendMessage(nil, to, term.Tuple{term.Atom("data"), term.Binary(make([]byte, size))})
	if err != nil {
		return err
	}
	return wire.WriteFrame(c.guests[i], frame)
}

// Close ends the links and removes the guests.
func (c *Crowd) Close() error {
	var errs []error
	for i, conn := range c.guests {
		conn.Close()
		errs = append(errs, c.r.gateway.Remove(context.Background(), app.Name("crowd"+strconv.Itoa(i))))
	}
	c.guests = nil
	return errors.Join(errs...)
}

// Load has every guest send one message a second, evenly spread, and returns
// the share of one processor that the gateway takes.
func (c *Crowd) Load(ctx context.Context, seconds int) (share float64, err error) {
	pid, err := c.r.Pid(ctx)
	if err != nil {
		return 0, err
	}
	before, err := cpuOf(pid)
	if err != nil {
		return 0, err
	}
	began, tick := time.Now(), time.NewTicker(time.Second/time.Duration(len(c.guests)))
	defer tick.Stop()
	for i := range seconds * len(c.guests) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if err := c.send(i % len(c.guests)); err != nil {
			return 0, err
		}
	}
	after, err := cpuOf(pid)
	return (after - before).Seconds() / time.Since(began).Seconds(), err
}

// Memory is the gateway's share of the machine's memory (proc(5), Pss) in
// bytes.
func (r *Rig) Memory(ctx context.Context) (int, error) {
	pid, err := r.Pid(ctx)
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "Pss:" {
			kib, err := strconv.Atoi(f[1])
			return kib << 10, err
		}
	}
	return 0, errors.New("smaps_rollup has no line Pss")
}
