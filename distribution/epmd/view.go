package epmd

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// viewConns bounds the connections that a View serves at once, leases
	// included; more are closed unanswered. Hundreds of guests must find
	// descriptors in one process.
	viewConns = 32
	// viewNames bounds the names that a View holds at once, so that lookups are
	// answered whatever a guest holds.
	viewNames = 24
	// viewTimeout bounds one request and its answer.
	viewTimeout = 5 * time.Second
)

// View is the port mapper of one guest. It registers any name that the guest
// asks for, and finds only those names and the given peers: the guest learns
// about no other node. Requests to dump, kill or stop are refused.
//
// Only the pinned name is reported; others (a shell's "rem-…") are held and
// stay without effect. Fields are not changed once Serve runs.
type View struct {
	Pinned string            // the one name that is bridged, without host
	Peers  map[string]uint16 // nodes that the guest may find, and their ports
	// OnRegister and OnUnregister tell that the pinned name came and went,
	// in that order and one at a time; when Serve ends, held names go. They
	// must return quickly and not call the View. Nil means nobody is told.
	OnRegister   func(r Registration, creation uint32)
	OnUnregister func(r Registration)

	mu       sync.Mutex
	held     map[string]holder
	creation uint32
	conns    map[net.Conn]struct{}
	wg       sync.WaitGroup
}

// Serve answers on ln until ctx ends, then closes ln and every connection and
// returns nil; another failure of ln is returned.
func (v *View) Serve(ctx context.Context, ln net.Listener) error {
	defer v.wg.Wait()
	stop := context.AfterFunc(ctx, func() { v.shut(ln) })
	defer stop()
	var coming arrivals
	for {
		conn, err := ln.Accept()
		if full(err) && pause(ctx) {
			continue
		}
		if err != nil {
			v.shut(ln)
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("serve port mapper view at %s: %w", ln.Addr(), err)
		}
		if ctx.Err() != nil || !v.enter(conn) {
			conn.Close()
			continue
		}
		go v.serve(conn, listenPort(ln))
		coming.wait(ctx)
	}
}

// full reports whether the process has no file descriptor left: that passes.
func full(err error) bool { return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) }

// pause waits a moment and reports whether ctx still lasts.
func pause(ctx context.Context) bool {
	select {
	case <-time.After(100 * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

// Held lists the names that the guest holds now.
func (v *View) Held() []Registration {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]Registration, 0, len(v.held))
	for _, h := range v.held {
		all = append(all, h.reg)
	}
	return all
}

// enter counts a connection in, unless there are too many.
func (v *View) enter(conn net.Conn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.conns) >= viewConns {
		return false
	}
	if v.conns == nil {
		v.conns = make(map[net.Conn]struct{})
	}
	v.conns[conn] = struct{}{}
	v.wg.Add(1)
	return true
}

func (v *View) leave(conn net.Conn) {
	conn.Close()
	v.mu.Lock()
	delete(v.conns, conn)
	v.mu.Unlock()
	v.wg.Done()
}

// shut ends every connection; their goroutines then leave by themselves.
func (v *View) shut(ln net.Listener) {
	ln.Close()
	v.mu.Lock()
	defer v.mu.Unlock()
	for conn := range v.conns {
		conn.Close()
	}
}

// serve answers the one request of a connection; a registration then lasts as
// long as the connection does.
func (v *View) serve(conn net.Conn, port uint16) {
	defer v.leave(conn)
	_ = conn.SetDeadline(time.Now().Add(viewTimeout))
	request, err := readRequest(conn)
	if err != nil {
		return
	}
	answer, reg, creation := v.answer(request, port)
	_, err = conn.Write(answer)
	if reg == nil {
		return
	}
	if err == nil {
		_ = conn.SetDeadline(time.Time{})
		v.report(conn, *reg, creation)
		waitEnd(conn)
	}
	v.release(*reg, err == nil)
}

// report tells of a registration, whose connection is known from now on.
func (v *View) report(conn net.Conn, reg Registration, creation uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held[reg.Name] = holder{reg, conn}
	if reg.Name == v.Pinned && v.OnRegister != nil {
		v.OnRegister(reg, creation)
	}
}

