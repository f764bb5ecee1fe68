// Package links measures what a distribution link costs that goes through
// sandbox-gateway, beside the same two nodes linked directly.
package links

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/control"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/netns"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

//go:embed bench_link.erl
var module []byte

const (
	clusterCookie = "cluster-cookie-of-the-bench"
	guestCookie   = "guest-cookie-of-the-bench"
	guestName     = "benchlink"
	patience      = 20 * time.Second
)

// Rig is a host VM, a gateway process and one guest: a BEAM in a network
// namespace as sandboxd makes it, with the flags that sandboxd gives.
type Rig struct {
	dir, short string
	epmd       netip.AddrPort
	nets       *netns.Host
	net        netns.Network
	gateway    *distribution.Gateway
	member     distribution.Member
	host       *control.Node
	procs      []*exec.Cmd
	stops      []func() // end what the rig plays itself
}

// New starts the parts; binary is sandbox-gateway and dir an empty folder of
// the caller's. Close ends them, also after an error.
func New(ctx context.Context, binary, dir string) (*Rig, error) {
	r := &Rig{dir: dir}
	name, err := os.Hostname()
	if err != nil {
		return r, err
	}
	r.short, _, _ = strings.Cut(name, ".")
	if r.epmd, err = freeAddr(); err != nil {
		return r, err
	}
	for _, step := range []func(context.Context) error{r.compile, r.startEPMD, r.startHost, r.startNetwork} {
		if err := step(ctx); err != nil {
			return r, err
		}
	}
	r.gateway, err = distribution.Start(ctx, distribution.Config{
		Binary: binary, RunDir: filepath.Join(dir, "gateway"), Hostname: r.short, EPMD: r.epmd,
	})
	return r, err
}

// Close ends every part.
func (r *Rig) Close() error {
	var errs []error
	for _, stop := range r.stops {
		stop()
	}
	if r.gateway != nil {
		pid, err := r.Pid(context.Background())
		errs = append(errs, err, r.gateway.Close())
		if err == nil {
			errs = append(errs, end(pid))
		}
	}
	if r.host != nil {
		r.host.Close()
	}
	for _, p := range r.procs {
		p.Process.Kill() //nolint:errcheck // it may have ended
		p.Wait()         //nolint:errcheck // it was killed
	}
	if r.nets != nil {
		errs = append(errs, r.nets.Remove(context.Background(), guestName))
	}
	return errors.Join(errs...)
}

// end kills a process that is not ours to wait for, and waits until it is gone.
func end(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return until(ctx, "end of the gateway", func() error {
		if err := syscall.Kill(pid, 0); err == nil {
			return errors.New("it is still there")
		}
		return nil
	})
}

// Pid is the gateway's process.
func (r *Rig) Pid(ctx context.Context) (int, error) {
	resp, err := protocol.Ask(ctx, filepath.Join(r.dir, "gateway", "gateway.sock"), protocol.Request{Op: protocol.OpHello})
	if err != nil {
		return 0, err
	}
	return resp.Hello.Pid, nil
}

func (r *Rig) compile(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(r.dir, "bench_link.erl"), module, 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "erlc", "-o", r.dir, filepath.Join(r.dir, "bench_link.erl")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("compile the nodes' module: %w: %s", err, out)
	}
	return nil
}

func (r *Rig) startEPMD(ctx context.Context) error {
	if err := r.start("epmd", nil, "-port", fmt.Sprint(r.epmd.Port()), "-address", "127.0.0.1"); err != nil {
		return err
	}
	return until(ctx, "port mapper", func() error {
		c, err := net.Dial("tcp", r.epmd.String())
		if err == nil {
			c.Close()
		}
		return err
	})
}

// startHost starts a host VM as an operator has one, with OTP's own flags.
func (r *Rig) startHost(ctx context.Context) error {
	err := r.beam("benchhost", clusterCookie, nil, r.epmd.Port(), "-epmd_module", "bench_link", "-connect_all", "false")
	if err != nil {
		return err
	}
	return until(ctx, "host VM", func() (err error) {
		r.host, err = control.Dial(ctx, control.Config{
			Name: "benchrig@" + r.short, Cookie: app.NewSecret(clusterCookie), Peer: r.node("benchhost"), EPMD: r.epmd,
		})
		return err
	})
}

