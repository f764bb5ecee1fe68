package gateway

import (
	"context"
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
	// keepBuffer is how large a frame buffer may be to stay with its link, in
	// bytes.
	keepBuffer = 64 << 10
	// lingers is how long a link whose host leg ended may take to be noticed
	// before a new one is refused.
	lingers = 2 * time.Second
)

// link is guest and host connected: two legs and what passes between them.
type link struct {
	m           *member
	host, guest *leg
	judge       *judge.Judge // guarded by the member's record

	once   sync.Once
	slowly sync.Once // slow was called
	reason string
	ended  chan struct{} // closed when the legs are
	done   chan struct{} // closed when nothing of the link is left

	mu    sync.Mutex
	pause chan struct{} // closed while the link is to rest
	still chan struct{} // closed when it does
}

func (m *member) newLink(host net.Conn, hostID wire.Identity, guest net.Conn, guestID wire.Identity) *link {
	silence := m.s.cfg.Tick
	l := &link{
		m: m, host: newLeg(host, hostID, silence), guest: newLeg(guest, guestID, silence),
		ended: make(chan struct{}), done: make(chan struct{}), pause: make(chan struct{}), still: make(chan struct{}),
	}
	l.guest.guest = true
	return l
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

// begin makes l the member's link, or ends it.
func (m *member) begin(l *link) error {
	for old := m.swap(nil, l); old != nil; old = m.swap(nil, l) {
		old.end("replaced by a newer link")
		<-old.done
	}
	if err := l.open(); err != nil {
		l.end(err.Error())
		m.swap(l, nil)
		close(l.done)
		return err
	}
	m.tell("up", "")
	m.s.cfg.Log.Info("link up", "app", m.name, "node", l.guest.id.Name)
	return nil
}

// carry carries the frames of the member's link until it ends.
func (m *member) carry(l *link) {
	defer close(l.done)
	defer context.AfterFunc(m.ctx, func() { l.end("member removed") })()
	for l.run(); l.rests(); l.run() {
		if m.s.ice.rest() {
			l.end("another gateway goes on with it")
			m.swap(l, nil)
			return
		}
		l.thaw()
	}
	m.swap(l, nil)
	m.tell("down", l.reason)
	m.quarantine()
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

// run carries frames both ways until either leg ends, then ends the other; or
// until the link is to rest, which it then does as it is.
func (l *link) run() {
	var wg sync.WaitGroup
	pump := func(dir policy.Direction, from, to *leg, who string) {
		wg.Go(func() {
			reason := who + " session ended by a defect"
			defer func() {
				if reason != "" {
					l.end(reason)
				}
			}()
			defer l.m.s.survive(l.m.name + " " + who)
			err := l.pump(dir, from, to)
			switch reason = why(who, err); {
			case errors.Is(err, errFrozen):
				reason = ""
			case errors.Is(err, errSlow):
				l.slowly.Do(l.slow)
			}
		})
	}
	pump(policy.GuestToHost, l.guest, l.host, "guest")
	pump(policy.HostToGuest, l.host, l.guest, "host VM")
	wg.Go(l.tick)
	wg.Wait()
}

// freeze asks the link to rest. Rests tells when it does: still is closed.
func (l *link) freeze() (still <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.pause)
	l.host.freeze()
	l.guest.freeze()
	return l.still
}

// rests says whether the link was asked to rest and has not ended.
func (l *link) rests() bool {
	select {
	case <-l.ended:
		return false
	case <-l.paused():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.still)
	return true
}

// thaw undoes freeze once the link rests.
func (l *link) thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pause, l.still = make(chan struct{}), make(chan struct{})
	l.host.thaw()
	l.guest.thaw()
}

func (l *link) paused() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pause
}

// pump carries the frames of one direction. What is written waits until the
// reader would have to wait itself: frames that came together leave together.
func (l *link) pump(dir policy.Direction, from, to *leg) error {
	defer func() { _ = to.tryFlush() }() // what was judged before the end
	small := make([]byte, 0, 4<<10)
	for {
		if !from.ready() {
			if err := l.flush(from, to); err != nil {
				return err
			}
		}
		size, err := from.next()
		if err != nil {
			return err
		}
		var wait time.Duration
		if size > keepBuffer {
			wait, err = l.large(dir, size, from, to)
		} else {
			small, wait, err = l.small(dir, small, from, to)
		}
		if err == nil && wait > 0 {
			err = l.hold(wait, from, to)
		}
		if err != nil {
			return err
		}
	}
}

// small carries one frame that is read into buf; what became of buf is returned.
func (l *link) small(dir policy.Direction, buf []byte, from, to *leg) ([]byte, time.Duration, error) {
	frame, err := wire.ReadFrame(from.in, buf, keepBuffer)
	if err != nil || len(frame) == 0 { // a tick ends here, each leg has its own
		return buf, 0, err
	}
	v := l.verdict(dir, frame)
	if err = l.forward(v, to); err == nil {
		err = l.reply(v, from)
	}
	return frame, v.Wait, err
}

// large carries one frame of size bytes that is read into memory which all
// links share.
func (l *link) large(dir policy.Direction, size int, from, to *leg) (wait time.Duration, err error) {
	if err := l.admit(dir, size); err != nil {
		return 0, err
	}
	v, err := l.largeThrough(dir, size, from, to)
	if err == nil {
		err = l.reply(v, from) // without the memory: who sent it may be slow to listen
	}
	return v.Wait, err
}

// largeThrough reads one large frame, has it judged and forwards it.
func (l *link) largeThrough(dir policy.Direction, size int, from, to *leg) (judge.Verdict, error) {
	c, err := l.m.s.larder.share(l, size)
	if err != nil {
		return judge.Verdict{}, err
	}
	defer c.end()
	_, _ = from.in.Discard(4) // next has seen them
	c.awaits(dir == policy.GuestToHost)
	frame, err := c.read(from.in)
	if err != nil {
		return judge.Verdict{}, err
	}
	c.awaits(dir == policy.HostToGuest)
	v := l.verdict(dir, frame)
	return v, l.forward(v, to)
}

// flush writes what a pump has gathered: what it forwards, and what it answers
// unless the other pump does.
func (l *link) flush(from, to *leg) error {
	if err := to.flush(); err != nil {
		return writeError{err}
	}
	return from.tryFlush()
}

// tick sends ticks on both legs until the link ends or rests.
func (l *link) tick() {
	t := time.NewTicker(l.m.s.cfg.Tick / 4)
	defer t.Stop()
	paused := l.paused()
	for {
		select {
		case <-l.ended:
			return
		case <-paused:
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
	case errors.Is(err, errSlow):
		return errSlow.Error()
	case errors.As(err, &w) && errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("other side of %s took nothing for %v", who, hostPatience)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return who + " was silent for too long"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return who + " closed the connection"
	}
	return fmt.Sprintf("%s: %v", who, err)
}
