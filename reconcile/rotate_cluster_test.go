package reconcile_test

import (
	"strings"
	"testing"

	"beamsandbox/reconcile/reconciletest"
	"beamsandbox/reconcile/status"
)

// TestRotateAWholeCluster: the other nodes of the host VM's cluster get the
// new cookie too, and when one of them or the host VM itself refuses it, or one
// of them takes it and its answer is lost, all keep the old one.
func TestRotateAWholeCluster(t *testing.T) {
	const first, second = "a@elsewhere", "b@elsewhere"
	for name, tc := range map[string]struct{ stubborn, deaf, want string }{
		"all take it":         {want: status.RotationDone},
		"a peer refuses":      {stubborn: second, want: status.RotationFailed},
		"the host VM refuses": {stubborn: reconciletest.HostNode, want: status.RotationFailed},
		"an answer is lost":   {deaf: second, want: status.RotationFailed},
	} {
		t.Run(name, func(t *testing.T) {
			withFiles(t, func(b *bench, files *brittle) {
				b.world.Peer(first)
				b.world.Peer(second)
				old := b.world.Knows(first)
				b.world.Stubborn(tc.stubborn)
				b.world.Deaf(tc.deaf, true)
				got := b.rotate("")
				if got.State != tc.want || tc.want == status.RotationDone && !strings.Contains(got.Detail, first+" has it until it starts again") {
					t.Errorf("got %+v", got)
				}
				for _, node := range []string{first, second, reconciletest.HostNode} {
					if (b.world.Knows(node) == old) != (tc.want == status.RotationFailed) {
						t.Errorf("%s knows %q, it was %q", node, b.world.Knows(node), old)
					}
				}
				if b.world.Knows(pulseNode) == b.world.Knows(first) {
					t.Error("the guest was given the cluster's cookie")
				}
				b.agree("", files, "another")
				b.linkStayed()
			})
		})
	}
}
