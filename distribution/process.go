package distribution

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"beamsandbox/distribution/gateway/protocol"
)

const (
	gatewayUser = "sandbox-gateway"
	// fallbackID is the uid and gid where there is no such user.
	fallbackID = 64321
	// memoryLimit is what the gateway's garbage collector aims at (GOMEMLIMIT).
	memoryLimit = "512MiB"
	// cgroupRoot is where control groups are mounted.
	cgroupRoot = "/sys/fs/cgroup"
)

// adoptOrSpawn makes sure that a gateway of our version answers and returns a
// stream of its events.
func (g *Gateway) adoptOrSpawn(ctx context.Context) (*net.UnixConn, error) {
	g.finishHandOver(ctx)
	watch, hello, err := g.open(ctx)
	if err == nil {
		watch, err = g.adopt(ctx, watch, hello)
		if watch != nil || err != nil {
			return watch, err
		}
	}
	if err := g.spawn(g.socket, nil); err != nil {
		return nil, fmt.Errorf("start gateway %s: %w", g.cfg.Binary, err)
	}
	watch, hello, err = g.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("start gateway %s: it does not answer, see %s: %w", g.cfg.Binary, g.logPath(), err)
	}
	if hello.Version != protocol.Version {
		watch.Close()
		return nil, fmt.Errorf("start gateway %s: it speaks version %d, sandboxd speaks %d: install both from one build", g.cfg.Binary, hello.Version, protocol.Version)
	}
	g.cfg.Log.Info("gateway started", "pid", hello.Pid)
	return watch, nil
}

// adopt takes the gateway that answers as it is, or has it replaced when it
// runs another program than the installed one. It returns nil when there is
// none any more.
func (g *Gateway) adopt(ctx context.Context, watch *net.UnixConn, hello protocol.Hello) (*net.UnixConn, error) {
	if hello.Version == protocol.Version && !g.outdated(hello) {
		g.cfg.Log.Info("gateway found", "pid", hello.Pid, "members", hello.Members)
		return watch, nil
	}
	if hello.Members == 0 {
		watch.Close()
		g.cfg.Log.Info("gateway of an older program is replaced", "pid", hello.Pid)
		_, _ = protocol.Ask(ctx, g.socket, protocol.Request{Op: protocol.OpQuit})
		return nil, nil
	}
	switch err := g.succeed(ctx, hello); {
	case err == nil:
		watch.Close()
		watch, hello, err = g.open(ctx)
		if err == nil {
			g.cfg.Log.Info("gateway started, which took over from an older one", "pid", hello.Pid, "members", hello.Members)
		}
		return watch, err
	case hello.Version != protocol.Version:
		watch.Close()
		return nil, fmt.Errorf("adopt gateway (pid %d): %w: it speaks version %d, sandboxd speaks %d, and its members cannot be taken over: %w; remove the guests with the older sandboxd, or end it and let the guests connect again",
			hello.Pid, ErrVersion, hello.Version, protocol.Version, err)
	default:
		g.cfg.Log.Warn("the gateway runs an older program than the installed one, which could not take over from it; to replace it, kill it: links are cut and made again within seconds",
			"pid", hello.Pid, "members", hello.Members, "program", g.cfg.Binary, "err", err)
		return watch, nil
	}
}

// succeed has a gateway of the installed program take over, if the one that
// answers knows how.
func (g *Gateway) succeed(ctx context.Context, hello protocol.Hello) error {
	if hello.HandOver != protocol.HandOver {
		return errors.New("it does not know how to hand members over to this one")
	}
	return g.handOver(ctx)
}

// outdated says whether a gateway that answers runs another program than the
// installed one.
func (g *Gateway) outdated(hello protocol.Hello) bool {
	same, err := sameProgram(hello.Pid, g.cfg.Binary)
	if err != nil {
		g.cfg.Log.Warn("whether the gateway runs the installed program is not known", "pid", hello.Pid, "err", err)
		return false
	}
	return !same
}

