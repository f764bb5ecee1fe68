package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
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

func TestAnnouncedSizeReservesNothing(t *testing.T) {
	d := newLarder(8 << 20)
	c := d.claim(plain(), true)
	if _, err := c.read(bytes.NewReader(make([]byte, 100_000)), 8<<20); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a frame that ends early: %v", err)
	}
	if c.bytes > 200_000 {
		t.Errorf("100000 bytes of a frame took %d bytes of memory", c.bytes)
	}
	c.end()
	if d.left != 8<<20 || len(d.claims) != 0 {
		t.Errorf("%d bytes are left, %d claims stand", d.left, len(d.claims))
	}
}

func TestFrameArrivesAsItWasSent(t *testing.T) {
	frame := bytes.Repeat([]byte("0123456789abcdef!"), 50_000)
	d := newLarder(8 << 20)
	for range 2 { // the second one in the first one's memory
		for _, guest := range []bool{true, false} {
			c := d.claim(plain(), guest)
			got, err := c.read(bytes.NewReader(append(frame, "next"...)), len(frame))
			if err != nil || !bytes.Equal(got, frame) {
				t.Errorf("guest %v: read %d bytes, %v", guest, len(got), err)
			}
			if !guest && c.bytes < len(frame) {
				t.Errorf("%d bytes are claimed for %d", c.bytes, len(frame))
			}
			c.end()
		}
	}
}

// TestSlowestGuestMakesRoom: a guest that holds memory loses its link when
// others wait; a host VM never does.
func TestSlowestGuestMakesRoom(t *testing.T) {
	d := newLarder(1000)
	hold := func(guest bool, age time.Duration, n int) *claim {
		c := d.claim(plain(), guest)
		c.since = time.Now().Add(-age)
		if err := c.take(n); err != nil {
			t.Fatal(err)
		}
		return c
	}
	host := hold(false, time.Hour, 300)
	slow, slower, young := hold(true, 2*hurry, 200), hold(true, 3*hurry, 200), hold(true, 0, 200)
	idle := d.claim(plain(), true) // holds nothing
	idle.since = time.Now().Add(-time.Hour)

	got := make(chan error, 1)
	last := d.claim(plain(), true)
	go func() { got <- last.take(300) }()
	ended := func(c *claim, want bool) {
		t.Helper()
		select {
		case <-c.l.ended:
			if !want {
				t.Error("a link ended that should not")
			}
		case <-time.After(map[bool]time.Duration{true: patienceOfTests, false: 0}[want]):
			if want {
				t.Error("the slowest link did not end")
			}
		}
	}
	ended(slower, true)
	if slower.l.reason != errNoMemory.Error() {
		t.Errorf("it ended because %q", slower.l.reason)
	}
	slower.end()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	for _, c := range []*claim{host, slow, young, idle, last} {
		ended(c, false)
	}
	if d.left != 0 {
		t.Errorf("%d bytes are left, want 0", d.left)
	}
}

func TestWhoseLinkEndsWaitsNoLonger(t *testing.T) {
	d := newLarder(100)
	young := d.claim(plain(), true)
	if err := young.take(100); err != nil {
		t.Fatal(err)
	}
	c := d.claim(plain(), false)
	got := make(chan error, 1)
	go func() { got <- c.take(1) }()
	c.l.end("over")
	select {
	case err := <-got:
		if err == nil {
			t.Error("memory was given twice")
		}
	case <-time.After(patienceOfTests):
		t.Error("it waits on")
	}
}
