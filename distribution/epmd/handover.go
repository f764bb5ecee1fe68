package epmd

import (
	"errors"
	"net"
)

// holder is a registration with the connection that it lasts as long as; nil
// while its answer is on its way.
type holder struct {
	reg  Registration
	conn net.Conn
}

// Holding is what a View holds, so that another one can go on with it.
type Holding struct {
	Names    []Registration
	Conns    []net.Conn // of Names, in order; they stay the View's
	Creation uint32     // handed out last
}

// Holding lists the names that the guest holds, for a View that takes over.
func (v *View) Holding() Holding {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := Holding{Creation: v.creation}
	for _, h := range v.held {
		if h.conn != nil {
			all.Names, all.Conns = append(all.Names, h.reg), append(all.Conns, h.conn)
		}
	}
	return all
}

// Resume holds what another View held, before Serve. Its names are not
// reported as come, but their end is. The connections are the View's from now
// on.
func (v *View) Resume(all Holding) error {
	if len(all.Names) != len(all.Conns) || len(all.Names) > viewNames {
		return errors.New("go on with a port mapper view: its names and connections are not alike")
	}
	v.mu.Lock()
	v.creation, v.held = all.Creation, make(map[string]holder)
	for i, reg := range all.Names {
		v.held[reg.Name] = holder{reg, all.Conns[i]}
	}
	v.mu.Unlock()
	for i, reg := range all.Names {
		if !v.enter(all.Conns[i]) {
			return errors.New("go on with a port mapper view: it has too many connections")
		}
		go v.goOn(all.Conns[i], reg)
	}
	return nil
}

// goOn waits for the end of a registration that was granted by another View.
func (v *View) goOn(conn net.Conn, reg Registration) {
	defer v.leave(conn)
	waitEnd(conn)
	v.release(reg, true)
}

// Resume is a name that another process holds at a port mapper until now, by
// this connection, which is the Lease's from now on.
func Resume(r Registration, creation uint32, conn net.Conn) *Lease {
	l := &Lease{Registration: r, Creation: creation, conn: conn, done: make(chan struct{})}
	go l.watch()
	return l
}

// Conn is the connection that the name lasts as long as, for handing it to
// another process. It stays the Lease's.
func (l *Lease) Conn() net.Conn { return l.conn }
