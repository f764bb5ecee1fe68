//go:build integration

package attacks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"beamsandbox/distribution/wire"
	"beamsandbox/integration/stage"
	"beamsandbox/netns"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// dial is dialOnce until the host VM, which has just lost the link before, does
// not dial at the same moment.
func (w *world) dial(ctx context.Context, guest string, self wire.Identity) (conn net.Conn, err error) {
	_ = stage.Until(ctx, "the host VM does not dial", func() bool {
		conn, err = w.dialOnce(guest, self)
		return !errors.Is(err, wire.StatusNOK)
	})
	return conn, err
}

// dialOnce connects to the gateway from inside a guest's namespace, and shakes hands
// as that guest.
func (w *world) dialOnce(guest string, self wire.Identity) (net.Conn, error) {
	cookie, err := w.GuestCookie(guest)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	err = netns.Do(filepath.Join(w.RunDir, "netns", guest), func() (err error) {
		conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", policy.DistributionPort))
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := wire.Dial(conn, self, app.NewSecret(cookie), 4711); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (w *world) dialAs(t *testing.T, guest string, self wire.Identity) net.Conn {
	t.Helper()
	conn, err := w.dial(within(t, time.Minute), guest, self)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}
