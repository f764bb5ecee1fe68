package gateway

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"

	"github.com/google/go-cmp/cmp"
)

func TestHostDials(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	masked := wire.DistHdrAtomCache | wire.Fragments | wire.SendSender | wire.BigSeqtraceLabels | wire.AlternateActionSigs | 1<<50
	if id := host.sees; id.Name != "pulse@vm" || id.Creation != 42 || id.Flags&masked != 0 || !id.Flags.Has(wire.Published|wire.Spawn|wire.Mandatory26) {
		t.Errorf("host sees %+v (%v)", id, id.Flags)
	}
	if id := guest.sees; id.Name != "web@vm" || id.Creation != 41 || id.Flags&(masked|wire.Spawn) != 0 || !id.Flags.Has(wire.Mandatory26) {
		t.Errorf("guest sees %+v (%v)", id, id.Flags)
	}
}

func TestGuestDials(t *testing.T) {
	s := newScene(t)
	answer := s.accepted(s.host, everything("web@vm", 41), "cluster's", nil)
	conn := s.dialed(s.spec.Host.Port())
	sees, err := wire.Dial(conn, everything("pulse@vm", 42), app.NewSecret("guest's"), 3)
	host := <-answer
	if err := errors.Join(err, host.err); err != nil {
		t.Fatal(err)
	}
	s.expect("up")
	if sees.Creation != 41 || host.sees.Creation != 42 || host.sees.Name != "pulse@vm" {
		t.Errorf("guest sees %+v, host sees %+v", sees, host.sees)
	}
}

func TestHandshakesThatFail(t *testing.T) {
	type try struct {
		name, cookie string // who dials, and its cookie
		guest        bool   // the guest dials, not the host
		answers      string // the cookie of the node that answers
		want         string // in the dialer's error
		note         string // in the member's
	}
	for name, tc := range map[string]try{
		"host of another name":       {name: "other@vm", cookie: "cluster's", want: "not_allowed", note: "only web@vm is welcome"},
		"host of another cookie":     {name: "web@vm", cookie: "x", answers: "guest's", want: "cookies differ", note: "host VM web@vm: check challenge reply: cookies differ"},
		"host, guest's cookie wrong": {name: "web@vm", cookie: "cluster's", answers: "x", want: "cookies differ", note: "guest pulse@vm: read challenge ack: cookies differ"},
		"guest of another name":      {name: "other@vm", cookie: "guest's", guest: true, want: "not_allowed", note: "only pulse@vm is welcome"},
		"guest poses as host":        {name: "web@vm", cookie: "guest's", guest: true, want: "not_allowed", note: "only pulse@vm is welcome"},
		"guest knows cluster cookie": {name: "pulse@vm", cookie: "cluster's", guest: true, answers: "cluster's", want: "cookies differ", note: "guest pulse@vm: check challenge reply: cookies differ"},
		"guest, host's cookie wrong": {name: "pulse@vm", cookie: "guest's", guest: true, answers: "x", want: "cookies differ", note: "host VM web@vm: read challenge ack: cookies differ"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.boot()
			ln, self, port := s.guest, everything("pulse@vm", 2), s.node().Port
			if tc.guest {
				ln, self, port = s.host, everything("web@vm", 1), s.spec.Host.Port()
			}
			if tc.answers != "" {
				s.accepted(ln, self, tc.answers, nil)
			}
			_, err := wire.Dial(s.dialed(port), everything(tc.name, 5), app.NewSecret(tc.cookie), 1)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("dialer's error is %v, want one with %q", err, tc.want)
			}
			if ev := s.expect("link_error"); !strings.Contains(ev.Detail, tc.note) {
				t.Errorf("event says %q, want %q", ev.Detail, tc.note)
			}
			if n := s.node(); n.Up || !strings.Contains(n.Error, tc.note) {
				t.Errorf("node is %+v", n)
			}
		})
	}
}

// A node of OTP 24 or older, with which no link is made, hears not a word, and
// the log and the event say what it would take.
func TestDialersOfHandshakeVersion5(t *testing.T) {
	for name, tc := range map[string]struct {
		node, want string
		guest      bool
	}{
		"host":  {node: "web@vm", want: "host VM dials: "},
		"guest": {node: "pulse@vm", want: "guest dials: ", guest: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			var log lockedText
			s.server.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
			s.boot()
			port := s.node().Port
			if tc.guest {
				port = s.spec.Host.Port()
			}
			conn := s.dialed(port)
			// 'n' Version:16 Flags:32 Name
			flags := uint32(wire.Mandatory25 & 0xFFFFFFFF)
			old := append(binary.BigEndian.AppendUint32([]byte{'n', 0, 5}, flags), tc.node...)
			if err := wire.WriteHandshake(conn, old); err != nil {
				t.Fatal(err)
			}
			why := tc.want + "parse name: handshake version 5 is not spoken, the node must run OTP 25 or later"
			if ev := s.expect("link_error"); ev.Detail != why {
				t.Errorf("event says %q, want %q", ev.Detail, why)
			}
			if text := log.String(); !strings.Contains(text, `level=WARN msg="link not made" app=pulse err="`+why+`"`) {
				t.Errorf("log says %s", text)
			}
			if answer, err := io.ReadAll(conn); len(answer) > 0 || err != nil {
				t.Errorf("answer is %q, %v", answer, err)
			}
			if n := s.node(); n.Up || n.Error != why {
				t.Errorf("node is %+v", n)
			}
		})
	}
}

