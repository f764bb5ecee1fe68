package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/control"
	"beamsandbox/images"
	"beamsandbox/netns"
	"beamsandbox/reconcile"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/git"
	"beamsandbox/reconcile/telemetry"
	"beamsandbox/runtime"
	"beamsandbox/runtime/stack"
)

// parts are the rooms of a running sandboxd, wired.
type parts struct {
	log        *slog.Logger
	stack      *stack.Stack
	tasks      *runtime.Tasks
	networks   *netns.Host
	gateway    *distribution.Gateway
	images     *lateImages
	host       *control.Host
	reconciler *reconcile.Reconciler
	learned    atomic.Pointer[reconcile.Reconciler] // the same, for who may ask before it is there
	emitter    *telemetry.Emitter
	metrics    *metrics
	undo       []func() // closes what was opened, last first
}

// assemble opens every room, in the order of the corridor's needs. On error
// it closes what it opened and nothing that runs is touched.
func assemble(ctx context.Context, c Config, m *metrics, log *slog.Logger) (*parts, error) {
	p := &parts{log: log, metrics: m}
	for _, open := range []func(context.Context, Config) error{
		p.openStack, p.openNetworks, p.openGateway, p.openImages, p.openHost, p.openReconciler,
	} {
		if err := open(ctx, c); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

func (p *parts) opened(close func()) { p.undo = append(p.undo, close) }

func (p *parts) close() {
	for i := len(p.undo) - 1; i >= 0; i-- {
		p.undo[i]()
	}
	p.undo = nil
}

func (p *parts) openStack(ctx context.Context, c Config) error {
	bin, err := programs()
	if err != nil {
		return err
	}
	p.stack, err = stack.Open(ctx, stack.Config{
		Bin: bin, Root: filepath.Join(c.Root, "containerd"), RunDir: filepath.Join(c.RunDir, "containerd"),
		Address: c.Containerd, Log: p.log,
	})
	if err != nil {
		return err
	}
	p.opened(func() { p.letGoOfStack(context.WithoutCancel(ctx)) })
	p.tasks = runtime.NewTasks(p.stack, runtime.TasksConfig{
		StateDir: filepath.Join(c.RunDir, "guests"), LogDir: filepath.Join(c.Root, "logs"), Log: p.log,
	})
	p.opened(func() { p.tasks.Close() })
	if err := p.tasks.Sweep(ctx); err != nil { // no reason to leave the guests alone
		p.log.Warn("clear up after builds that were cut short", "err", err)
	}
	return nil
}

// letGoOfStack ends our containerd when it has no guest. With guests it stays,
// since it notes how they end; the next sandboxd finds it.
func (p *parts) letGoOfStack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	guests, err := p.tasks.List(ctx)
	if err == nil && len(guests) == 0 {
		err = p.stack.Stop(ctx)
	} else {
		err = errors.Join(err, p.stack.Close())
	}
	if err != nil {
		p.log.Error("let go of containerd", "err", err)
	}
}

func (p *parts) openNetworks(_ context.Context, c Config) (err error) {
	p.networks, err = netns.New(netns.Options{RunDir: c.RunDir, Pool: c.Pool, Log: p.log})
	return err
}

func (p *parts) openGateway(ctx context.Context, c Config) error {
	bin, err := programs()
	if err != nil {
		return err
	}
	p.gateway, err = distribution.Start(ctx, distribution.Config{
		Binary: filepath.Join(bin, "sandbox-gateway"), RunDir: filepath.Join(c.RunDir, "gateway"),
		UID: uint32(c.GatewayUID), GID: uint32(c.GatewayUID), Hostname: c.Hostname, Log: p.log,
		Records: filepath.Join(c.Root, "records"), Said: p.guestSaid,
	})
	if err == nil {
		p.opened(func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := errors.Join(p.gateway.Close(), p.gateway.Quit(end)); err != nil {
				p.log.Error("let go of the gateway", "err", err)
			}
		})
	}
	return err
}

