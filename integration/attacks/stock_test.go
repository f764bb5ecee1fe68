//go:build integration

package attacks

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
)

// stock is what attacks must leave as it is.
type stock struct {
	state, counts term.Term // of the host VM
	innocent      time.Time // since when its link stands
	heard         int64     // messages of the innocent guest that reached the host VM
}

// noise is by how much a figure of an unharmed host VM may grow: it answers the
// test's questions, loads code for that and lets the guests' granted atoms in.
func noise() map[term.Atom]int64 {
	return map[term.Atom]int64{"atoms": 500, "processes": 5, "ports": 2, "ets": 2, "memory": 4 << 20, "exports": 200, "nodes": 5}
}

func (w *world) takeStock(t *testing.T) stock {
	t.Helper()
	w.settle(t, innocent) // the others may be kept off for a while
	w.onHost(t, "ready", term.Atom(w.Node(innocent)), term.Atom(w.Node(innocent)))
	return stock{w.onHost(t, "state"), w.onHost(t, "counts"), w.member(t, innocent).Since, w.beats(t)}
}

// unharmed holds the host VM and the innocent guest against what was before.
func (w *world) unharmed(t *testing.T, before stock) {
	t.Helper()
	after := w.takeStock(t)
	if !term.Equal(after.state, before.state) {
		t.Errorf("the host VM has changed: %s", difference(before.state, after.state))
	}
	was, _ := before.counts.(term.Map)
	is, _ := after.counts.(term.Map)
	for figure, most := range noise() {
		old, _ := was.Get(figure)
		now, _ := is.Get(figure)
		a, ok1 := old.(term.Int)
		b, ok2 := now.(term.Int)
		t.Logf("%s of the host VM: %d, then %d", figure, a, b)
		if !ok1 || !ok2 || int64(b-a) > most {
			t.Errorf("%s of the host VM: %s, then %s, more than noise", figure, term.Format(old), term.Format(now))
		}
	}
	if !after.innocent.Equal(before.innocent) {
		t.Errorf("the innocent guest's link stood since %s, now since %s", before.innocent, after.innocent)
	}
	eventually(t, "the innocent guest is heard", func() bool { return w.beats(t) > before.heard })
}

// beats counts what the innocent guest told the host VM.
func (w *world) beats(t *testing.T) int64 {
	t.Helper()
	heard, _ := call(t, w.host, "demo_web", "heard").(term.Map)
	v, _ := heard.Get(term.Atom(w.Node(innocent)))
	last, _ := v.(term.Tuple)
	if len(last) != 2 {
		return 0
	}
	n, _ := last[0].(term.Int)
	return int64(n)
}

// startPeer starts a node of the cluster's own that has the attacker's code and
// reaches the host VM without any gateway.
func (w *world) startPeer(t *testing.T) runs {
	t.Helper()
	var peer *stage.Host
	var err error
	if peer, err = w.StartHost(within(t, 30*time.Second), "attack_peer"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := peer.Stop(); err != nil {
			t.Error(err)
		}
	})
	call(t, peer, "code", "add_patha", term.String(w.code))
	return peer
}

// kilobytes reads a figure of a process, as proc(5) gives it in its status.
func kilobytes(t *testing.T, pid int, figure string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, rest, found := strings.Cut(string(b), figure+":")
	n, scanned := 0, 0
	if found {
		scanned, _ = fmt.Sscan(rest, &n)
	}
	if scanned != 1 {
		t.Fatalf("process %d: no %s in its status", pid, figure)
	}
	return n
}
