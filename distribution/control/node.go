package control

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
)

// Node is an established connection to another node. Its methods may be
// called from any goroutine. When the connection ends every waiting call
// fails, and the Node stays ended.
type Node struct {
	cfg  Config
	self wire.Identity
	peer wire.Identity
	pid  term.Pid // the one process of ours that the peer sees
	conn net.Conn
	in   *intake
	// turns holds a token for each answer that is decoded now.
	turns chan struct{}

	writing  sync.Mutex
	wrote    atomic.Bool // since the last tick
	lastRefs atomic.Uint64

	mu      sync.Mutex
	waiting map[term.Ref]chan<- reply
	err     error

	done chan struct{} // the reader ended
	quit chan struct{} // the ticker shall end
	wg   sync.WaitGroup
}

// reply is how a call ended.
type reply struct {
	value term.Term
	err   error
}

// decoding bounds the answers that all Nodes of the process decode at once: each
// may take a hundred times its bytes.
var decoding = make(chan struct{}, 4)

// errDefect ends a connection whose goroutine panicked.
var errDefect = errors.New("a defect of ours ended the connection, see the log")

// start runs an established connection.
func start(cfg Config, self, peer wire.Identity, conn net.Conn) *Node {
	n := &Node{
		cfg:     cfg,
		self:    self,
		peer:    peer,
		pid:     term.Pid{Node: term.Atom(self.Name), ID: 1, Creation: self.Creation},
		conn:    conn,
		in:      newIntake(cfg, conn),
		turns:   decoding,
		waiting: make(map[term.Ref]chan<- reply),
		done:    make(chan struct{}),
		quit:    make(chan struct{}),
	}
	n.wg.Go(func() {
		defer close(n.done)
		n.run("read from "+peer.Name, n.read)
	})
	n.wg.Go(func() { n.run("tick to "+peer.Name, n.tick) })
	return n
}

// run ends the connection with f, also where f panics and that is survived.
func (n *Node) run(what string, f func()) {
	defer n.fail(errDefect) // has no effect on a connection that has ended
	defer n.cfg.Survive(what)
	f()
}

// Peer is who the other node says it is.
func (n *Node) Peer() wire.Identity { return n.peer }

// Done is closed when the connection has ended.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why the connection ended; nil while it lasts.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// Close ends the connection and waits until that is done. Further calls do
// nothing.
func (n *Node) Close() error {
	n.fail(ErrClosed)
	n.wg.Wait()
	return nil
}

// fail ends the connection for the first reason given, and every call.
func (n *Node) fail(reason error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return
	}
	n.err = reason
	close(n.quit)
	n.conn.Close()
	for ref, ch := range n.waiting {
		ch <- reply{err: fmt.Errorf("%w: %w", ErrDown, reason)}
		delete(n.waiting, ref)
	}
}

// read takes frames in until the connection ends.
func (n *Node) read() {
	for {
		frame, err := n.in.next(n.wants)
		if err != nil {
			n.fail(readError(err))
			return
		}
		if err := n.take(frame); err != nil {
			n.fail(err)
			return
		}
	}
}

// tick sends an empty frame whenever nothing else was sent for a quarter of
// the tick time.
func (n *Node) tick() {
	ticker := time.NewTicker(n.cfg.TickTime / 4)
	defer ticker.Stop()
	for {
		select {
		case <-n.quit:
			return
		case <-ticker.C:
			if !n.wrote.Swap(false) {
				_ = n.write([]byte{})
				n.wrote.Store(false) // a tick does not put off the next one
			}
		}
	}
}

// write sends frames in one piece. A connection that does not take them is
// ended, since part of a frame may be on its way.
func (n *Node) write(frames ...[]byte) error {
	var out bytes.Buffer
	for _, f := range frames {
		if err := wire.WriteFrame(&out, f); err != nil {
			return err
		}
	}
	n.writing.Lock()
	defer n.writing.Unlock()
	_ = n.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := n.conn.Write(out.Bytes()); err != nil {
		n.fail(fmt.Errorf("write to the node: %w", err))
		return fmt.Errorf("%w: %w", ErrDown, n.Err())
	}
	n.wrote.Store(true)
	return nil
}

// newRef makes a reference that no other one of this Node equals.
func (n *Node) newRef() term.Ref {
	c := n.lastRefs.Add(1)
	// The first word holds 18 bits, as references did before V4_NC.
	words := [5]uint32{uint32(c) & 0x3FFFF, uint32(c >> 18), uint32(c >> 50)}
	return term.Ref{Node: term.Atom(n.self.Name), Creation: n.self.Creation, Len: 3, Words: words}
}
