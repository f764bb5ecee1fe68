package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"beamsandbox/distribution/gateway/protocol"
)

const (
	// handOverIn bounds a hand-over, frozen links included: nodes must not miss
	// a tick.
	handOverIn = 10 * time.Second
	// drainFor is how long connections through forwarded ports go on in a
	// gateway that was replaced.
	drainFor = time.Minute
)

// answerHandOver gives every member to the gateway at the other end of the
// passed socket and then ends; or, when that does not take them, goes on as if
// nothing had been.
func (s *Server) answerHandOver(files []*os.File) protocol.Response {
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if len(files) != 1 {
		return failed(fmt.Errorf("hand over: %d sockets are passed, one should be", len(files)))
	}
	conn, err := connOf(net.FileConn(files[0]))
	if err != nil {
		return failed(fmt.Errorf("hand over: take over the passed socket: %w", err))
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(handOverIn))
	if err := s.handOver(courier{conn}); err != nil {
		s.cfg.Log.Warn("members are not handed over", "err", err)
		return failed(fmt.Errorf("hand over: %w", err))
	}
	s.cfg.Log.Info("another gateway serves the members")
	return protocol.Response{}
}

// handOver gives every member to another gateway. While it is asked whether it
// takes them, nobody is served and requests wait.
func (s *Server) handOver(to courier) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.movable(); err != nil {
		return err
	}
	until := time.Now().Add(finishIn)
	s.ice.freeze()
	free := s.stopShaking(until)
	defer free()
	s.stopLinks(until)
	err := s.tellAll(to)
	if err == nil {
		err = to.send(parcel{Kind: parcelGo}) // once sent, it is heard, or nobody is there to hear
	}
	if err != nil {
		_ = to.send(parcel{Kind: parcelStay})
		s.ice.melt(false)
		return err
	}
	s.ice.melt(true)
	s.retire()
	s.quit()
	return nil
}

// movable says why links cannot go to another process.
func (s *Server) movable() error {
	var tls []string
	for _, m := range s.members {
		if l := m.current(); l != nil && !(plainTCP(l.host) && plainTCP(l.guest)) {
			tls = append(tls, m.name)
		}
	}
	if len(tls) == 0 {
		return nil
	}
	slices.Sort(tls)
	return fmt.Errorf("links over TLS cannot go to another process: %s", strings.Join(tls, ", "))
}

func plainTCP(l *leg) bool { _, ok := l.conn.(*net.TCPConn); return ok }

// current is the member's link, nil when there is none.
func (m *member) current() *link {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link
}

// stopShaking waits for handshakes under way, and lets no other one begin
// until free is called.
func (s *Server) stopShaking(until time.Time) (free func()) {
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	var taken []chan struct{}
	for _, m := range s.members {
		for i := range legs * maxHandshakes {
			shakes := m.shakes[i%legs]
			select {
			case shakes <- struct{}{}:
				taken = append(taken, shakes)
			case <-late.C:
				late.Reset(0) // nobody else is waited for
			}
		}
	}
	return func() {
		for _, shakes := range taken {
			<-shakes
		}
	}
}

// stopLinks has every link rest. One that cannot, since half a message of it is
// here and the rest does not come, ends.
func (s *Server) stopLinks(until time.Time) {
	var waits []func()
	for _, m := range s.members {
		if l := m.current(); l != nil {
			still := l.freeze()
			waits = append(waits, func() { l.waitStill(still, until.Add(finishIn/2)) })
		}
	}
	for _, wait := range waits {
		wait()
	}
}

func (l *link) waitStill(still <-chan struct{}, until time.Time) {
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case <-still:
	case <-l.ended:
	case <-late.C:
		l.end("half a message was here when another gateway took over")
	}
}

