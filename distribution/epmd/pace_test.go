package epmd

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// queue is a listener whose connections the test puts in.
type queue struct {
	conns chan net.Conn
	gone  context.Context
	end   context.CancelFunc
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.gone.Done():
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error   { q.end(); return nil }
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }

// dial is one more connection, which the View ends once it was served.
func (q *queue) dial() net.Conn {
	near, far := net.Pipe()
	q.conns <- far
	return near
}

// serveQueue runs a View until the test ends; inside a bubble.
func serveQueue(t *testing.T) *queue {
	t.Helper()
	q := &queue{conns: make(chan net.Conn)}
	q.gone, q.end = context.WithCancel(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- new(View).Serve(ctx, q) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return q
}

// A guest that connects without end is served fifty times at once and fifty
// times a second, whoever else waits.
func TestViewPacesConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := serveQueue(t)
		begin := time.Now()
		for i := range viewBurst + 100 {
			near := q.dial()
			if _, err := near.Write([]byte{0, 1, codeNames}); err != nil {
				t.Fatal(err)
			}
			if answer, err := io.ReadAll(near); err != nil || len(answer) != 4 {
				t.Fatalf("connection %d: answer %x, %v", i, answer, err)
			}
		}
		if d := time.Since(begin); d < 100*viewEvery-viewEvery || d > 101*viewEvery {
			t.Errorf("%d connections were served in %v", viewBurst+100, d)
		}
		<-time.After(viewBurst * viewEvery) // the budget is whole again
		begin = time.Now()
		for range viewBurst {
			q.dial().Close()
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("a burst after a rest took %v", d)
		}
	})
}

// Connections that say nothing take up their own guest's room alone, and no more
// of it than there is.
func TestViewBoundsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := serveQueue(t)
		silent := make([]net.Conn, viewConns)
		for i := range silent {
			silent[i] = q.dial()
		}
		begin := time.Now()
		if n, err := q.dial().Read(make([]byte, 1)); err != io.EOF || time.Since(begin) != 0 {
			t.Errorf("one more: %d bytes, %v after %v", n, err, time.Since(begin))
		}
		for _, c := range silent {
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("a silent one: %v", err)
			}
		}
		if d := time.Since(begin); d != viewTimeout {
			t.Errorf("silent ones were held for %v", d)
		}
	})
}
