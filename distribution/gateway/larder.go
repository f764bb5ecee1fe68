package gateway

import (
	"errors"
	"io"
	"sync"
	"time"

	"beamsandbox/distribution/wire"
)

const (
	// largeBytes is the memory for large frames under way, of all links
	// together, in bytes; it holds three of the largest. Garbage comes on top.
	largeBytes = 3 * wire.DefaultMaxFrame
	// hurry is how long a guest may take for a large frame while others wait
	// for memory.
	hurry = time.Second
)

// larder is the memory that large frames are read into. Frames wait for it, so
// that a gateway takes no more, and the guest whose frame is the longest under
// way loses its link when others wait: who announces much and sends little
// holds up nobody. The zero value is not ready.
type larder struct {
	pool sync.Pool // of *[]byte, given back to the system when nobody needs them

	mu     sync.Mutex
	left   int
	claims map[*claim]struct{}
	freed  chan struct{} // closed and replaced when memory comes back
}

func (d *larder) init(bytes int) {
	d.left, d.claims, d.freed = bytes, make(map[*claim]struct{}), make(chan struct{})
}

// claim is the share of one frame under way.
type claim struct {
	d     *larder
	l     *link
	guest bool // the guest sends it, and may lose its link for it
	since time.Time
	bytes int
	buf   *[]byte
}

// errNoMemory ends a link whose guest was the slowest while others waited.
var errNoMemory = errors.New("took too long for a large message while others waited for the memory that it holds")

func (d *larder) claim(l *link, guest bool) *claim {
	c := &claim{d: d, l: l, guest: guest, since: time.Now()}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.claims[c] = struct{}{}
	return c
}

// end gives everything back.
func (c *claim) end() {
	if c.buf != nil {
		c.d.pool.Put(c.buf)
	}
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	delete(c.d.claims, c)
	c.d.left += c.bytes
	close(c.d.freed)
	c.d.freed = make(chan struct{})
}

// take waits until the frame may have n bytes in all.
func (c *claim) take(n int) error {
	for {
		freed := c.try(n)
		if freed == nil {
			return nil
		}
		t := time.NewTimer(hurry)
		select {
		case <-freed:
		case <-t.C:
		case <-c.l.ended:
			t.Stop()
			return io.ErrUnexpectedEOF
		}
		t.Stop()
	}
}

// try takes the memory, or makes the slowest guest give up its own and returns
// what to wait for.
func (c *claim) try(n int) <-chan struct{} {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if more := n - c.bytes; more <= d.left {
		d.left -= more
		c.bytes = n
		return nil
	}
	if slow := d.slowest(time.Now().Add(-hurry)); slow != nil && slow != c {
		go slow.l.end(errNoMemory.Error()) // its pump gives the memory back
	}
	return d.freed
}

// slowest is the guest's frame that is the longest under way and holds memory,
// if it began before then; d.mu is held.
func (d *larder) slowest(then time.Time) (slow *claim) {
	for c := range d.claims {
		if c.guest && c.bytes > 0 && c.since.Before(then) && (slow == nil || c.since.Before(slow.since)) {
			slow = c
		}
	}
	return slow
}

// read reads a frame of n bytes, whose head has been read. Memory is taken as
// bytes come; a host VM, which is trusted, has it taken at once.
func (c *claim) read(r io.Reader, n int) ([]byte, error) {
	first := n
	if c.guest {
		first = min(n, keepBuffer)
	}
	c.buf = c.d.used(n)
	if err := c.grow(first); err != nil {
		return nil, err
	}
	buf := (*c.buf)[:0]
	for len(buf) < n {
		if len(buf) == cap(buf) {
			if err := c.grow(min(n, 2*len(buf))); err != nil {
				return nil, err
			}
			buf = append((*c.buf)[:0], buf...)
		}
		k, err := io.ReadFull(r, buf[len(buf):min(n, cap(buf))])
		if err != nil {
			return nil, err
		}
		buf = buf[:len(buf)+k]
	}
	return buf, nil
}

// used is a buffer that is there already, unless it is far larger than a frame
// of n bytes needs; else an empty one.
func (d *larder) used(n int) *[]byte {
	if b, ok := d.pool.Get().(*[]byte); ok {
		if cap(*b) <= max(4*n, 1<<20) {
			return b
		}
		d.pool.Put(b)
	}
	return new([]byte)
}

// grow makes room for n bytes; what was there is still in the older room.
func (c *claim) grow(n int) error {
	n = max(n, cap(*c.buf))
	if err := c.take(n); err != nil {
		return err
	}
	if n > cap(*c.buf) {
		*c.buf = make([]byte, 0, n)
	}
	return nil
}
