//go:build integration

package gateway

import (
	"net"
	"testing"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// raw is a guest that speaks the protocol itself, without a BEAM to keep it
// within OTP's forms.
func (s *stage) raw(name string, mode policy.Mode) (*guest, net.Conn) {
	s.t.Helper()
	g := s.member(name)
	g.member.Messages = attackMessages(mode)
	s.set(g.member)
	lease, err := epmd.Register(s.t.Context(), g.member.EPMD, epmd.Registration{Name: name, Port: g.member.Guest.Port()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { lease.Close() })
	c, err := net.Dial("tcp", g.member.Host.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	self := wire.Identity{Name: g.node, Creation: 77, Flags: wire.Mandatory26 | wire.Published | wire.Spawn | wire.SendSender}
	if _, err := wire.Dial(c, self, app.NewSecret(g.member.Cookie), 5); err != nil {
		s.t.Fatal(err)
	}
	return g, c
}

// TestRawAttacks sends what no BEAM would: where nothing is judged the host VM
// is hit, two times by a segmentation fault; where it is judged nothing is.
func TestRawAttacks(t *testing.T) {
	mfa := term.Tuple{term.Atom("application"), term.Atom("set_env"), term.Int(3)}
	pwn := term.List{Elems: []term.Term{term.Atom("kernel"), term.Atom("pwn1"), term.Int(1)}}
	stop := term.Tuple{term.Atom("stop"), term.Atom("stop")}
	for _, tc := range []struct {
		name, rule string
		frame      func(t *testing.T, guest, victim term.Pid) []byte
		kills      bool // the host VM; else it sets kernel's pwn1
	}{
		{"1 spawn", "spawn", func(t *testing.T, guest, _ term.Pid) []byte {
			ref := term.Ref{Node: guest.Node, Creation: guest.Creation, Len: 2, Words: [5]uint32{1, 2}}
			return message(t, term.Tuple{term.Int(wire.OpSpawnRequest), ref, guest, guest, mfa, term.List{}}, pwn)
		}, false},
		{"12 stop", "name", func(t *testing.T, guest, _ term.Pid) []byte {
			return message(t, term.Tuple{term.Int(wire.OpRegSend), guest, term.Atom(""), term.Atom("init")}, stop)
		}, true},
		{"19 exit in the host's own name", "forged", func(t *testing.T, _, victim term.Pid) []byte {
			return message(t, term.Tuple{term.Int(wire.OpExit2), victim, victim, term.Atom("kill")}, nil)
		}, true},
		{"20 malformed token", "trace-token", func(t *testing.T, _, victim term.Pid) []byte {
			return message(t, term.Tuple{term.Int(wire.OpSendTT), term.Atom(""), victim, term.Atom("x")}, term.Atom("hi"))
		}, true},
	} {
		for _, mode := range []policy.Mode{policy.Trusted, policy.Enforce} {
			t.Run(tc.name+"/"+string(mode), func(t *testing.T) {
				s := newStage(t)
				g, conn := s.raw("gwraw", mode)
				pid, _, err := term.Decode([]byte(s.hostPid("init")))
				if err != nil {
					t.Fatal(err)
				}
				self := term.Pid{Node: term.Atom(g.node), ID: 9, Creation: 77}
				if err := wire.WriteFrame(conn, tc.frame(t, self, pid.(term.Pid))); err != nil {
					t.Fatal(err)
				}
				if mode == policy.Trusted {
					s.struck(tc.kills)
					return
				}
				s.eventually("rule "+tc.rule+" counts it", "true", func() string {
					if g.status().Refused[tc.rule] > 0 {
						return "true"
					}
					return "false"
				})
				if got := s.onHost("application:get_env(kernel, pwn1)"); got != "undefined" {
					t.Errorf("the host ran it: %s", got)
				}
			})
		}
	}
}

// struck waits until the host VM has ended, or has run what it was told to.
func (s *stage) struck(killed bool) {
	s.t.Helper()
	if !killed {
		s.eventually("what the host ran", "{ok,1}", func() string { return s.onHost("application:get_env(kernel, pwn1)") })
		return
	}
	s.wait("end of the host VM", func() error {
		select {
		case <-s.hostBeam.done:
			return nil
		default:
			return net.ErrClosed
		}
	})
	s.t.Logf("the host VM ended: %v", s.hostBeam.cmd.ProcessState)
}

// hostPid is the encoded identifier of a registered process of the host.
func (s *stage) hostPid(name string) string {
	s.t.Helper()
	v, err := s.host.Call(s.t.Context(), "gwt", "eval", term.String("term_to_binary(whereis("+name+"))."))
	if err != nil {
		s.t.Fatal(err)
	}
	b, _ := v.(term.Binary)
	return string(b)
}
