package gateway

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"

	"beamsandbox/distribution/wire"

	"github.com/google/go-cmp/cmp"
)

// written is a connection that keeps what is written to it, write by write.
type written struct {
	net.Conn
	writes    [][]byte
	deadlines int
	err       error
}

func (w *written) Write(b []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.writes = append(w.writes, bytes.Clone(b))
	return len(b), nil
}

func (w *written) SetDeadline(time.Time) error      { return nil }
func (w *written) SetWriteDeadline(time.Time) error { w.deadlines++; return nil }

func TestFramesLeaveTogetherAndInOrder(t *testing.T) {
	w := &written{}
	l := newLeg(w, wire.Identity{}, time.Minute)
	large := bytes.Repeat([]byte("L"), 3*gathered)
	steps := []struct {
		what string
		do   func() error
		sent int // writes so far
	}{
		{"a small frame waits", func() error { return l.send([]byte("ab"), []byte("c")) }, 0},
		{"so does the next", func() error { return l.send([]byte("d"), nil) }, 0},
		{"they are written at once", l.flush, 1},
		{"nothing is written twice", l.flush, 1},
		{"a small frame waits again", func() error { return l.send([]byte("e"), nil) }, 1},
		{"a large one takes it along", func() error { return l.send([]byte("fg"), large) }, 3},
		{"a tick waits for nobody", l.tick, 4},
	}
	for _, s := range steps {
		if err := s.do(); err != nil || len(w.writes) != s.sent {
			t.Fatalf("%s: %d writes, want %d, %v", s.what, len(w.writes), s.sent, err)
		}
	}
	all := bytes.NewReader(bytes.Join(w.writes, nil))
	for _, want := range []string{"abc", "d", "e", "fg" + string(large), ""} {
		got, err := wire.ReadFrame(all, nil, 0)
		if err != nil || string(got) != want {
			t.Errorf("frame of %d bytes, want %d, %v", len(got), len(want), err)
		}
	}
	if all.Len() != 0 || w.deadlines != 1 {
		t.Errorf("%d bytes are left, %d deadlines were set within a moment", all.Len(), w.deadlines)
	}
}

// TestNothingFollowsHalfAFrame: after a write that failed nobody knows how much
// of a frame arrived.
func TestNothingFollowsHalfAFrame(t *testing.T) {
	w := &written{err: errors.New("stalled")}
	l := newLeg(w, wire.Identity{}, time.Minute)
	first := l.tick()
	w.err = nil
	for name, do := range map[string]func() error{
		"send": func() error { return l.send(make([]byte, 2*gathered), nil) }, "flush": l.flush, "tick": l.tick,
	} {
		if err := do(); !errors.Is(err, first) {
			t.Errorf("%s after a failed write: %v", name, err)
		}
	}
	if d := cmp.Diff(0, len(w.writes)); d != "" {
		t.Errorf("writes: %s", d)
	}
}

// TestGuestThatFallsBehind: what counts is how long the host VM was held up, not
// how much was sent.
func TestGuestThatFallsBehind(t *testing.T) {
	for name, tc := range map[string]struct {
		takes time.Duration // for each write
		bytes int64
		rests time.Duration // between writes
		late  int           // the write that is too much, 0: none
	}{
		"takes all at once":          {time.Microsecond, 64 << 10, 0, 0},
		"takes a megabyte a second":  {time.Second, 1 << 20, 0, 0},
		"takes nothing":              {time.Second, 0, 0, 6},
		"trickles":                   {time.Second, 30 << 10, 0, 6},
		"rests half the time":        {time.Second, 30 << 10, time.Second, 6},
		"holds up a tenth":           {time.Second, 0, 10 * time.Second, 0},
		"takes what it is sent late": {4 * time.Second, 4 << 20, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := &leg{guest: true, wrote: time.Unix(0, 0)}
			now := l.wrote
			for i := 1; i <= 1000; i++ {
				began := now.Add(tc.rests)
				now = began.Add(tc.takes)
				if l.fellBehind(began, now, tc.bytes) {
					if i != tc.late {
						t.Errorf("too slow at write %d, want %d", i, tc.late)
					}
					return
				}
			}
			if tc.late != 0 {
				t.Error("it may go on for ever")
			}
		})
	}
}
