//go:build integration

package integration

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"beamsandbox/reconcile/status"
)

// crashes is how often sandboxd is killed, and crashSeed what the moments are
// drawn from.
const (
	crashes   = 20
	crashSeed = 231
)

// TestSurroundingsCrashes: sandboxd is killed at random moments while one guest
// is deployed, upgraded and removed. In the end there is one healthy guest of
// the last wish, and after its removal nothing.
func TestSurroundingsCrashes(t *testing.T) {
	p := newPlace(t, "crash")
	p.up()
	fresh, err := p.NewRepo("fresh", "../examples/apps/counter")
	must(t, err)
	wishes := []map[string]string{
		{"counter": p.counter("")},
		{"counter": p.limited("memory_limit => 64")},                                 // started anew
		{"counter": p.counter("step => 2")},                                          // and again
		{"counter": p.counter("step => 3")},                                          // set in the running guest
		{"counter": strings.Replace(p.counter(""), w.counter.URL(), fresh.URL(), 1)}, // built anew
		nil,
	}
	p.ask(wishes[0])
	p.serve()
	p.settles(wishes[0])
	random := rand.New(rand.NewPCG(crashSeed, 0))
	var phases []string
	for n := range crashes {
		after := time.Duration(random.Int64N(int64(2 * time.Second)))
		must(t, fresh.Commit("Change"))
		p.ask(wishes[(n+1)%len(wishes)])
		p.sync()
		<-time.After(after)
		phases = append(phases, string(p.daemon.App(t.Context(), "counter").Phase))
		p.daemon.Kill()
		p.restart()
	}
	t.Logf("killed while counter was %v", phases)
	for _, wish := range []map[string]string{wishes[1], nil} {
		p.ask(wish)
		p.sync()
		p.settles(wish)
	}
	must(t, p.daemon.Stop(20*time.Second))
	nothingLeft(t, p.Stage)
}

// limited is counter with a vm_config, which no running guest can be given.
func (p *place) limited(vm string) string {
	return strings.Replace(p.counter(""), "env =>", "vm_config => #{"+vm+"}, env =>", 1)
}

// guests are the emulators that are children of a shim of this place.
func (p *place) guests() []int {
	p.t.Helper()
	shims := map[string]bool{}
	var pids []int
	all, err := filepath.Glob("/proc/[0-9]*")
	must(p.t, err)
	for _, dir := range all {
		if cmd, err := os.ReadFile(dir + "/cmdline"); err == nil &&
			strings.Contains(string(cmd), "containerd-shim") && strings.Contains(string(cmd), p.RunDir) {
			shims[filepath.Base(dir)] = true
		}
	}
	for _, dir := range all {
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])) // proc(5)
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && shims[fields[1]] {
			pids = append(pids, pid)
		}
	}
	return pids
}

// settles waits until there is what was asked for, once.
func (p *place) settles(wish map[string]string) {
	p.t.Helper()
	if wish == nil {
		must(p.t, p.daemon.Await(within(p.t, 60*time.Second), "no app is left", func(h status.Host) bool {
			return len(h.Apps) == 0 && h.Settled
		}))
		return
	}
	must(p.t, p.daemon.AwaitHealthy(within(p.t, 60*time.Second), "counter"))
	nodes, err := p.host.Nodes(p.t.Context())
	must(p.t, err)
	if !slices.Equal(nodes, []string{p.Node("counter")}) {
		p.t.Errorf("nodes() on the host VM = %v, want one guest", nodes)
	}
	if got := p.guests(); len(got) != 1 || got[0] != int(p.pid("counter")) {
		p.t.Errorf("processes of guests: %v, want %d alone", got, p.pid("counter"))
	}
}