// lockedText is a log that is read while it is written.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestHostVMThatIsNotThere(t *testing.T) {
	s := newScene(t)
	s.host.Close()
	_, err := wire.Dial(s.dialed(s.spec.Host.Port()), everything("pulse@vm", 5), app.NewSecret("guest's"), 1)
	if err == nil {
		t.Fatal("guest is linked with nobody")
	}
	if ev := s.expect("link_error"); !strings.Contains(ev.Detail, "dial host VM web@vm") {
		t.Errorf("event says %q", ev.Detail)
	}
}

func TestNobodyAnswersForAGuestThatDoesNotRun(t *testing.T) {
	s := newScene(t)
	if _, err := epmd.Lookup(t.Context(), s.mapper, "pulse"); !errors.Is(err, epmd.ErrNotFound) {
		t.Errorf("lookup before the guest runs: %v", err)
	}
	c := s.dialed(s.node().Port)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("connection before the guest runs: %v", err)
	}
	lease := s.boot()
	if info, err := epmd.Lookup(t.Context(), s.mapper, "pulse"); err != nil || info.Port != s.node().Port {
		t.Errorf("lookup while it runs: %+v, %v", info, err)
	}
	lease.Close()
	s.expect("unregistered")
}

func TestGuestAtAnotherPortIsNotBridged(t *testing.T) {
	s := newScene(t)
	s.register(s.spec.EPMD, epmd.Registration{Name: "pulse", Port: 1})
	if ev := s.expect("link_error"); !strings.Contains(ev.Detail, "inet_dist_listen_min") {
		t.Errorf("event says %q", ev.Detail)
	}
}

func TestStatusIsPassedOn(t *testing.T) {
	for _, tc := range []struct{ answers, want wire.StatusCode }{
		{wire.StatusOK, wire.StatusOK},
		{wire.StatusSimultaneous, wire.StatusSimultaneous},
		{wire.StatusNOK, wire.StatusNOK},
		{wire.StatusNotAllowed, wire.StatusNotAllowed},
		{wire.StatusAlive, wire.StatusOK}, // replaced: who dials has no link
	} {
		t.Run(string(tc.answers), func(t *testing.T) {
			s := newScene(t)
			s.boot()
			s.accepted(s.guest, everything("pulse@vm", 2), "guest's", func(wire.Identity) wire.StatusCode { return tc.answers })
			d := wire.NewDialer(s.dialed(s.node().Port))
			if err := d.SendName(everything("web@vm", 1)); err != nil {
				t.Fatal(err)
			}
			if got, err := d.ReadStatus(); err != nil || got.Code != tc.want {
				t.Errorf("host hears %q, %v, want %q", got.Code, err, tc.want)
			}
		})
	}
}

