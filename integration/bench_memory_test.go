//go:build integration

package integration

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

const mib = 1 << 20

// idle adds the memory of guests that have nothing to do, a while after they
// started.
func (g *guests) idle(f *figures) error {
	const rest = 10 * time.Second // two readings of sandboxd's own, and time to collect garbage
	g.say("memory of idle guests")
	select {
	case <-time.After(rest):
	case <-g.ctx.Done():
		return g.ctx.Err()
	}
	h, err := w.daemon.Status(g.ctx)
	if err != nil {
		return err
	}
	var total uint64
	for _, a := range h.Apps {
		if a.Phase != status.Healthy || a.Memory == 0 {
			return fmt.Errorf("measure idle guests: %s is %s with %d bytes", a.Name, a.Phase, a.Memory)
		}
		total += a.Memory
	}
	each := float64(len(h.Apps)) * mib
	shims, n, err := proportional("containerd-shim-runc-v2", w.RunDir)
	if err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("measure %d shims", n))
	}
	gateway, n, err := proportional("sandbox-gateway", w.RunDir)
	if err != nil || n != 1 {
		return errors.Join(err, fmt.Errorf("measure %d gateways", n))
	}
	all := (float64(total) + float64(shims) + float64(gateway)) / each
	f.add("guest.idle_mb", float64(total)/each, "MB").sum(all, 40)
	f.add("shim.idle_mb", float64(shims)/each, "MB").sum(all, 40)
	f.add("gateway.idle_mb", float64(gateway)/each, "MB").sum(all, 40)
	return nil
}

// sum sets a goal that several figures share.
func (f *figure) sum(all, limit float64) {
	f.goal, f.met = fmt.Sprintf("together %.1f < %g", all, limit), all < limit
}

// proportional is the proportional set size (proc(5), smaps_rollup) in bytes
// of all processes of a program that belong to dir, and how many they are.
func proportional(program, dir string) (bytes uint64, n int, err error) {
	pids, err := stage.PidsOf(program, dir)
	if err != nil {
		return 0, 0, err
	}
	for _, pid := range pids {
		pss, err := readPSS(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, 0, err
		}
		bytes += pss
	}
	return bytes, len(pids), nil
}

func readPSS(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(text)) {
		f := strings.Fields(l)
		if len(f) == 3 && f[0] == "Pss:" {
			kib, err := strconv.ParseUint(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no line Pss", path)
}