// waitEnd waits for the end of a registration's connection. A real node sends
// nothing more, so any byte ends it too.
func waitEnd(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) }

// release frees a name, and reports that when its coming was reported.
func (v *View) release(reg Registration, reported bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.held, reg.Name)
	if reported && reg.Name == v.Pinned && v.OnUnregister != nil {
		v.OnUnregister(reg)
	}
}

// answer is what one request gets. A registration that was granted is
// returned with its creation; the caller releases it.
func (v *View) answer(request []byte, port uint16) (answer []byte, granted *Registration, creation uint32) {
	if len(request) == 0 {
		return nil, nil, 0
	}
	switch request[0] {
	case codeAlive:
		return v.register(request[1:])
	case codePort:
		return v.find(string(request[1:])), nil, 0
	case codeNames:
		return v.names(port), nil, 0
	}
	return nil, nil, 0 // dump, kill, stop and unknown requests: no answer
}

// register grants a name to the guest: 118 0 Creation:32, or for nodes of
// handshake 5 only 121 0 Creation:16. Refusals have result 1.
func (v *View) register(b []byte) ([]byte, *Registration, uint32) {
	reg, err := parseNode(b)
	if err != nil {
		return []byte{codeAliveXResp, 1, 0, 0, 0, 0}, nil, 0
	}
	creation, ok := v.claim(reg)
	if reg.High >= 6 {
		return binary.BigEndian.AppendUint32([]byte{codeAliveXResp, result(ok)}, creation), granted(reg, ok), creation
	}
	creation = creation%3 + 1 // what 16 bits carried before OTP 23
	return binary.BigEndian.AppendUint16([]byte{codeAliveResp, result(ok)}, uint16(creation)), granted(reg, ok), creation
}

// claim holds a name unless it is held, or is that of a peer.
func (v *View) claim(reg Registration) (creation uint32, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, taken := v.held[reg.Name]
	_, peer := v.Peers[reg.Name]
	if taken || peer || len(v.held) >= viewNames {
		return 0, false
	}
	if v.held == nil {
		v.held = make(map[string]holder)
	}
	v.held[reg.Name] = holder{reg: reg}
	return v.nextCreation(), true
}

// nextCreation hands out numbers that differ between incarnations, starting
// anywhere: a restarted gateway must not repeat itself. Below 4 they would be
// taken for those of old nodes.
func (v *View) nextCreation() uint32 {
	if v.creation == 0 {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails, by its contract
		v.creation = binary.BigEndian.Uint32(b[:])
	}
	v.creation = max(v.creation+1, 4)
	return v.creation
}

// find answers a lookup of the guest's own names and its peers.
func (v *View) find(name string) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	h, ok := v.held[name]
	reg := h.reg
	if !ok {
		port, known := v.Peers[name]
		if !known {
			return []byte{codePortResp, 1}
		}
		reg = Registration{Name: name, Port: port}.withDefaults()
	}
	return appendNode([]byte{codePortResp, 0}, reg)
}

// names lists what find would find.
func (v *View) names(port uint16) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	answer := binary.BigEndian.AppendUint32(nil, uint32(port))
	for name, h := range v.held {
		answer = fmt.Appendf(answer, "name %s at port %d\n", name, h.reg.Port)
	}
	for name, at := range v.Peers {
		answer = fmt.Appendf(answer, "name %s at port %d\n", name, at)
	}
	return answer
}

// readRequest reads one request behind its two-byte length.
func readRequest(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(head[:])
	if n == 0 || n > maxRequest {
		return nil, fmt.Errorf("read request: size of %d bytes is not between 1 and %d", n, maxRequest)
	}
	request := make([]byte, n)
	_, err := io.ReadFull(r, request)
	return request, err
}

func listenPort(ln net.Listener) uint16 {
	if a, ok := ln.Addr().(*net.TCPAddr); ok {
		return uint16(a.Port)
	}
	return Port
}

func result(ok bool) byte {
	if ok {
		return 0
	}
	return 1
}

func granted(reg Registration, ok bool) *Registration {
	if !ok {
		return nil
	}
	return &reg
}