// openImages never fails: a machine that cannot build can still run guests.
func (p *parts) openImages(_ context.Context, c Config) error {
	p.images = &lateImages{open: func() (*images.Store, error) {
		bin, err := programs()
		if err != nil {
			return nil, err
		}
		repositories, err := c.openHex()
		if err != nil {
			return nil, err
		}
		return images.New(images.Config{
			Client: p.stack.Client(), Root: filepath.Join(c.Root, "images"), Erlang: c.Erlang,
			Rebar3: rebar3(bin), Sandbox: &sandbox{tasks: p.tasks, networks: p.networks}, Log: p.log,
			GitAuth: gitConfig(c).Auth, Hex: repositories, Elixir: c.Elixir, HexSource: hexSource(bin, c.HexSource),
			Builder: c.Builder, RegistryAuth: registryAuth(c.RegistryAuth), Mesh: p.mesh, Cache: c.ImageCache,
			Memory: c.BuildMemory, Disk: c.BuildDisk, Timeout: c.BuildTimeout,
		})
	}}
	return nil
}

// openHost connects our hidden node to the host VM, now and whenever it is there.
func (p *parts) openHost(_ context.Context, c Config) error {
	known := p.known(hostCookies(cookies(c)))
	if _, err := known(); err != nil {
		return err
	}
	p.host = control.NewHost(control.Config{
		Name: "sandboxd@" + c.Hostname, Cookies: known, Secure: c.toHost(p.log), Peer: c.HostNode, Log: p.log,
	})
	p.opened(func() { p.host.Close() })
	p.emitter = telemetry.NewEmitter(p.host, p.log)
	return nil
}

func (p *parts) openReconciler(_ context.Context, c Config) error {
	repo, err := repository(c)
	if err != nil {
		return err
	}
	rooms := reconcile.Rooms{
		Images: p.images, Networks: p.networks, Nodes: p.gateway, Tasks: p.tasks,
		Embedded: runtime.NewEmbedded(p.host),
	}
	p.reconciler = reconcile.New(reconcile.Config{
		HostNode: c.HostNode, Hostname: c.Hostname, NodePrefix: c.NodePrefix, AppsDir: c.AppsDir,
		Interval: c.Interval, StopGrace: c.StopGrace, RepoURL: git.Redact(c.RepoURL), Branch: c.Branch,
		Containerd: p.stack.Version(), Root: c.Root, TLS: c.tls(),
		Observe: p.observe,
	}, rooms, p.host, repo, cookies(c), c.Policy, p.log)
	p.learned.Store(p.reconciler)
	return nil
}

func repository(c Config) (reconcile.Repo, error) {
	if c.PlainFolder != "" {
		return git.Dir{Path: c.PlainFolder}, nil
	}
	return git.Open(gitConfig(c))
}

func gitConfig(c Config) git.Config {
	return git.Config{
		URL: c.RepoURL, Branch: c.Branch, Dir: filepath.Join(c.Root, "git"),
		SSHKey: c.SSHKey, KnownHosts: c.KnownHosts, TokenFile: c.GitTokenFile,
	}
}

// run reconciles until ctx ends, then lets go of everything: guests, their
// links and the gateway live on.
func (p *parts) run(ctx context.Context) error {
	defer p.close()
	emitted := make(chan struct{})
	go func() { defer close(emitted); p.emitter.Run(ctx) }()
	defer func() { <-emitted }()
	return p.reconciler.Run(ctx)
}

// observe hands on what the reconciler tells.
func (p *parts) observe(e telemetry.Event) {
	p.metrics.observe(e)
	p.emitter.Emit(e)
	span(p.log, e)
}

// logs copies a guest's log. An embedded app writes where the host VM writes.
func (p *parts) logs(ctx context.Context, name string, follow bool, w io.Writer) error {
	for _, a := range p.reconciler.Status().Apps {
		switch {
		case a.Name != name:
		case a.Isolation == string(app.Embedded):
			return fmt.Errorf("%s is embedded: it writes to the host VM's own output", name)
		default:
			return p.tasks.Logs(ctx, app.Name(name), follow, w)
		}
	}
	return errors.New("no app " + name + " on this host; sandboxctl status lists them")
}