func TestFramesPassBothWaysAndTicksDoNot(t *testing.T) {
	s := newScene(t)
	s.server.cfg.Tick = 8 * time.Second
	host, guest := s.linked()
	pid := term.Pid{Node: "pulse@vm", ID: 1, Creation: 42}
	small := message(t, term.Tuple{term.Int(wire.OpRegSend), pid, term.Atom(""), term.Atom("sink")}, term.Binary("hello"))
	large := message(t, term.Tuple{term.Int(wire.OpRegSend), pid, term.Atom(""), term.Atom("sink")}, term.Binary(make([]byte, 5_000_000)))
	for _, way := range []struct{ from, to peer }{{guest, host}, {host, guest}} {
		for _, frame := range [][]byte{small, large, small} {
			sent := make(chan error, 1)
			go func() { sent <- wire.WriteFrame(way.from.conn, frame) }()
			want, wantMessage, _ := split(t, frame)
			got, gotMessage, _ := way.to.receive(t)
			if d := cmp.Diff(want, got); d != "" || !term.Equal(wantMessage, gotMessage) {
				t.Errorf("frame changed on its way:\n%s", d)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	}
	// Whoever is silent gets ticks; they come from the gateway.
	for _, p := range []peer{host, guest} {
		p.send(t, nil)
		if frame, err := wire.ReadFrame(p.conn, nil, 0); err != nil || len(frame) != 0 {
			t.Errorf("instead of a tick came %v, %v", frame, err)
		}
	}
}

func split(t *testing.T, frame []byte) (wire.Control, term.Term, error) {
	t.Helper()
	c, payload, err := wire.SplitFrame(frame)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := term.Decode(payload)
	return c, m, err
}

func TestSilentPeerIsGone(t *testing.T) {
	s := newScene(t)
	s.server.cfg.Tick = 4 * time.Second
	host, _ := s.linked()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // the host ticks, the guest does not
		for {
			if wire.WriteFrame(host.conn, nil) != nil {
				return
			}
			select {
			case <-stop:
				return
			default:
				rest(t.Context(), s.server.cfg.Tick/8)
			}
		}
	}()
	if ev := s.expect("down"); ev.Detail != "guest was silent for too long" {
		t.Errorf("event says %q", ev.Detail)
	}
}

func TestGlobalIsCut(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	own := map[string]term.Pid{"guest": {Node: "pulse@vm", ID: 9, Creation: 42}, "host": {Node: "web@vm", ID: 8, Creation: 41}}
	for name, way := range map[string]struct {
		from, to peer
		other    string
	}{"guest": {guest, host, "web@vm"}, "host": {host, guest, "pulse@vm"}} {
		pid := own[name]
		greet := message(t, term.Tuple{term.Int(wire.OpRegSend), pid, term.Atom(""), term.Atom("global_name_server")}, term.Atom("init_connect"))
		ref := term.Ref{Node: pid.Node, Creation: pid.Creation, Len: 2, Words: [5]uint32{1, 2}}
		way.from.send(t, greet)
		way.from.send(t, message(t, term.Tuple{term.Int(wire.OpMonitor), pid, term.Atom("global_name_server"), ref}, nil))
		way.from.send(t, greet)

		c, m, _ := way.from.receive(t)
		want := term.Tuple{term.Atom("$gen_cast"), term.Tuple{term.Atom("in_sync"), term.Atom(way.other), term.Atom("true")}}
		if to, _ := c.ToName(); to != "global_name_server" || !term.Equal(m, want) {
			t.Errorf("%s's greeting is answered with %v %s", name, c, term.Format(m))
		}
		c, m, _ = way.from.receive(t)
		if back, _ := c.Ref(); c.Op != wire.OpPayloadMonitorExit || back != ref || m != term.Atom("noproc") {
			t.Errorf("%s's monitor is answered with %v %s", name, c, term.Format(m))
		}
		// What follows is the first thing the other side hears.
		way.from.send(t, message(t, term.Tuple{term.Int(wire.OpRegSend), pid, term.Atom(""), term.Atom("sink")}, term.Int(1)))
		if c, _, _ := way.to.receive(t); c.Tuple[3] != term.Atom("sink") {
			t.Errorf("%s's message of global passed: %v", name, c)
		}
	}
	if n := s.node(); n.Refused["global"] != 6 {
		t.Errorf("refused: %v", n.Refused)
	}
}

func TestMalformedFramesEndTheLink(t *testing.T) {
	for name, tc := range map[string]struct{ frame, rule string }{
		"not passed through": {"\x83D\x00", "malformed"},
		"garbage":            {"\x70\x83garbage", "malformed"},
		"compressed":         {"\x70\x83P\x00\x00\x00\x01x", "malformed"},
		"unknown op":         {"\x70\x83h\x01a\xc8", "opcode"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			host, guest := s.linked()
			guest.send(t, []byte(tc.frame))
			if ev := s.expect("down"); ev.Detail != "guest: broke rule "+tc.rule {
				t.Errorf("event says %q", ev.Detail)
			}
			for who, p := range map[string]peer{"host": host, "guest": guest} {
				if _, err := io.Copy(io.Discard, p.conn); err != nil && !strings.Contains(err.Error(), "reset") {
					t.Errorf("%s's connection: %v", who, err)
				}
			}
			if n := s.node(); n.Up || n.Refused[tc.rule] != 1 || len(n.Recent) != 1 {
				t.Errorf("node is %+v", n)
			}
		})
	}
}

func TestGuestThatDialsAgainReplacesItsLink(t *testing.T) {
	s := newScene(t)
	host, _ := s.linked()
	answer := s.accepted(s.host, everything("web@vm", 41), "cluster's", nil)
	_, err := wire.Dial(s.dialed(s.spec.Host.Port()), everything("pulse@vm", 43), app.NewSecret("guest's"), 3)
	if err := errors.Join(err, (<-answer).err); err != nil {
		t.Fatal(err)
	}
	if ev := s.expect("down"); ev.Detail != "guest dialed again" {
		t.Errorf("older link ended: %q", ev.Detail)
	}
	s.expect("up")
	if _, err := io.Copy(io.Discard, host.conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("older leg: %v", err)
	}
}
