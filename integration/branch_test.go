//go:build integration

package integration

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// TestMovedBranch: an app's source that names a branch is followed, without a
// commit in the gitops repository: in a guest, and in the host VM.
func TestMovedBranch(t *testing.T) {
	const source = "src/counter.erl"
	was, err := w.counter.Read(source)
	must(t, err)
	t.Cleanup(func() {
		must(t, errors.Join(w.counter.Write(source, was), w.counter.Commit("Take it back")))
	})
	w.have(t, map[string]string{"counter": w.counterConfig("vm", "")})
	guest := w.daemon.App(t.Context(), "counter")
	head := w.pushCounter(t, source, was, "guest")
	w.awaitCounter(t, head)
	if a := w.daemon.App(t.Context(), "counter"); a.Pid == guest.Pid || a.Revision == guest.Revision || a.Restarts != guest.Restarts {
		t.Errorf("it was pid %d at %s and is %+v", guest.Pid, guest.Revision, a)
	}
	if v := call(t, w.guest(t, "counter"), "counter", "moved"); v != term.Term(term.Atom("guest")) {
		t.Errorf("the guest answers %s", term.Format(v))
	}

	w.have(t, map[string]string{"counter": w.counterConfig("embedded", "")})
	if v := mustHost(t, "counter", "moved"); v != term.Term(term.Atom("guest")) {
		t.Errorf("the host VM answers %s", term.Format(v))
	}
	w.awaitCounter(t, w.pushCounter(t, source, was, "embedded"))
	if v := mustHost(t, "counter", "moved"); v != term.Term(term.Atom("embedded")) {
		t.Errorf("the host VM answers %s", term.Format(v))
	}
}

// pushCounter commits to counter's branch a module that says what, and returns
// the branch's new head.
func (w *world) pushCounter(t *testing.T, file string, source []byte, what string) string {
	t.Helper()
	text := bytes.Replace(source, []byte("-export(["), []byte("-export([moved/0]).\n-export(["), 1)
	must(t, w.counter.Write(file, append(text, []byte("\nmoved() -> "+what+".\n")...)))
	must(t, w.counter.Commit("Say "+what))
	head, err := w.counter.Head()
	must(t, err)
	return head
}

// awaitCounter has sandboxd look and waits until counter runs at a revision.
func (w *world) awaitCounter(t *testing.T, revision string) {
	t.Helper()
	must(t, w.daemon.Sync(t.Context()))
	must(t, w.daemon.Await(within(t, 90*time.Second), "counter runs at its branch's head", func(h status.Host) bool {
		a := appOf(h, "counter")
		return a.Revision == revision && a.Phase == status.Healthy
	}))
}
