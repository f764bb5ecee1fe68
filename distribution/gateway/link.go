package gateway

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"beamsandbox/distribution/gateway/judge"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
)

const (
	// stallAfter is how long a peer may take no byte before its link ends: a
	// stuck guest holds up nobody else, but it holds memory.
	stallAfter = 30 * time.Second
	// chunk is how much is written under one deadline, and keepBuffer how
	// large a frame buffer may be to stay with its link, in bytes.
	chunk      = 256 << 10
	keepBuffer = 64 << 10
	// oneWrite is how large a frame may be to be copied for a single write.
	oneWrite = 16 << 10
	// lingers is how long a link whose host leg ended may take to be noticed
	// before a new one is refused.
	lingers = 2 * time.Second
)

// leg is one of the two connections of a link.
type leg struct {
	conn    net.Conn
	id      wire.Identity
	in      *bufio.Reader
	silence time.Duration

	mu  sync.Mutex // whole frames
	out []byte     // the beginning of one, being written
}

func newLeg(conn net.Conn, id wire.Identity, silence time.Duration) *leg {
	_ = conn.SetDeadline(time.Time{})
	l := &leg{conn: conn, id: id, silence: silence}
	l.in = bufio.NewReaderSize(patient{l}, 16<<10)
	return l
}

// patient reads from a leg as long as bytes keep coming: a node that is alive
// sends at least a tick four times in a net_ticktime.
type patient struct{ l *leg }

func (p patient) Read(b []byte) (int, error) {
	_ = p.l.conn.SetReadDeadline(time.Now().Add(p.l.silence))
	return p.l.conn.Read(b)
}

// Write gives each chunk a deadline of its own, so that a slow peer may take
// its time and a stuck one may not.
func (l *leg) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		_ = l.conn.SetWriteDeadline(time.Now().Add(stallAfter))
		k, err = l.conn.Write(b[n:min(len(b), n+chunk)])
		n += k
	}
	return n, err
}

// send writes one frame, given in two parts. A small one is one write.
func (l *leg) send(head, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = binary.BigEndian.AppendUint32(l.out[:0], uint32(len(head)+len(payload)))
	for _, part := range [][]byte{head, payload} {
		if len(l.out)+len(part) <= oneWrite {
			l.out = append(l.out, part...)
			continue
		}
		if _, err := l.Write(l.out); err != nil {
			return err
		}
		l.out = l.out[:0]
		if _, err := l.Write(part); err != nil {
			return err
		}
	}
	if len(l.out) == 0 {
		return nil
	}
	_, err := l.Write(l.out)
	return err
}

// tick tells the peer that we are there, unless a frame is on its way and
// tells it already.
func (l *leg) tick() error {
	if !l.mu.TryLock() {
		return nil
	}
	defer l.mu.Unlock()
	return wire.WriteFrame(l, nil)
}

// link is guest and host connected: two legs and what passes between them.
type link struct {
	m           *member
	host, guest *leg
	judge       *judge.Judge // guarded by the member's record

	once   sync.Once
	reason string
	ended  chan struct{} // closed when the legs are
	done   chan struct{} // closed when nothing of the link is left
}

func (m *member) newLink(host net.Conn, hostID wire.Identity, guest net.Conn, guestID wire.Identity) *link {
	silence := m.s.cfg.Tick
	return &link{
		m: m, host: newLeg(host, hostID, silence), guest: newLeg(guest, guestID, silence),
		ended: make(chan struct{}), done: make(chan struct{}),
	}
}

// end closes both legs; the first reason is kept.
func (l *link) end(reason string) {
	l.once.Do(func() {
		l.reason = reason
		l.host.conn.Close()
		l.guest.conn.Close()
		close(l.ended)
	})
}

