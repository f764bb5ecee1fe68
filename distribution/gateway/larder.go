package gateway

import (
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"beamsandbox/distribution/wire"
)

const (
	// largeBytes is the memory for large frames under way, of all links
	// together, in bytes; it holds three of the largest. Garbage comes on top.
	largeBytes = 3 * wire.DefaultMaxFrame
	// hurry is how long a guest may take to send the next stride of a large frame,
	// or to take one whole, while others wait for memory.
	hurry  = time.Second
	stride = 1 << 20
)

// larder is the memory that large frames are read into. Frames get their share
// in the order in which they were announced, so that a gateway takes no more
// and every frame gets its turn. Whose turn it is has it for a moment only: a
// guest that lets the gateway wait while others wait for memory loses its
// link. Time that a guest waits for others is not held against it. The zero
// value is not ready.
type larder struct {
	pool sync.Pool // of *[]byte, given back to the system when nobody needs them

	mu    sync.Mutex
	left  int
	queue []*share            // announced, the first one next
	given map[*share]struct{} // those whose turn it is
}

func (d *larder) init(bytes int) {
	d.left, d.given = bytes, make(map[*share]struct{})
}

// share is the part of one frame under way.
type share struct {
	d     *larder
	l     *link
	bytes int
	turn  chan struct{} // closed when the memory may be used
	buf   *[]byte

	// The larder's lock guards these.
	since  time.Time // when the gateway began to wait for the guest, zero while it does not
	ending bool      // its link ends, and the memory will come back
}

// errNoMemory ends a link whose guest was slow while others waited.
var errNoMemory = errors.New("took too long over a large message while others waited for the memory that it holds")

// share waits until a frame of n bytes gets its turn, at the head of the queue.
// End must be called unless the link ended meanwhile or is to rest, which are
// errors.
func (d *larder) share(l *link, n int) (*share, error) {
	c := &share{d: d, l: l, bytes: n, turn: make(chan struct{})}
	d.mu.Lock()
	d.queue = append(d.queue, c)
	d.serve()
	d.mu.Unlock()
	t := time.NewTicker(hurry / 4)
	defer t.Stop()
	for paused := l.paused(); ; {
		select {
		case <-c.turn:
			return c, nil
		case <-paused:
			c.end()
			return nil, errFrozen
		case <-l.ended:
			c.end()
			return nil, io.ErrUnexpectedEOF
		case now := <-t.C:
			d.press(now)
		}
	}
}

// serve gives memory to those at the head of the queue; d.mu is held.
func (d *larder) serve() {
	for len(d.queue) > 0 && d.queue[0].bytes <= d.left {
		c := d.queue[0]
		d.queue = slices.Delete(d.queue, 0, 1)
		d.left -= c.bytes
		d.given[c] = struct{}{}
		close(c.turn)
	}
}

// press ends the links of guests that the gateway has waited for longer than
// hurry, the longest first, until the head of the queue will have room.
func (d *larder) press(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return
	}
	room, slow := d.left, []*share(nil)
	for c := range d.given {
		if c.ending {
			room += c.bytes
		} else if !c.since.IsZero() && now.Sub(c.since) > hurry {
			slow = append(slow, c)
		}
	}
	slices.SortFunc(slow, func(a, b *share) int { return a.since.Compare(b.since) })
	for _, c := range slow {
		if room >= d.queue[0].bytes {
			return
		}
		room += c.bytes
		c.ending = true
		go c.l.end(errNoMemory.Error()) // its pump gives the memory back
	}
}

// awaits says whether it is the guest that the frame waits for from now on.
func (c *share) awaits(guest bool) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	c.since = time.Time{}
	if guest {
		c.since = time.Now()
	}
}

// came notes that what was waited for came, and that more is waited for.
func (c *share) came() {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if !c.since.IsZero() {
		c.since = time.Now()
	}
}

// end gives everything back, or leaves the queue.
func (c *share) end() {
	if c.buf != nil {
		c.d.pool.Put(c.buf)
	}
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, has := d.given[c]; has {
		delete(d.given, c)
		d.left += c.bytes
	} else {
		d.queue = slices.DeleteFunc(d.queue, func(other *share) bool { return other == c })
	}
	d.serve()
}

// read reads the frame, whose head has been read. Memory is taken from the
// system as bytes come: what is announced and not sent costs nothing but the
// turn.
func (c *share) read(r io.Reader) ([]byte, error) {
	c.buf = c.d.used(c.bytes)
	buf := (*c.buf)[:0]
	for len(buf) < c.bytes {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(c.bytes, max(keepBuffer, 2*cap(buf)))), buf...)
			*c.buf = buf
		}
		k, err := io.ReadFull(r, buf[len(buf):min(c.bytes, cap(buf), len(buf)+stride)])
		if err != nil {
			return nil, err
		}
		buf = buf[:len(buf)+k]
		c.came()
	}
	return buf, nil
}

// used is a buffer that is there already, unless it is far larger than a frame
// of n bytes needs; else an empty one.
func (d *larder) used(n int) *[]byte {
	if b, ok := d.pool.Get().(*[]byte); ok {
		if cap(*b) <= 2*n {
			return b
		}
		d.pool.Put(b)
	}
	return new([]byte)
}
