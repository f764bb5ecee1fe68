//go:build integration

package attacks

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/wire"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/app"
)

// TestAnnouncedSize is the other half of attack 24: a node that announces a
// frame of 1.5 GB makes the host VM reserve that much, where nobody stands before
// it. The gateway ends the link and reserves nothing.
func TestAnnouncedSize(t *testing.T) {
	const announced = 1500 << 20
	w.enforce(t)
	w.settle(t, attacker, innocent)
	stock := w.takeStock(t)
	before := kilobytes(t, w.host.Pid, "VmSize")
	conn := w.dialHost(t)
	announce(t, conn, announced)
	eventually(t, "the host VM has reserved it", func() bool {
		return kilobytes(t, w.host.Pid, "VmSize") > before+announced>>11
	})
	must(t, conn.Close())
	eventually(t, "the host VM has given it back", func() bool {
		return kilobytes(t, w.host.Pid, "VmSize") < before+announced>>12
	})

	gateway, refused := w.gatewayMemory(t), w.member(t, attacker).Refused["size"]
	conn = w.dialAs(t, attacker, wire.Identity{Name: w.Node(attacker), Creation: 4711, Flags: wire.Relayed})
	announce(t, conn, announced)
	must(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the link stands")
	}
	if w.member(t, attacker).Refused["size"] == refused {
		t.Error("rule size does not count it")
	}
	if now := kilobytes(t, w.host.Pid, "VmSize"); now > before+announced>>12 {
		t.Errorf("the host VM had %d KB and has %d", before, now)
	}
	if now := w.gatewayMemory(t); now > gateway+32<<20 {
		t.Errorf("the gateway had %d bytes and has %d", gateway, now)
	}
	w.unharmed(t, stock)
	w.forgive(t, attacker)
}

// announce writes the length of a frame, and only its beginning.
func announce(t *testing.T, conn net.Conn, n uint32) {
	t.Helper()
	_, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, n), 112, 131))
	must(t, err)
}

// dialHost makes a link with the host VM past the gateway, as a hidden node of
// the cluster.
func (w *world) dialHost(t *testing.T) net.Conn {
	t.Helper()
	alive, _, _ := strings.Cut(w.host.Name, "@")
	info, err := epmd.Lookup(t.Context(), netip.MustParseAddrPort(stage.EPMD), alive)
	must(t, err)
	conn, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), info.Port).String())
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = wire.Dial(conn, wire.Identity{Name: w.Node("attack_size"), Creation: 1, Flags: wire.OwnFlags}, app.NewSecret(w.Cookie), 4711)
	must(t, err)
	return conn
}