func (r *Rig) startNetwork(ctx context.Context) (err error) {
	pool := netip.MustParsePrefix("10.219.0.0/24")
	if r.nets, err = netns.New(netns.Options{RunDir: filepath.Join(r.dir, "run"), Pool: pool}); err != nil {
		return err
	}
	r.net, err = r.nets.Ensure(ctx, netns.Config{Name: guestName, Flows: []policy.Flow{{Port: policy.DistributionPort, Purpose: "distribution"}}})
	return err
}

// startGuest makes the guest known to the gateway and starts its BEAM.
func (r *Rig) startGuest(ctx context.Context) error {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	r.member = distribution.Member{
		Name: guestName, Node: r.node(guestName), HostNode: r.node("benchhost"),
		Guest: netip.AddrPortFrom(r.net.Guest, policy.DistributionPort),
		EPMD:  netip.AddrPortFrom(loopback, policy.EPMDPort), Host: netip.AddrPortFrom(loopback, policy.DistributionPort),
		Cookie: app.NewSecret(guestCookie), HostCookie: app.NewSecret(clusterCookie), Messages: messages(""),
		Listen: func(ctx context.Context, addr netip.AddrPort) (*os.File, error) {
			return r.nets.Listen(ctx, guestName, addr)
		},
	}
	if _, err := r.gateway.Ensure(ctx, r.member); err != nil {
		return err
	}
	port, a := strconv.Itoa(int(policy.DistributionPort)), r.net.Guest.As4()
	err := r.beam(guestName, guestCookie, []string{"nsenter", "--net=" + r.net.Path}, policy.EPMDPort,
		"+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
		"-kernel", "inet_dist_listen_min", port, "-kernel", "inet_dist_listen_max", port,
		"-kernel", "inet_dist_use_interface", fmt.Sprintf("{%d,%d,%d,%d}", a[0], a[1], a[2], a[3]))
	if err != nil {
		return err
	}
	return until(ctx, "guest's registration", func() error {
		nodes, err := r.gateway.List(ctx)
		if err == nil && (len(nodes) != 1 || !nodes[0].Registered) {
			err = fmt.Errorf("members are %+v", nodes)
		}
		return err
	})
}

// messages let the guest send the data of the bench as fast as it can.
func messages(mode policy.Mode) policy.Messages {
	return policy.Messages{
		Mode:   mode,
		Allow:  []policy.Allow{{To: "bench_sink", Kind: policy.Info, Message: "{data, '$binary'}"}},
		Limits: policy.Limits{Messages: -1, Bytes: -1},
	}
}

func (r *Rig) node(name string) string { return name + "@" + r.short }

// beam starts a node whose cookie is a file.
func (r *Rig) beam(name, cookie string, within []string, epmd uint16, args ...string) error {
	home := filepath.Join(r.dir, name)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte(cookie), 0o400); err != nil {
		return err
	}
	all := append(within, "erl", "-noinput", "-sname", r.node(name), "-start_epmd", "false", "-pa", r.dir, "-s", "bench_link")
	all = append(all, args...)
	return r.start(all[0], []string{"HOME=" + home, fmt.Sprintf("ERL_EPMD_PORT=%d", epmd)}, all[1:]...)
}

// start starts a program whose output is in the rig's folder.
func (r *Rig) start(name string, env []string, args ...string) error {
	log, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	r.procs = append(r.procs, cmd)
	return nil
}

// call is rpc:call on the host VM.
func (r *Rig) call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return r.host.Call(ctx, module, function, args...)
}

func freeAddr() (netip.AddrPort, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort(), nil
}

// until repeats try until it succeeds: other programs need a moment.
func until(ctx context.Context, what string, try func() error) error {
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-deadline:
			return fmt.Errorf("wait for %s: %w", what, err)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}
