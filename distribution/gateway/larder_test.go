package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// plain is a link of nobody.
func plain() *link {
	a, b := net.Pipe()
	return &link{host: &leg{conn: a}, guest: &leg{conn: b}, ended: make(chan struct{}), done: make(chan struct{})}
}

func newLarder(bytes int) *larder {
	d := new(larder)
	d.init(bytes)
	return d
}

// now is a share that must be had without waiting.
func (d *larder) now(t *testing.T, n int) *share {
	t.Helper()
	c, err := d.share(plain(), n)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// later asks for a share that others must make room for.
func (d *larder) later(n int) (l *link, got chan *share) {
	l, got = plain(), make(chan *share, 1)
	go func() {
		c, _ := d.share(l, n)
		got <- c
	}()
	synctest.Wait()
	return l, got
}

func hasEnded(c *share) bool {
	synctest.Wait()
	select {
	case <-c.l.ended:
		return true
	default:
		return false
	}
}

func TestAnnouncedSizeReservesNothing(t *testing.T) {
	d := newLarder(8 << 20)
	c := d.now(t, 8<<20)
	if _, err := c.read(bytes.NewReader(make([]byte, 100_000))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a frame that ends early: %v", err)
	}
	if cap(*c.buf) > 200_000 {
		t.Errorf("100000 bytes of a frame took %d bytes of memory", cap(*c.buf))
	}
	c.end()
	if d.left != 8<<20 || len(d.given) != 0 {
		t.Errorf("%d bytes are left, %d have a turn", d.left, len(d.given))
	}
}

func TestFrameArrivesAsItWasSent(t *testing.T) {
	frame := bytes.Repeat([]byte("0123456789abcdef!"), 50_000)
	d := newLarder(8 << 20)
	for range 3 { // the later ones in the first one's memory
		c := d.now(t, len(frame))
		got, err := c.read(bytes.NewReader(append(frame, "next"...)))
		if err != nil || !bytes.Equal(got, frame) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		c.end()
	}
}

// TestTurnsComeInOrder: a small frame does not overtake a large one that waits,
// or large ones might never come.
func TestTurnsComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newLarder(100)
		first := d.now(t, 60)
		_, large := d.later(80)
		_, small := d.later(10)
		if len(small) > 0 {
			t.Fatal("a small frame overtook a large one")
		}
		first.end()
		(<-large).end()
		(<-small).end()
		if d.left != 100 || len(d.queue) != 0 {
			t.Errorf("%d bytes are left, %d wait", d.left, len(d.queue))
		}
	})
}

// TestSlowGuestMakesRoom: a guest that lets the gateway wait loses its link when
// others wait for its memory, the slowest first and no more than needed; not one
// that waits itself, or whose frame waits for the host VM.
func TestSlowGuestMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newLarder(1000)
		host, slower := d.now(t, 300), d.now(t, 250)
		slower.awaits(true)
		time.Sleep(time.Millisecond)
		slow, young := d.now(t, 250), d.now(t, 200)
		slow.awaits(true)
		time.Sleep(hurry)
		young.awaits(true)
		_, got := d.later(200)
		if hasEnded(slower) {
			t.Fatal("a link ended before anybody had waited")
		}
		time.Sleep(hurry / 4)
		if !hasEnded(slower) || slower.l.reason != errNoMemory.Error() {
			t.Fatalf("the slowest link did not end, or because %q", slower.l.reason)
		}
		slower.end()
		last := <-got
		for _, c := range []*share{host, young, slow, last} {
			if hasEnded(c) {
				t.Errorf("a link ended that should not, with %d bytes", c.bytes)
			}
		}
		if d.left != 50 {
			t.Errorf("%d bytes are left, want 50", d.left)
		}
	})
}

// TestLongWaitIsNotHeldAgainstAGuest: who had to wait longer than hurry for a
// turn has the time of a turn then.
func TestLongWaitIsNotHeldAgainstAGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newLarder(100)
		first := d.now(t, 100)
		_, got := d.later(100)
		time.Sleep(3 * hurry)
		first.end()
		second := <-got
		second.awaits(true)
		waits, got := d.later(100)
		time.Sleep(hurry - time.Millisecond)
		if hasEnded(second) {
			t.Error("its wait was held against it")
		}
		time.Sleep(hurry)
		if !hasEnded(second) {
			t.Error("it keeps its memory")
		}
		waits.end("over")
		<-got
		second.end()
	})
}

func TestWhoseLinkEndsWaitsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newLarder(100)
		first := d.now(t, 100)
		l, got := d.later(1)
		l.end("over")
		if c := <-got; c != nil {
			t.Error("memory was given twice")
		}
		first.end()
		if d.left != 100 || len(d.queue) != 0 {
			t.Errorf("%d bytes are left, %d wait", d.left, len(d.queue))
		}
	})
}
