package gateway

import (
	"strings"
	"testing"

	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"

	"github.com/google/go-cmp/cmp"
)

// said is a message of the guest to a registered name of the host.
func said(t *testing.T, to string, m term.Term) []byte {
	t.Helper()
	pid := term.Pid{Node: "pulse@vm", ID: 1, Creation: 42}
	return message(t, term.Tuple{term.Int(wire.OpRegSend), pid, term.Atom(""), term.Atom(to)}, m)
}

// under gives the scene's member other rules and returns it as it then is.
func (s *scene) under(m policy.Messages) protocol.Node {
	s.t.Helper()
	s.spec.Messages = m
	node, _, err := s.server.Set(s.spec, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return node
}

func TestModes(t *testing.T) {
	sink := []policy.Allow{{To: "sink", Kind: policy.Info}}
	for _, tc := range []struct {
		mode    policy.Mode
		passes  bool
		refused map[string]uint64
	}{
		{policy.Enforce, false, map[string]uint64{"name": 1}},
		{policy.Audit, true, map[string]uint64{"name": 1}},
		{policy.Trusted, true, map[string]uint64{}},
	} {
		t.Run(string(tc.mode), func(t *testing.T) {
			s := newScene(t)
			s.under(policy.Messages{Mode: tc.mode, Allow: sink})
			host, guest := s.linked()
			guest.send(t, said(t, "init", term.Tuple{term.Atom("stop"), term.Atom("stop")}))
			guest.send(t, said(t, "sink", term.Int(1)))
			c, _, _ := host.receive(t)
			if to, _ := c.ToName(); (to == "init") != tc.passes {
				t.Errorf("first the host hears a message to %s", to)
			}
			n := s.node()
			if d := cmp.Diff(tc.refused, n.Refused); d != "" || n.Mode != tc.mode {
				t.Errorf("mode %s, refused (-want +got)\n%s", n.Mode, d)
			}
		})
	}
}

func TestLastRefusalsAreShown(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	for range 40 {
		guest.send(t, said(t, "init", term.Tuple{term.Atom("stop"), term.Atom("stop")}))
	}
	guest.send(t, said(t, "sink", term.Int(1)))
	host.receive(t)
	n := s.node()
	if len(n.Recent) != showRefusals || n.Refused["name"] != 40 {
		t.Fatalf("%d are shown of %v", len(n.Recent), n.Refused)
	}
	guest.send(t, said(t, "nobody", term.Int(7)))
	guest.send(t, said(t, "sink", term.Int(1)))
	host.receive(t)
	want := protocol.Refusal{Rule: "name", Op: "REG_SEND", To: "nobody", Message: "7"}
	last := s.node().Recent[showRefusals-1]
	last.At = want.At
	if last.Op == "" { // more came within a second than are shown in full
		want.Op, want.To, want.Message = "", "", ""
	}
	if d := cmp.Diff(want, last); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestRulesOfALiveLink(t *testing.T) {
	s := newScene(t)
	host, guest := s.linked()
	s.under(policy.Messages{Allow: []policy.Allow{{To: "other", Kind: policy.Info}}})
	guest.send(t, said(t, "sink", term.Int(1)))
	guest.send(t, said(t, "other", term.Int(1)))
	c, _, _ := host.receive(t)
	if to, _ := c.ToName(); to != "other" {
		t.Errorf("the host hears a message to %s", to)
	}
	if s.under(policy.Messages{Mode: policy.Trusted}).Up {
		t.Error("the answer says that there is a link, which the change of mode ended")
	}
	if ev := s.expect("down"); !strings.Contains(ev.Detail, "mode") {
		t.Errorf("event says %q", ev.Detail)
	}
}