// tellAll tells another gateway all there is and waits until it has understood.
func (s *Server) tellAll(to courier) error {
	for name, r := range s.records {
		p, err := r.parcel(name)
		if err == nil {
			err = to.send(p)
		}
		if err != nil {
			return err
		}
	}
	for _, m := range s.members {
		p, sockets := m.parcel()
		if err := to.send(p, sockets...); err != nil {
			return fmt.Errorf("member %s: %w", m.name, err)
		}
	}
	if err := to.send(parcel{Kind: parcelEnd}); err != nil {
		return err
	}
	_, _, err := to.receive(parcelReady)
	return err
}

// parcel is the record on its way to another gateway.
func (r *record) parcel(name string) (parcel, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	life, err := json.Marshal(&r.life)
	if err != nil {
		return parcel{}, fmt.Errorf("encode what is known of %s: %w", name, err)
	}
	return parcel{Kind: parcelRecord, Record: &handedRecord{name, life, r.said.text, r.said.lost}}, nil
}

// parcel is the member on its way to another gateway, with its sockets. Its
// link rests.
func (m *member) parcel() (parcel, []syscall.Conn) {
	names := m.view.Holding()
	m.mu.Lock()
	defer m.mu.Unlock()
	h := &handedMember{
		Spec: m.wanted, Outer: len(m.stands.outer), Names: names.Names, Creation: names.Creation,
		Held: m.held, Told: m.told, Since: m.since, LinkError: m.linkErr, NameError: m.nameErr,
	}
	sockets := []syscall.Conn{passable(m.stands.epmd), passable(m.stands.host)}
	for _, ln := range m.stands.outer {
		sockets = append(sockets, passable(ln))
	}
	for port, f := range m.forwards {
		if ln := f.listener(); ln != nil {
			h.Forwards, sockets = append(h.Forwards, port), append(sockets, passable(ln))
		}
	}
	for _, conn := range names.Conns {
		sockets = append(sockets, passable(conn))
	}
	if m.lease != nil {
		h.Lease = &handedLease{m.lease.Registration, m.lease.Creation}
		sockets = append(sockets, passable(m.lease.Conn()))
	}
	if l := m.link; l != nil && !l.isOver() {
		h.Link = l.parcel()
		sockets = append(sockets, passable(l.host.conn), passable(l.guest.conn))
	}
	return parcel{Kind: parcelMember, Member: h}, sockets
}

// passable is a socket by what it is passed by; one that is not is found out
// when it is.
func passable(socket any) syscall.Conn {
	if c, ok := socket.(syscall.Conn); ok {
		return c
	}
	return notPassable{}
}

type notPassable struct{}

func (notPassable) SyscallConn() (syscall.RawConn, error) {
	return nil, errors.New("it is no socket of the system")
}

func (l *link) isOver() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// parcel is a link that rests, on its way to another gateway.
func (l *link) parcel() *handedLink {
	l.m.record.mu.Lock()
	defer l.m.record.mu.Unlock()
	return &handedLink{Host: l.host.parcel(), Guest: l.guest.parcel(), Judge: l.judge.State()}
}

func (l *leg) parcel() handedLeg {
	unread, _ := l.in.Peek(l.in.Buffered())
	return handedLeg{ID: l.id, Unread: unread, Unsent: l.out}
}

// retire closes every member without a word to anybody: what was theirs is
// another gateway's. Connections through forwarded ports go on.
func (s *Server) retire() {
	for name, m := range s.members {
		m.mu.Lock()
		for port, f := range m.forwards {
			f.retire()
			s.retired = append(s.retired, f)
			delete(m.forwards, port)
		}
		m.mu.Unlock()
		delete(s.members, name)
		s.leaving.Go(m.close)
	}
}

// drain waits until members that were handed over are closed, and until the
// connections through their forwarded ports have ended, but not for ever.
func (s *Server) drain() {
	s.leaving.Wait()
	late := time.NewTimer(drainFor)
	defer late.Stop()
	for _, f := range s.retired {
		select {
		case <-f.done:
		case <-late.C:
			late.Reset(0)
			f.cancel()
			<-f.done
		}
	}
}
