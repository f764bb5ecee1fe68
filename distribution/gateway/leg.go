package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"beamsandbox/distribution/wire"
)

const (
	// hostPatience is how long a host VM may take no byte before its link ends.
	hostPatience = 30 * time.Second
	// guestPatience is how long a guest may hold up the host VM: processes that
	// send to a node are suspended while it takes nothing. What it takes at
	// leastPace holds up nobody, and time in which it does not hold up anybody
	// makes good a tenth of itself.
	guestPatience = 5 * time.Second
	leastPace     = 1 << 20 // bytes a second
	// chunk is how much is written under one deadline, in bytes.
	chunk = 256 << 10
	// gathered is how many bytes of frames wait to be written together.
	gathered = 16 << 10
	// slack is the part of a deadline that may pass until it is set anew:
	// setting one costs as much as judging a small frame.
	slack = 8
	// finishIn is how long a frame under way may take to arrive once the link is
	// to rest.
	finishIn = 2 * time.Second
)

// errSlow ends a link whose guest takes what it is sent too slowly.
var errSlow = fmt.Errorf("guest took less than %d kB a second of what it was sent, for %v in all", leastPace>>10, guestPatience)

// errFrozen ends a pump between two frames, without ending its link.
var errFrozen = errors.New("the link rests")

// leg is one of the two connections of a link.
type leg struct {
	conn    net.Conn
	id      wire.Identity
	in      *bufio.Reader
	silence time.Duration
	guest   bool      // whose end it is
	heard   time.Time // when the reader's deadline was set
	idle    bool      // the reader waits for a frame to begin

	frozen atomic.Bool
	finish time.Time // until when a frame under way may arrive, once frozen

	mu     sync.Mutex    // whole frames
	out    []byte        // frames, or the beginning of one, that wait to be written
	vector net.Buffers   // what is being written
	parts  [2][]byte     // its memory
	spoke  time.Time     // when the writer's deadline was set
	wrote  time.Time     // when the last write ended
	behind time.Duration // how long a guest holds up the host VM
	err    error         // the write that failed: nothing can follow half a frame
}

func newLeg(conn net.Conn, id wire.Identity, silence time.Duration) *leg {
	_ = conn.SetDeadline(time.Time{})
	l := &leg{conn: conn, id: id, silence: silence}
	l.in = readerAfter(nil, patient{l})
	return l
}

// readerSize is how much of a leg is read ahead, in bytes.
const readerSize = 16 << 10

// readerAfter reads what was read before, at most readerSize bytes, first.
func readerAfter(before []byte, r io.Reader) *bufio.Reader {
	if len(before) == 0 {
		return bufio.NewReaderSize(r, readerSize)
	}
	b := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(before), r), readerSize)
	_, _ = b.Peek(len(before)) // so that all of it can be handed on again
	return b
}

// ready says whether the next frame is here as a whole.
func (l *leg) ready() bool {
	n := l.in.Buffered()
	if n < 4 {
		return false
	}
	head, _ := l.in.Peek(4)
	return uint64(n-4) >= uint64(binary.BigEndian.Uint32(head))
}

