package epmd

import (
	"context"
	"net"
	"testing"
)

// twin is the same connection once more, as another process has it that got it
// passed.
func twin(t *testing.T, conn net.Conn) net.Conn {
	t.Helper()
	f, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	again, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// TestAnotherViewGoesOn: a name stays held when its View hands it to another
// one and ends, is found there, is not reported as come again, and goes with
// its connection.
func TestAnotherViewGoesOn(t *testing.T) {
	ctx := t.Context()
	first, events := recorded("pulse", nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- first.Serve(serving, ln) }()
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	var leases []*Lease
	for _, name := range []string{"pulse", "rem-1"} {
		lease, err := Register(ctx, addr, Registration{Name: name, Port: 5001})
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, lease)
	}
	if got := <-events; got != "up pulse" {
		t.Fatalf("event %q", got)
	}
	all := first.Holding()
	for len(all.Names) < 2 { // an answer is on its way before its connection is known
		all = first.Holding()
	}
	for i, conn := range all.Conns {
		all.Conns[i] = twin(t, conn)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	second, news := recorded("pulse", nil)
	if err := second.Resume(all); err != nil {
		t.Fatal(err)
	}
	addr = serveView(t, second)
	if info, err := Lookup(ctx, addr, "pulse"); err != nil || info.Port != 5001 {
		t.Errorf("lookup: %+v, %v", info, err)
	}
	if lease, err := Register(ctx, addr, Registration{Name: "third", Port: 1}); err != nil || lease.Creation <= leases[1].Creation {
		t.Errorf("a creation was handed out again: %+v, %v", lease, err)
	}
	leases[0].Close()
	if got := <-news; got != "down pulse" {
		t.Errorf("event %q", got)
	}
	select {
	case <-leases[1].Done():
		t.Error("the other name is not held any more")
	default:
	}
}

// TestAnotherProcessHoldsALease: a lease that is taken over outlives the one
// that it came from.
func TestAnotherProcessHoldsALease(t *testing.T) {
	v, events := recorded("pulse", nil)
	addr := serveView(t, v)
	lease, err := Register(t.Context(), addr, Registration{Name: "pulse", Port: 5001})
	if err != nil {
		t.Fatal(err)
	}
	<-events
	heir := Resume(lease.Registration, lease.Creation, twin(t, lease.Conn()))
	lease.Close()
	if info, err := Lookup(t.Context(), addr, "pulse"); err != nil || info.Port != 5001 {
		t.Errorf("lookup: %+v, %v", info, err)
	}
	heir.Close()
	if got := <-events; got != "down pulse" {
		t.Errorf("event %q", got)
	}
}
