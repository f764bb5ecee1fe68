package gateway

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// ice is what holds a gateway still while another process takes its members
// over: nobody is accepted, and links rest between two frames. It ends with a
// thaw, or with the gateway's part being over. The zero value is not frozen.
type ice struct {
	mu    sync.Mutex
	gates map[*gate]struct{}
	fate  chan struct{} // closed at the end; nil while nothing is frozen
	over  bool          // what is frozen belongs to another process
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

func (i *ice) freeze() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fate = make(chan struct{})
	for g := range i.gates {
		_ = g.SetDeadline(longAgo)
	}
}

// melt ends it: with over, whoever rested must leave without a word.
func (i *ice) melt(over bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = over
	for g := range i.gates {
		if !over { // else it must not take what is another process's
			_ = g.SetDeadline(time.Time{})
		}
	}
	close(i.fate)
	i.fate = nil
}

// rest waits for the end and says whether it is all over.
func (i *ice) rest() (over bool) {
	i.mu.Lock()
	fate := i.fate
	i.mu.Unlock()
	if fate != nil {
		<-fate
	}
	return i.isOver()
}

func (i *ice) isOver() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.over
}

// gate is a listener that accepts nobody while its gateway is frozen.
type gate struct {
	*net.TCPListener
	ice *ice
}

// gate makes a gate of a TCP listener; another one stays as it is.
func (i *ice) gate(ln net.Listener) net.Listener {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return ln
	}
	g := &gate{tcp, i}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.gates == nil {
		i.gates = make(map[*gate]struct{})
	}
	i.gates[g] = struct{}{}
	if i.fate != nil {
		_ = g.SetDeadline(longAgo)
	}
	return g
}

// Accept waits for a connection, and before for the end of the ice.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.TCPListener.Accept()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return conn, err
		}
		if g.ice.rest() {
			return nil, net.ErrClosed
		}
	}
}

// Close closes the listener for good.
func (g *gate) Close() error {
	g.ice.mu.Lock()
	delete(g.ice.gates, g)
	g.ice.mu.Unlock()
	return g.TCPListener.Close()
}
