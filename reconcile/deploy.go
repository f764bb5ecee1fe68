package reconcile

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"beamsandbox/distribution"
	"beamsandbox/images"
	"beamsandbox/netns"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

// guest is the way of one isolated app: from its source to a running, linked,
// verified, healthy guest, and on until it ends. Whatever is as it should be
// already is left alone, so that this is also how a guest is adopted after a
// restart, or finished after a crash half way.
func (w *worker) guest(ctx context.Context) error {
	w.stages = nil
	if err := w.build(ctx); err != nil {
		return err
	}
	if err := w.takeOver(ctx); err != nil {
		return err
	}
	w.moved = ""
	task, err := w.start(ctx)
	if err != nil {
		w.spawned(0, err)
		return w.barred(ctx, err)
	}
	err = w.attend(ctx, task)
	w.spawned(task.Pid, err)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return w.clear(ctx, task, err)
}

// build makes the image while the old version, if any, still runs. A guest
// that is started again, or adopted, has its image already.
func (w *worker) build(ctx context.Context) error {
	if w.image != nil {
		return nil
	}
	if img, ok := w.remembered(ctx); ok && w.moved == "" {
		w.image = &img
		return nil
	}
	w.phase(status.Building, "building "+w.spec.Version)
	return w.bounded(ctx, w.builds, func() error {
		return w.buildStage(func() error {
			img, err := w.rooms.Images.Ensure(ctx, images.Recipe{Name: w.name, Version: w.spec.Version, Source: w.spec.Source})
			w.image = &img
			if err != nil {
				w.image = nil
				return fmt.Errorf("build %s: %w", w.name, err)
			}
			w.prepare(ctx, img)
			return nil
		})
	})
}

// preparer is a room of guests that can make an image ready ahead of them.
type preparer interface {
	Prepare(ctx context.Context, image string) error
}

// prepare saves the task stage some work. It may fail: that stage does what
// was not done, and says what is wrong.
func (w *worker) prepare(ctx context.Context, img images.Image) {
	p, ok := w.rooms.Tasks.(preparer)
	if !ok {
		return
	}
	if err := p.Prepare(ctx, img.Ref); err != nil && ctx.Err() == nil {
		w.log.Debug("prepare image", "app", w.name, "err", err)
	}
}

// keeper is a room of images that keeps the last one of an app that was well.
type keeper interface {
	Good(ctx context.Context, name app.Name, ref string) error
}

// good tells the room of images that this one was well, beside what else goes
// on: the room may be busy with the app's next version. The app is well all
// the same when it cannot be told.
func (w *worker) good(ctx context.Context) {
	k, ok := w.rooms.Images.(keeper)
	if !ok || w.image == nil || w.image.Ref == "" {
		return
	}
	ref := w.image.Ref
	w.run(func() {
		if err := k.Good(ctx, w.name, ref); err != nil && ctx.Err() == nil {
			w.log.Warn("keep the image of a healthy app", "app", w.name, "err", err)
		}
	})
}

// start walks from the image to a running task: network, gateway, task, in
// this order, because a BEAM that finds no port mapper exits.
func (w *worker) start(ctx context.Context) (task runtime.Task, err error) {
	w.phase(status.Starting, "")
	err = w.bounded(ctx, w.starts, func() error {
		var net netns.Network
		err := w.stage("network", func() (err error) {
			net, err = w.rooms.Networks.Ensure(ctx, netns.Config{Name: w.name, Flows: w.grant.Flows})
			return err
		})
		if err != nil {
			return err
		}
		if err := w.learnTLS(ctx, w.sameDigest); err != nil {
			return err
		}
		if err := w.stage("gateway", func() error { return w.member(ctx, net) }); err != nil {
			return err
		}
		w.spawning()
		return w.stage("task", func() (err error) {
			task, err = w.task(ctx, net)
			return err
		})
	})
	if err != nil {
		w.image = nil // it may be what is wrong; a second look at it costs little
	}
	return task, err
}

