package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/gateway/judge"
)

// errStays ends a gateway whose elder goes on.
var errStays = errors.New("the older gateway goes on")

// Inherit takes over all that another gateway serves, which is asked for it at
// the same time and tells it over conn. Its links, names and sockets are then
// this Server's; nodes at their ends do not notice. When the other one keeps
// them after all it is an error, and nothing here was touched.
func (s *Server) Inherit(conn *net.UnixConn) error {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * handOverIn))
	from := courier{conn}
	var all estate
	err := all.read(s, from)
	if err == nil {
		err = from.send(parcel{Kind: parcelReady})
	}
	if err == nil {
		err = awaitGo(from)
	}
	if err != nil {
		all.drop()
		return fmt.Errorf("take over from the older gateway: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range all.heirs {
		s.members[h.m.name] = h.m
		h.start()
	}
	s.cfg.Log.Info("members taken over", "members", len(all.heirs))
	return nil
}

// awaitGo waits for the word, without which everything is the elder's still.
func awaitGo(from courier) error {
	p, _, err := from.receive(parcelGo, parcelStay)
	if err == nil && p.Kind == parcelStay {
		return errStays
	}
	return err
}

// estate is what a gateway is told by its elder, in order.
type estate struct{ heirs []*heir }

// read reads everything, and makes everything that can fail.
func (e *estate) read(s *Server, from courier) error {
	for {
		p, files, err := from.receive(parcelRecord, parcelMember, parcelEnd)
		switch {
		case err != nil:
			return err
		case p.Kind == parcelEnd:
			return nil
		case p.Record != nil:
			err = s.inheritRecord(*p.Record)
		case p.Member != nil:
			err = e.add(s, *p.Member, &bundle{files: files})
		}
		if err != nil {
			return err
		}
	}
}

func (s *Server) inheritRecord(h handedRecord) error {
	r := &record{said: speech{h.Said, h.Lost}}
	if err := json.Unmarshal(h.Life, &r.life); err != nil {
		return fmt.Errorf("read what is known of %s: %w", h.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[h.Name] = r
	return nil
}

func (e *estate) add(s *Server, h handedMember, b *bundle) error {
	s.mu.Lock()
	kept := s.recordOf(h.Spec.Name, nil)
	s.mu.Unlock()
	r := &heir{m: makeMember(s, h.Spec, kept), was: h}
	e.heirs = append(e.heirs, r)
	if err := r.unpack(b); err != nil {
		return fmt.Errorf("member %s: %w", h.Spec.Name, err)
	}
	return nil
}

// drop gives up everything: it stays the elder's.
func (e *estate) drop() {
	for _, h := range e.heirs {
		for _, c := range h.open {
			c.Close()
		}
	}
}

// heir is a member that was another gateway's, not yet started.
type heir struct {
	m        *member
	was      handedMember
	at       stands
	forwards []net.Listener
	view     *epmd.View
	names    epmd.Holding
	lease    *epmd.Lease
	leaseOf  net.Conn
	link     *link
	open     []io.Closer
}

// unpack makes listeners and connections of the passed sockets, and the link's
// judge.
func (h *heir) unpack(b *bundle) error {
	defer b.close()
	listener := func() net.Listener { return keep(h, b.listener()) }
	conn := func() net.Conn { return keep(h, b.conn()) }
	h.at.epmd, h.at.host = listener(), listener()
	for range h.was.Outer {
		h.at.outer = append(h.at.outer, listener())
	}
	for range h.was.Forwards {
		h.forwards = append(h.forwards, listener())
	}
	h.names = epmd.Holding{Names: h.was.Names, Creation: h.was.Creation}
	for range h.was.Names {
		h.names.Conns = append(h.names.Conns, conn())
	}
	if h.was.Lease != nil {
		h.leaseOf = conn()
	}
	var legs [2]net.Conn
	if h.was.Link != nil {
		legs = [2]net.Conn{conn(), conn()}
	}
	if b.err != nil {
		return b.err
	}
	if h.was.Link == nil {
		return nil
	}
	return h.relink(*h.was.Link, legs[0], legs[1])
}

// keep notes what must be closed if nothing comes of it.
func keep[C interface {
	io.Closer
	comparable
}](h *heir, c C) C {
	var none C
	if c != none {
		h.open = append(h.open, c)
	}
	return c
}

// relink makes the link anew around its connections.
func (h *heir) relink(was handedLink, host, guest net.Conn) error {
	l := h.m.newLink(host, was.Host.ID, guest, was.Guest.ID)
	l.host.resume(was.Host)
	l.guest.resume(was.Guest)
	j, err := judge.Restore(l.judgeConfig(), &h.m.record.life, was.Judge)
	if err != nil {
		return err
	}
	l.judge, h.link = j, l
	return nil
}

// start serves the member from where the other gateway left it.
func (h *heir) start() {
	m := h.m
	named := h.restore()
	view := m.newView()
	if err := view.Resume(h.names); err != nil {
		m.report(err)
	}
	if named != nil {
		m.run("name", func() { m.holdName(named, h.lease) })
	}
	if h.link != nil {
		m.run("link of the older gateway", func() { m.carry(h.link) })
	}
	m.serve(view, h.at)
	m.setForwards(h.was.Spec.Forward)
}

// restore gives the member its state. The context is that of the guest's name,
// nil when the guest does not hold it.
func (h *heir) restore() (named context.Context) {
	m, was := h.m, h.was
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held, m.told, m.since, m.linkErr, m.nameErr = was.Held, was.Told, was.Since, was.LinkError, was.NameError
	m.link = h.link
	if was.Lease != nil {
		h.lease = epmd.Resume(was.Lease.Registration, was.Lease.Creation, h.leaseOf)
		m.lease, m.leased = h.lease, true
	}
	for i, port := range was.Forwards {
		f := &forward{m: m, port: port, done: make(chan struct{})}
		m.forwards[port] = f
		f.start(m.s.ice.gate(h.forwards[i]))
	}
	if was.Held {
		named, m.release = context.WithCancel(m.ctx)
	}
	return named
}

// bundle is passed sockets, taken one after the other; the first failure is
// kept.
type bundle struct {
	files []*os.File
	err   error
}

func (b *bundle) next() *os.File {
	if len(b.files) == 0 {
		b.err = errors.Join(b.err, errors.New("a socket is missing"))
		return nil
	}
	f := b.files[0]
	b.files = b.files[1:]
	return f
}

func (b *bundle) listener() (ln net.Listener) {
	return taken(b, net.FileListener)
}

func (b *bundle) conn() net.Conn {
	return taken(b, net.FileConn)
}

func taken[S any](b *bundle, from func(*os.File) (S, error)) (s S) {
	f := b.next()
	if f == nil {
		return s
	}
	defer f.Close()
	s, err := from(f)
	if err != nil {
		b.err = errors.Join(b.err, fmt.Errorf("take over a socket: %w", err))
	}
	return s
}

func (b *bundle) close() {
	for _, f := range b.files {
		f.Close()
	}
}

// resume goes on where the other gateway's leg stopped.
func (l *leg) resume(was handedLeg) {
	l.out = was.Unsent
	if len(was.Unread) > 0 {
		l.in = readerAfter(was.Unread, patient{l})
	}
}
