package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// maxForwarded bounds the connections through one forwarded port.
	maxForwarded = 512
	// dialTimeout bounds a connection attempt to a guest.
	dialTimeout = 5 * time.Second
)

// forward carries one port of the host's loopback to the guest.
type forward struct {
	m      *member
	port   uint16
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	err     error // why the port is not open now
	ln      net.Listener
	retired bool // another gateway accepts at the port
}

// setForwards opens and closes forwarded ports until they are as listed.
func (m *member) setForwards(ports []uint16) {
	m.mu.Lock()
	var gone []*forward
	for port, f := range m.forwards {
		if !slices.Contains(ports, port) {
			gone = append(gone, f)
			delete(m.forwards, port)
		}
	}
	for _, port := range ports {
		if m.forwards[port] == nil {
			m.forwards[port] = m.newForward(port)
		}
	}
	m.mu.Unlock()
	for _, f := range gone {
		f.cancel()
		<-f.done
	}
}

// newForward opens a port at once, so that whoever asked sees what became of
// it, and keeps trying when it is taken.
func (m *member) newForward(port uint16) *forward {
	f := &forward{m: m, port: port, done: make(chan struct{})}
	ln, err := f.listen()
	f.ln, f.err = ln, err
	f.start(ln)
	return f
}

// start keeps the port until the forward is cancelled, which is not done by the
// member's end alone: connections may outlive it.
func (f *forward) start(ln net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go func() {
		defer close(f.done)
		defer cancel()
		defer f.m.s.survive(fmt.Sprintf("%s port %d", f.m.name, f.port))
		f.keep(ctx, ln)
	}()
}

// retire leaves the port to another gateway; connections go on until they end,
// or cancel is called.
func (f *forward) retire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.retired = true
	if f.ln != nil {
		f.ln.Close()
	}
}

// listener is where the port is accepted at, nil while it is not.
func (f *forward) listener() net.Listener {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil
	}
	return f.ln
}

func (f *forward) isRetired() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.retired
}

func (f *forward) listen() (net.Listener, error) {
	ln, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", f.port))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %d of 127.0.0.1 is taken by another process: stop it, or declare another port", f.port)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("port %d of 127.0.0.1 is reserved for root: declare a port from 1024 on", f.port)
	case err != nil:
		return nil, fmt.Errorf("open port %d of 127.0.0.1: %w", f.port, err)
	}
	return f.m.s.ice.gate(ln), nil
}

// keep serves the port until ctx ends; ln is nil when it was taken.
func (f *forward) keep(ctx context.Context, ln net.Listener) {
	wait := firstRetry
	for ctx.Err() == nil {
		if ln != nil {
			f.serve(ctx, ln)
			wait = firstRetry
		}
		if f.isRetired() {
			return
		}
		rest(ctx, wait)
		wait = min(2*wait, lastRetry)
		if ctx.Err() == nil {
			var err error
			ln, err = f.listen()
			f.note(err)
		}
	}
	if ln != nil {
		ln.Close()
	}
}

func (f *forward) note(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
}

// problem is why the port is not open, "" when it is.
func (f *forward) problem() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

// serve accepts until ctx ends or ln fails, and waits for its connections.
func (f *forward) serve(ctx context.Context, ln net.Listener) {
	f.mu.Lock()
	f.ln = ln
	f.mu.Unlock()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	defer ln.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, maxForwarded)
	for {
		conn, err := ln.Accept()
		if err != nil {
			f.note(err)
			return
		}
		select {
		case slots <- struct{}{}:
			wg.Go(func() {
				defer func() { <-slots }()
				defer f.m.s.survive(f.m.name + " forwarded connection")
				f.carry(ctx, conn.(*net.TCPConn))
			})
		default:
			conn.Close()
		}
	}
}

// carry joins one accepted connection with the guest's port.
func (f *forward) carry(ctx context.Context, out *net.TCPConn) {
	defer out.Close()
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := dial(dialCtx, netip.AddrPortFrom(f.m.spec().Guest.Addr(), f.port))
	if err != nil {
		return
	}
	in := conn.(*net.TCPConn)
	defer in.Close()
	defer context.AfterFunc(ctx, func() { out.Close(); in.Close() })()
	var wg sync.WaitGroup
	wg.Go(func() { splice(in, out) })
	splice(out, in)
	wg.Wait()
}

// splice copies until from ends, and passes that end on; a failure ends both.
func splice(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	_ = to.CloseWrite()
}