// member makes the gateway know the guest before its BEAM looks for it.
func (w *worker) member(ctx context.Context, net netns.Network) error {
	defer w.keys.still()()
	own, err := w.guestKeys(w.name)
	if err != nil {
		return err
	}
	cluster, err := w.clusterKeys()
	if err != nil {
		return err
	}
	gateway := w.vitals.get().gateway
	w.node = w.spec.Node(w.cfg.Hostname, w.cfg.NodePrefix)
	guestTLS, hostTLS, err := w.identities()
	if err != nil {
		return err
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	events := w.linkEvents.Load()
	node, err := w.rooms.Nodes.Ensure(ctx, distribution.Member{
		Name:       w.name,
		Node:       w.node,
		HostNode:   w.cfg.HostNode,
		Guest:      netip.AddrPortFrom(net.Guest, policy.DistributionPort),
		EPMD:       netip.AddrPortFrom(loopback, policy.EPMDPort),
		Host:       netip.AddrPortFrom(loopback, policy.DistributionPort),
		Cookie:     own.Now,
		HostCookie: cluster.Now,
		NextCookie: own.Next, NextHostCookie: cluster.Next,
		GuestTLS: guestTLS, HostTLS: hostTLS,
		Messages: w.grant.Messages,
		Forward:  published(w.grant.Flows),
		Build:    w.spec.BuildDigest(),
		Listen: func(ctx context.Context, addr netip.AddrPort) (*os.File, error) {
			return w.rooms.Networks.Listen(ctx, w.name, addr)
		},
	})
	if err != nil {
		return err
	}
	w.gateway = gateway
	w.vitals.set(func(f *facts) {
		if w.linkEvents.Load() != events { // they may be ahead of this answer
			return
		}
		f.registered = f.registered || node.Registered
		f.linked = f.linked || node.Up
	})
	w.show(func(v *status.App) { v.Node, v.Address = w.node, net.Guest.String() })
	return w.admitted(node)
}

// published are the ports that also answer on the host's loopback.
func published(flows []policy.Flow) []uint16 {
	var ports []uint16
	for _, f := range flows {
		if f.Publish {
			ports = append(ports, f.Port)
		}
	}
	return ports
}

// task starts the BEAM, or finds it running.
func (w *worker) task(ctx context.Context, net netns.Network) (runtime.Task, error) {
	defer w.keys.still()()
	own, err := w.cookies.Guest(w.name)
	if err != nil {
		return runtime.Task{}, err
	}
	given, err := w.given()
	if err != nil {
		return runtime.Task{}, err
	}
	have := haveOf(w.spec)
	w.post(func(s *state) { // from here on there is something to remove
		if e := s.of(w); e != nil && e.have.Digest == "" {
			e.have = have
			e.have.Digest = ""
		}
	})
	task, err := w.rooms.Tasks.Ensure(ctx, runtime.Config{
		Name:       w.name,
		Digest:     w.spec.Digest(),
		Image:      w.image.Ref,
		Release:    bootable(w.image.Release),
		NetNS:      net.Path,
		Hostname:   w.cfg.Hostname,
		Node:       w.node,
		Guest:      net.Guest,
		DistPort:   policy.DistributionPort,
		VM:         w.spec.VM,
		Env:        w.spec.Env,
		Cookie:     own,
		TLS:        given,
		Privileges: w.grant.Privileges,
		Labels:     w.labels(),
	})
	if err != nil {
		return task, err
	}
	image, overTLS := *w.image, w.tls
	w.post(func(s *state) {
		if e := s.of(w); e != nil {
			e.have, e.have.Pid = have, task.Pid
			v := &e.view
			v.Version, v.Isolation, v.Digest = w.spec.Version, string(w.spec.Isolation), have.Digest
			v.Pid, v.Started, v.Image, v.Revision, v.Notes, v.TLS = task.Pid, task.Started, image.Ref, image.Revision, image.Notes, overTLS
		}
	})
	return task, nil
}

func bootable(r images.Release) runtime.Release {
	b := runtime.Release{Name: r.Name, Version: r.Version, ERTS: r.ERTS, Root: r.Root}
	if r.Entry != nil {
		b.Entry = &runtime.Entry{Args: r.Entry.Args, Env: r.Entry.Env, Dir: r.Entry.Dir}
	}
	return b
}

// haveOf is what runs once spec has been deployed.
func haveOf(s app.Spec) Have {
	return Have{Digest: s.Digest(), RunDigest: s.RunDigest(), Version: s.Version, Isolation: s.Isolation,
		Dir: s.Dir, DependsOn: s.DependsOn, Env: s.Env}
}

// bounded does something that only so many may do at once.
func (w *worker) bounded(ctx context.Context, slots chan struct{}, do func() error) error {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-slots }()
	return do()
}