// open begins to follow the gateway's events.
func (g *Gateway) open(ctx context.Context) (*net.UnixConn, protocol.Hello, error) {
	c, err := protocol.Open(ctx, g.socket, protocol.Request{Op: protocol.OpEvents})
	if err != nil {
		return nil, protocol.Hello{}, err
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	var resp protocol.Response
	if _, err := protocol.Read(c, &resp); err != nil {
		c.Close()
		return nil, protocol.Hello{}, fmt.Errorf("greet gateway: %w", err)
	}
	if resp.Hello == nil {
		c.Close()
		return nil, protocol.Hello{}, fmt.Errorf("greet gateway: %w", errors.New(resp.Error))
	}
	return c, *resp.Hello, nil
}

// spawn starts the program in a session of its own, so that it outlives us,
// with a control socket at path as descriptor 3. With elder, which leads to an
// older gateway, it takes over from that one.
func (g *Gateway) spawn(path string, elder *os.File) error {
	socket, err := listen(path)
	if err != nil {
		return err
	}
	defer socket.Close()
	log, err := openLog(g.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	// The program is run by its descriptor: its user may not be able to walk
	// to where it is installed.
	program, err := os.Open(g.cfg.Binary)
	if err != nil {
		return err
	}
	defer program.Close()
	cmd := exec.Command("/proc/self/fd/4", g.arguments()...)
	cmd.Args[0] = g.cfg.Binary
	cmd.Dir = "/"
	cmd.Env = []string{"GOMEMLIMIT=" + memoryLimit, "GOTRACEBACK=single"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{socket, program} // descriptors 3 and 4
	if elder != nil {
		cmd.Args = append(cmd.Args, "-inherit")
		cmd.ExtraFiles = append(cmd.ExtraFiles, elder) // descriptor 5
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: g.cfg.UID, Gid: g.cfg.GID, Groups: []uint32{}}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	held := g.bound(cmd.Process.Pid)
	go func() {
		_ = cmd.Wait() // leaves no zombie; its end is noticed at the socket
		_ = held.remove()
	}()
	return nil
}

// bound puts the gateway into a control group with limited memory. Without one
// it works, and says so: GOMEMLIMIT alone does not count the kernel's buffers.
func (g *Gateway) bound(pid int) group {
	if os.Geteuid() != 0 {
		return group{}
	}
	held, err := newGroup(cgroupRoot, g.cfg.RunDir)
	if err == nil {
		err = held.hold(pid)
	}
	if err != nil {
		g.cfg.Log.Warn("the gateway's memory is not bounded by a control group", "pid", pid, "err", err)
	}
	return held
}

// listen opens a control socket for root alone, in place of one that nobody
// answers at.
func listen(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old control socket: %w", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	defer ln.Close()
	ln.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fmt.Errorf("close control socket to others: %w", err)
	}
	return ln.File()
}

// arguments are the gateway's flags; nothing secret is among them.
func (g *Gateway) arguments() []string {
	var listen []string
	for _, a := range g.addresses() {
		listen = append(listen, a.String())
	}
	return []string{
		"-socket", g.socket,
		"-epmd", g.cfg.EPMD.String(),
		"-listen", strings.Join(listen, ","),
		"-controller", strconv.Itoa(os.Geteuid()),
	}
}

// addresses are where the host VM looks for its guests: 127.0.0.1 and the
// machine's own addresses that its short name resolves to.
func (g *Gateway) addresses() []netip.Addr {
	all := []netip.Addr{loopback()}
	if g.cfg.Hostname == "" {
		return all
	}
	found, err := net.LookupIP(g.cfg.Hostname)
	if err != nil {
		g.cfg.Log.Warn("short name does not resolve, guests are served at 127.0.0.1 only", "host", g.cfg.Hostname, "err", err)
	}
	for _, ip := range found {
		a, ok := netip.AddrFromSlice(ip.To4())
		if ok && a != all[0] && ownAddress(a) {
			all = append(all, a)
		}
	}
	return all
}

// ownAddress reports whether one can listen at a.
func ownAddress(a netip.Addr) bool {
	ln, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		return false
	}
	ln.Close()
	return true
}

// unprivileged is whom the gateway runs as by default.
func unprivileged() (uid, gid uint32) {
	u, err := user.Lookup(gatewayUser)
	if err != nil {
		return fallbackID, fallbackID
	}
	id, err1 := strconv.ParseUint(u.Uid, 10, 32)
	group, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil || id == 0 {
		return fallbackID, fallbackID
	}
	return uint32(id), uint32(group)
}

func loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// unbound takes the control group of a gateway away that has closed its socket
// and is about to end.
func (g *Gateway) unbound(ctx context.Context) error {
	held, err := newGroup(cgroupRoot, g.cfg.RunDir)
	if err != nil || os.Geteuid() != 0 {
		return nil //nolint:nilerr // there was none
	}
	for there(held.dir) && ctx.Err() == nil {
		if err := held.remove(); err != nil {
			return fmt.Errorf("remove the gateway's control group: %w", err)
		}
		pause(ctx, 10*time.Millisecond)
	}
	return nil
}
