// Package netns gives each guest its own network namespace, address and
// firewall.
//
// A guest's namespace holds a loopback and one end of a veth pair. The only
// traffic that passes the pair is a TCP connection that the host opened to a
// declared port; everything else is refused and counted. docs/network.md has
// the picture and says how to read the counters.
package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// Config is the network one guest asks for.
type Config struct {
	Name  app.Name
	Flows []policy.Flow // connections let through from the host's veth end
	// Sealed makes a namespace with loopback alone: no veth, no address, no
	// table (builder guests).
	Sealed bool
}

// Network is one namespace as it really is. After a crash in the middle of
// Ensure, List shows what there is of it: Path is "" without a namespace,
// Link is "" and the addresses are invalid without a veth.
type Network struct {
	Name  app.Name
	Path  string     // bind-mounted namespace file, /run/beamsandbox/netns/<name>
	Link  string     // host end of the veth, "" when sealed
	Host  netip.Addr // host end's address
	Guest netip.Addr // guest end's address
	Flows []policy.Flow
}

// Where namespaces live and which addresses guests get unless Options say
// otherwise.
const (
	DefaultRunDir = "/run/beamsandbox"
	DefaultPool   = "10.231.0.0/16"
)

// Options say where a Host keeps its namespaces. Zero values mean defaults.
type Options struct {
	// RunDir holds the folder netns of namespace files; it must be on a file
	// system that a reboot empties, since namespaces do not survive one.
	RunDir string
	// Pool is the IPv4 range that guests' /31 pairs come from.
	Pool netip.Prefix
	Log  *slog.Logger // nil: nothing is logged
}

// Host makes guests' networks on this machine. It keeps no state but locks:
// what there is, List reads from the kernel. Two Hosts with different RunDirs
// share a machine and a pool without seeing each other's guests. It is safe
// for concurrent use.
type Host struct {
	dir   string // RunDir/netns
	tag   string // tells this RunDir's links and tables from another's
	pool  netip.Prefix
	log   *slog.Logger
	gate  gate
	names keyed
	alloc sync.Mutex // held from choosing an address until a link carries it
}

// New returns a Host. It changes nothing on the machine, and refuses a pool
// that overlaps a network the machine already has a route to.
func New(o Options) (*Host, error) {
	if o.RunDir == "" {
		o.RunDir = DefaultRunDir
	}
	if o.Pool == (netip.Prefix{}) {
		o.Pool = netip.MustParsePrefix(DefaultPool)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(filepath.Join(o.RunDir, "netns"))
	if err != nil {
		return nil, fmt.Errorf("find run directory %s: %w", o.RunDir, err)
	}
	if err := checkPool(o.Pool); err != nil {
		return nil, err
	}
	routes, err := hostRoutes()
	if err != nil {
		return nil, err
	}
	if err := overlap(o.Pool, routes); err != nil {
		return nil, err
	}
	return &Host{dir: dir, tag: tagOf(dir), pool: o.Pool.Masked(), log: o.Log, gate: gate{dir: dir}}, nil
}

// Ensure makes the network of c.Name and changes nothing when it is there
// already. Work that a crash left half done is completed. The link comes up
// only after both firewalls stand. A change of flows replaces the list of
// ports and leaves connections and counters alone.
func (h *Host) Ensure(ctx context.Context, c Config) (Network, error) {
	if err := checkName(c.Name); err != nil {
		return Network{}, err
	}
	flows, err := canonical(c.Flows)
	if err != nil {
		return Network{}, fmt.Errorf("make network of %s: %w", c.Name, err)
	}
	leave, err := h.enter(ctx, c.Name)
	if err != nil {
		return Network{}, fmt.Errorf("make network of %s: %w", c.Name, err)
	}
	defer leave()
	n := Network{Name: c.Name, Path: h.path(c.Name), Flows: flows}
	if err := ensureFile(n.Path); err != nil {
		return Network{}, fmt.Errorf("make namespace of %s: %w", c.Name, err)
	}
	if c.Sealed {
		n.Flows = nil
		err = h.seal(c.Name)
	} else {
		err = h.connect(ctx, &n)
	}
	if err != nil {
		return Network{}, fmt.Errorf("make network of %s: %w", c.Name, err)
	}
	return n, nil
}

// Remove undoes Ensure, however far it came. A process that still holds the
// namespace keeps an empty one, cut off from the host. Removing what is not
// there succeeds.
func (h *Host) Remove(ctx context.Context, name app.Name) error {
	if err := checkName(name); err != nil {
		return err
	}
	leave, err := h.enter(ctx, name)
	if err != nil {
		return fmt.Errorf("remove network of %s: %w", name, err)
	}
	defer leave()
	// The link first: from here on nothing passes, whatever else fails.
	err = errors.Join(h.disconnect(name), removeFile(h.path(name)))
	if err == nil {
		err = removeTable(hostTable(h.table(name)))
	}
	if err != nil {
		return fmt.Errorf("remove network of %s: %w", name, err)
	}
	return nil
}

// Sweep removes every network of this Host. It goes on after an error and
// returns them all.
func (h *Host) Sweep(ctx context.Context) error {
	all, err := h.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range all {
		errs = append(errs, h.Remove(ctx, n.Name))
	}
	return errors.Join(errs...)
}

// Listen opens a listening TCP socket inside name's namespace, close-on-exec
// and non-blocking, ready to be handed to another process or to
// net.FileListener. The caller closes it. Port 0 takes a free port.
func (h *Host) Listen(ctx context.Context, name app.Name, addr netip.AddrPort) (*os.File, error) {
	if err := h.exists(ctx, name); err != nil {
		return nil, fmt.Errorf("listen on %s for %s: %w", addr, name, err)
	}
	var f *os.File
	err := Do(h.path(name), func() (err error) {
		f, err = listen(addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s for %s: %w", addr, name, err)
	}
	return f, nil
}

// exists returns an error wrapping fs.ErrNotExist unless name has a namespace.
func (h *Host) exists(ctx context.Context, name app.Name) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return err
	}
	if mounted, err := isNamespace(h.path(name)); err != nil || mounted {
		return err
	}
	return fmt.Errorf("find namespace %s: %w", h.path(name), fs.ErrNotExist)
}

// enter waits until nobody else, in this process or another, works on name.
func (h *Host) enter(ctx context.Context, name app.Name) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	unlock := h.names.lock(name)
	if err := h.gate.enter(); err != nil {
		unlock()
		return nil, err
	}
	return func() {
		if err := h.gate.leave(); err != nil {
			h.log.Warn("clean up namespace directory", "err", err)
		}
		unlock()
	}, nil
}

func (h *Host) path(name app.Name) string { return filepath.Join(h.dir, string(name)) }
