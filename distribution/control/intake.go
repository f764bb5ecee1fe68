package control

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"beamsandbox/distribution/wire"
)

const (
	// maxHead is how much of a frame is looked at before it is known whether
	// somebody waits for it, in bytes: a control message that we serve is
	// shorter, names of 1020 bytes in it included.
	maxHead = 8 << 10
	// frameLength is the size of what stands before a frame.
	frameLength = 4
)

// errFlood is wrapped when a peer sends more than Limits allow.
var errFlood = errors.New("the node sends too much in a second")

// intake reads the frames of a connection. Of a large one that nobody waits
// for, only the beginning is ever in memory.
type intake struct {
	r        *bufio.Reader
	limit    int // bytes of one frame
	messages budget
	buf      []byte // of the last frame, for the next one
}

func newIntake(cfg Config, conn net.Conn) *intake {
	// A peer sends something at least every quarter of its tick time, and is
	// held for dead after five quarters, as net_kernel does.
	patient := &patientReader{conn: conn, patience: cfg.TickTime * 5 / 4, bytes: budget{rate: cfg.Limits.Bytes}}
	return &intake{
		r: bufio.NewReaderSize(patient, 2*maxHead), limit: cfg.MaxFrame,
		messages: budget{rate: cfg.Limits.Messages},
	}
}

// next is the next frame that is short or wanted, by its first maxHead bytes.
// It lasts until the next call.
func (in *intake) next(wanted func(head []byte) (bool, error)) ([]byte, error) {
	for {
		length, err := in.r.Peek(frameLength)
		if err != nil {
			return nil, atEnd(len(length), err)
		}
		if !in.messages.spend(1, time.Now()) {
			return nil, fmt.Errorf("%w: more than %d messages", errFlood, in.messages.rate)
		}
		size := int(binary.BigEndian.Uint32(length))
		if size <= maxHead || size > in.limit { // of the latter, ReadFrame says so
			return in.whole()
		}
		head, err := in.r.Peek(frameLength + maxHead)
		if err != nil {
			return nil, atEnd(len(head), err)
		}
		switch want, err := wanted(head[frameLength:]); {
		case err != nil:
			return nil, err
		case want:
			return in.whole()
		}
		if n, err := in.r.Discard(frameLength + size); err != nil {
			return nil, atEnd(n, err)
		}
	}
}

// whole reads the frame that comes next.
func (in *intake) whole() ([]byte, error) {
	if cap(in.buf) > 1<<20 {
		in.buf = nil // one large answer shall not stay in memory
	}
	frame, err := wire.ReadFrame(in.r, in.buf, in.limit)
	if err == nil {
		in.buf = frame
	}
	return frame, err
}

// atEnd tells an end in the middle of a frame from one between two.
func atEnd(read int, err error) error {
	if read > 0 && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readError words why nothing more can be read.
func readError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the node closed the connection or ended")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("the node fell silent, not even ticks came")
	case errors.Is(err, wire.ErrTooLarge):
		return fmt.Errorf("the node sent too much: %w", err)
	}
	return err
}

// patientReader gives every single read of conn its own deadline, so that a
// large frame may take its time as long as bytes come, and counts them.
type patientReader struct {
	conn     net.Conn
	patience time.Duration
	bytes    budget
}

func (p *patientReader) Read(b []byte) (int, error) {
	now := time.Now()
	if err := p.conn.SetReadDeadline(now.Add(p.patience)); err != nil {
		return 0, err
	}
	n, err := p.conn.Read(b)
	if !p.bytes.spend(n, time.Now()) {
		return n, fmt.Errorf("%w: more than %d bytes", errFlood, p.bytes.rate)
	}
	return n, err
}

// budget is a second's worth of something at once, and that much a second; a
// rate of 0 is no bound.
type budget struct {
	rate int
	due  time.Time // when all that was spent would have been due
}

// spend takes n and reports whether there was as much.
func (b *budget) spend(n int, now time.Time) bool {
	if b.rate <= 0 {
		return true
	}
	if b.due.Before(now) {
		b.due = now
	}
	b.due = b.due.Add(time.Duration(n) * time.Second / time.Duration(b.rate))
	return b.due.Sub(now) <= time.Second
}