// carry makes l the member's link and carries frames until it ends.
func (m *member) carry(l *link) {
	defer close(l.done)
	defer context.AfterFunc(m.ctx, func() { l.end("member removed") })()
	for old := m.swap(nil, l); old != nil; old = m.swap(nil, l) {
		old.end("replaced by a newer link")
		<-old.done
	}
	if err := l.open(); err != nil {
		l.end(err.Error())
		m.swap(l, nil)
		m.fail(err)
		return
	}
	m.tell("up", "")
	m.s.cfg.Log.Info("link up", "app", m.name, "node", l.guest.id.Name)
	l.run()
	m.swap(l, nil)
	m.tell("down", l.reason)
	m.s.cfg.Log.Info("link down", "app", m.name, "node", l.guest.id.Name, "reason", l.reason)
}

// swap replaces the link was by now and returns nil, or returns the link that
// stands there instead.
func (m *member) swap(was, now *link) *link {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.link != was {
		return m.link
	}
	m.link, m.since = now, time.Now()
	if now != nil {
		m.linkErr = ""
	}
	return nil
}

// closeLink ends the link, if there is one, and waits until it is gone.
func (m *member) closeLink(reason string) {
	m.mu.Lock()
	l := m.link
	m.mu.Unlock()
	if l != nil {
		l.end(reason)
		<-l.done
	}
}

// noLink waits a moment for a link to be gone: whoever dials again has closed
// the old connection, the news of it may just be on its way.
func (m *member) noLink(ctx context.Context) bool {
	m.mu.Lock()
	l := m.link
	m.mu.Unlock()
	if l == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, lingers)
	defer cancel()
	select {
	case <-l.done:
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *member) isHeld() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

// run carries frames both ways until either leg ends, then ends the other.
func (l *link) run() {
	var wg sync.WaitGroup
	pump := func(dir policy.Direction, from, to *leg, who string) {
		wg.Go(func() {
			reason := who + " session ended by a defect"
			defer func() { l.end(reason) }()
			defer l.m.s.survive(l.m.name + " " + who)
			reason = why(who, l.pump(dir, from, to))
		})
	}
	pump(policy.GuestToHost, l.guest, l.host, "guest")
	pump(policy.HostToGuest, l.host, l.guest, "host VM")
	wg.Go(l.tick)
	wg.Wait()
}

// pump carries the frames of one direction.
func (l *link) pump(dir policy.Direction, from, to *leg) error {
	small := make([]byte, 0, 4<<10)
	for {
		buf, err := l.room(from, small)
		if err != nil {
			return err
		}
		frame, err := wire.ReadFrame(from.in, buf, wire.DefaultMaxFrame)
		if err != nil {
			return err
		}
		if len(frame) > 0 { // a tick ends here, each leg has its own
			if err := l.pass(dir, frame, from, to); err != nil {
				return err
			}
		}
		if cap(frame) <= keepBuffer {
			small = frame
		} else {
			l.m.s.large.Put(&frame)
		}
	}
}

// room is a buffer for the next frame of a leg. Buffers of large frames are
// shared by all links and given back to the system when nobody needs them; an
// announced size gets one that is there already, never a new one.
func (l *link) room(from *leg, small []byte) ([]byte, error) {
	head, err := from.in.Peek(4)
	if err != nil {
		if len(head) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if binary.BigEndian.Uint32(head) > keepBuffer {
		if b, ok := l.m.s.large.Get().(*[]byte); ok {
			return *b, nil
		}
	}
	return small, nil
}

// tick sends ticks on both legs until the link ends.
func (l *link) tick() {
	t := time.NewTicker(l.m.s.cfg.Tick / 4)
	defer t.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-t.C:
		}
		for _, leg := range []*leg{l.host, l.guest} {
			if err := leg.tick(); err != nil {
				l.end(why("tick", err))
				return
			}
		}
	}
}

// writeError is a failure of the leg that a frame went to.
type writeError struct{ err error }

func (e writeError) Error() string { return "other side: " + e.err.Error() }
func (e writeError) Unwrap() error { return e.err }

// why is the end of a pump in words.
func why(who string, err error) string {
	var w writeError
	switch {
	case errors.As(err, &w) && errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("other side of %s took nothing for %v", who, stallAfter)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return who + " was silent for too long"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return who + " closed the connection"
	}
	return fmt.Sprintf("%s: %v", who, err)
}
