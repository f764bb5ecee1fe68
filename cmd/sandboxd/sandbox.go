package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"beamsandbox/images"
	"beamsandbox/netns"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime"
)

// sandbox runs builds behind a guest's walls: a task of the runtime room in a
// sealed namespace of the netns room, whose one way out is the job's proxy.
type sandbox struct {
	tasks    *runtime.Tasks
	networks *netns.Host
}

// Run implements images.Sandbox.
func (s *sandbox) Run(ctx context.Context, job images.Job) (exit int, err error) {
	name := app.Name("build_" + job.Name)
	network, err := s.networks.Ensure(ctx, netns.Config{Name: name, Sealed: true})
	if err != nil {
		return 0, err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, s.networks.Remove(end, name))
	}()
	stop, err := s.serve(ctx, name, job)
	if err != nil {
		return 0, err
	}
	defer stop()
	return s.tasks.RunJob(ctx, runtime.JobConfig{
		Name: string(name), Image: job.Image, Args: job.Args, Env: job.Env, Dir: job.Dir,
		Mounts: mounts(job.Mounts), Memory: job.Memory, Pids: job.Pids, NetNS: network.Path,
		Timeout: job.Timeout, Log: job.Log,
	})
}

// serve lets the job's proxy answer inside the namespace.
func (s *sandbox) serve(ctx context.Context, name app.Name, job images.Job) (stop func(), err error) {
	if job.Proxy == nil {
		return func() {}, nil
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), job.ProxyPort)
	file, err := s.networks.Listen(ctx, name, at)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("listen for the build's proxy: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		job.Proxy(ctx, l) //nolint:errcheck // ends with its listener; the build's log has what it refused
	}()
	return func() { cancel(); l.Close(); <-done }, nil
}

func mounts(in []images.Mount) []runtime.JobMount {
	out := make([]runtime.JobMount, len(in))
	for i, m := range in {
		out[i] = runtime.JobMount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
	}
	return out
}
