//go:build integration

package integration

import (
	"testing"
	"time"

	"beamsandbox/reconcile/status"
)

// TestLegitimateOnOTP27 is the same with the other OTP as host VM.
func TestLegitimateOnOTP27(t *testing.T) {
	must(t, w.endStar(t.Context()))
	w.haveLegit(t)
	command, env := otp27(t).Erl()
	w.replaceHost(t, command, env)
	defer w.replaceHost(t, []string{"erl"}, nil)
	w.startLegit(t)
	must(t, w.daemon.AwaitHealthy(within(t, time.Minute), "north", "south", "east"))
	w.tryPairs(t, "27")
}

// replaceHost restarts the host VM on another emulator.
func (w *world) replaceHost(t *testing.T, command, env []string) {
	t.Helper()
	must(t, w.host.Stop())
	must(t, w.daemon.Await(within(t, 2*time.Minute), "the host VM is seen to be gone", func(h status.Host) bool { return !h.HostUp }))
	host, err := w.StartHostOn(within(t, 2*time.Minute), "demo_web", command, env)
	must(t, err)
	w.host = host
}
