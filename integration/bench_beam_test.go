//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"beamsandbox/distribution/epmd"
)

// beamBoot measures `erl` from its start to its own end, n times.
func beamBoot(ctx context.Context, n int) ([]time.Duration, error) {
	var all []time.Duration
	for range n {
		start := time.Now()
		if out, err := exec.CommandContext(ctx, "erl", "-noinput", "-s", "erlang", "halt").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("run erl: %w: %s", err, out)
		}
		all = append(all, time.Since(start))
	}
	return all, nil
}

// beamRegister measures `erl -sname` from its start until its name arrives at
// the port mapper, n times. The port mapper is ours, so that the arrival is an
// event, on a port of its own.
func beamRegister(ctx context.Context, home string, n int) ([]time.Duration, error) {
	const name = "bench_bare"
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	arrived := make(chan time.Time, 1)
	view := &epmd.View{Pinned: name, OnRegister: func(epmd.Registration, uint32) { arrived <- time.Now() }}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- view.Serve(ctx, ln) }()
	defer func() { cancel(); <-served }()

	env := append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", ln.Addr().(*net.TCPAddr).Port), "HOME="+home)
	var all []time.Duration
	for range n {
		cmd := exec.CommandContext(ctx, "erl", "-noinput", "-sname", name, "-start_epmd", "false")
		cmd.Env = env
		took, err := untilArrival(cmd, arrived)
		if err != nil {
			return nil, err
		}
		all = append(all, took)
	}
	return all, nil
}

// untilArrival starts cmd and ends it once it has registered.
func untilArrival(cmd *exec.Cmd, arrived <-chan time.Time) (time.Duration, error) {
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		cmd.Process.Kill() //nolint:errcheck // it is our child and not waited for yet
		cmd.Wait()         //nolint:errcheck // it was killed
	}()
	select {
	case at := <-arrived:
		return at.Sub(start), nil
	case <-time.After(20 * time.Second):
		return 0, errors.New("a bare erl -sname did not register within 20 s")
	}
}