// next waits for the next frame and returns its announced size.
func (l *leg) next() (int, error) {
	if l.frozen.Load() {
		return 0, errFrozen
	}
	l.idle = true
	head, err := l.in.Peek(4)
	l.idle = false
	if err != nil {
		if len(head) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	return int(binary.BigEndian.Uint32(head)), nil
}

// patient reads from a leg as long as bytes keep coming: a node that is alive
// sends at least a tick four times in a net_ticktime.
type patient struct{ l *leg }

func (p patient) Read(b []byte) (int, error) {
	l := p.l
	for {
		if now := time.Now(); now.Sub(l.heard) > l.silence/slack {
			l.heard = now
			_ = l.conn.SetReadDeadline(now.Add(l.silence + l.silence/slack))
		}
		if l.frozen.Load() { // asked after the deadline was set: it may have been the later one
			if l.idle {
				return 0, errFrozen
			}
			_ = l.conn.SetReadDeadline(l.finish)
		}
		n, err := l.conn.Read(b)
		if n > 0 || !l.interrupted(err) || !l.idle && time.Now().After(l.finish) {
			return n, err
		}
	}
}

// interrupted says whether a read or write ended because the link is to rest.
func (l *leg) interrupted(err error) bool {
	return l.frozen.Load() && errors.Is(err, os.ErrDeadlineExceeded)
}

// freeze makes the reader stop before the next frame, and the writer keep what
// it cannot write at once.
func (l *leg) freeze() {
	l.finish = time.Now().Add(finishIn)
	l.frozen.Store(true)
	_ = l.conn.SetDeadline(longAgo)
}

// thaw lets both go on. Nobody reads or writes meanwhile.
func (l *leg) thaw() {
	l.frozen.Store(false)
	l.heard, l.spoke = time.Time{}, time.Time{}
	_ = l.conn.SetDeadline(time.Time{})
}

// send takes one frame, given in two parts. A small one waits for flush.
func (l *leg) send(head, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = binary.BigEndian.AppendUint32(l.out, uint32(len(head)+len(payload)))
	for _, part := range [2][]byte{head, payload} {
		if len(l.out)+len(part) <= gathered {
			l.out = append(l.out, part...)
		} else if err := l.write(part); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what waits.
func (l *leg) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.out) == 0 {
		return l.err
	}
	return l.write(nil)
}

// tryFlush writes what waits unless somebody writes already, and takes what
// waits along; or will, since it is more than would have been left to wait.
func (l *leg) tryFlush() error {
	if !l.mu.TryLock() {
		return nil
	}
	defer l.mu.Unlock()
	if len(l.out) == 0 || len(l.out) > gathered {
		return l.err
	}
	return l.write(nil)
}

// tick tells the peer that we are there, unless a frame is on its way and
// tells it already.
func (l *leg) tick() error {
	if !l.mu.TryLock() {
		return nil
	}
	defer l.mu.Unlock()
	return l.write([]byte{0, 0, 0, 0})
}

// write writes what waits, and b. Each chunk has a deadline of its own, so that
// a slow peer may take its time and a stuck one may not. l.mu is held.
func (l *leg) write(b []byte) error {
	for first := true; l.err == nil && (first || len(b) > 0); first = false {
		n := min(len(b), chunk)
		began := time.Now()
		if patience := l.patience(); began.Sub(l.spoke) > patience/slack {
			l.spoke = began
			_ = l.conn.SetWriteDeadline(began.Add(patience + patience/slack))
		}
		if l.frozen.Load() {
			l.out = append(l.out, b...)
			return nil
		}
		l.parts = [2][]byte{l.out, b[:n]}
		l.vector = l.parts[:]
		if len(l.out) == 0 {
			l.vector = l.parts[1:]
		} else if n == 0 {
			l.vector = l.parts[:1]
		}
		sent, err := l.vector.WriteTo(l.conn)
		if l.interrupted(err) {
			l.out = slices.Concat(append(slices.Clone(l.vector), b[n:])...)
			return nil
		}
		if l.err = err; l.guest && (errors.Is(err, os.ErrDeadlineExceeded) || l.fellBehind(began, time.Now(), sent)) {
			l.err = errSlow
		}
		l.out, b = l.out[:0], b[n:]
	}
	return l.err
}

func (l *leg) patience() time.Duration {
	if l.guest {
		return guestPatience
	}
	return hostPatience
}

// fellBehind notes how long a write took that sent n bytes, and says whether
// the guest has held up the host VM for too long. l.mu is held.
func (l *leg) fellBehind(began, ended time.Time, n int64) bool {
	l.behind = max(0, l.behind-began.Sub(l.wrote)/10)
	l.behind = max(0, l.behind+ended.Sub(began)-time.Duration(n)*time.Second/leastPace)
	l.wrote = ended
	return l.behind > guestPatience
}
