package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/distribution/term"
)

var (
	alice = term.Pid{Node: "a@h", ID: 1, Creation: 5}
	bob   = term.Pid{Node: "b@h", ID: 2, Creation: 6}
	ref   = term.Ref{Node: "a@h", Creation: 5, Len: 3, Words: [5]uint32{1, 2, 3}}
	token = term.Tuple{term.Int(0), term.Int(1)}
)

func TestControlShapes(t *testing.T) {
	none, name := term.Atom(""), term.Atom("rex")
	mfa := term.Tuple{term.Atom("m"), term.Atom("f"), term.Int(0)}
	tests := []struct {
		op    Op
		args  term.Tuple
		from  term.Term
		to    term.Term
		token term.Term
	}{
		{OpLink, term.Tuple{alice, bob}, alice, bob, nil},
		{OpSend, term.Tuple{none, bob}, nil, bob, nil},
		{OpExit, term.Tuple{alice, bob, none}, alice, bob, nil},
		{OpUnlink, term.Tuple{alice, bob}, alice, bob, nil},
		{OpRegSend, term.Tuple{alice, none, name}, alice, name, nil},
		{OpGroupLeader, term.Tuple{alice, bob}, alice, bob, nil},
		{OpExit2, term.Tuple{alice, bob, none}, alice, bob, nil},
		{OpSendTT, term.Tuple{none, bob, token}, nil, bob, token},
		{OpExitTT, term.Tuple{alice, bob, token, none}, alice, bob, token},
		{OpRegSendTT, term.Tuple{alice, none, name, token}, alice, name, token},
		{OpExit2TT, term.Tuple{alice, bob, token, none}, alice, bob, token},
		{OpMonitor, term.Tuple{alice, name, ref}, alice, name, nil},
		{OpDemonitor, term.Tuple{alice, bob, ref}, alice, bob, nil},
		{OpMonitorExit, term.Tuple{name, bob, ref, none}, name, bob, nil},
		{OpSendSender, term.Tuple{alice, bob}, alice, bob, nil},
		{OpSendSenderTT, term.Tuple{alice, bob, token}, alice, bob, token},
		{OpPayloadExit, term.Tuple{alice, bob}, alice, bob, nil},
		{OpPayloadExitTT, term.Tuple{alice, bob, token}, alice, bob, token},
		{OpPayloadExit2, term.Tuple{alice, bob}, alice, bob, nil},
		{OpPayloadExit2TT, term.Tuple{alice, bob, token}, alice, bob, token},
		{OpPayloadMonitorExit, term.Tuple{alice, bob, ref}, alice, bob, nil},
		{OpSpawnRequest, term.Tuple{ref, alice, bob, mfa, term.List{}}, alice, nil, nil},
		{OpSpawnRequestTT, term.Tuple{ref, alice, bob, mfa, term.List{}, token}, alice, nil, token},
		{OpSpawnReply, term.Tuple{ref, bob, term.Int(0), alice}, nil, bob, nil},
		{OpSpawnReplyTT, term.Tuple{ref, bob, term.Int(0), alice, token}, nil, bob, token},
		{OpAliasSend, term.Tuple{alice, ref}, alice, ref, nil},
		{OpAliasSendTT, term.Tuple{alice, ref, token}, alice, ref, token},
		{OpUnlinkID, term.Tuple{term.Int(9), alice, bob}, alice, bob, nil},
		{OpUnlinkIDAck, term.Tuple{term.Int(9), alice, bob}, alice, bob, nil},
		{OpAlternateActionSend, term.Tuple{term.Int(4), alice, bob}, alice, bob, nil},
		{OpAlternateActionSend, term.Tuple{term.Int(4), alice, bob, token}, alice, bob, token},
	}
	for _, tt := range tests {
		t.Run(tt.op.String(), func(t *testing.T) {
			tuple := append(term.Tuple{term.Int(tt.op)}, tt.args...)
			var payload []byte
			if tt.op.HasPayload() {
				payload = []byte{131, 106}
			}
			frame, err := AppendFrame(nil, tuple, payload)
			if err != nil {
				t.Fatal(err)
			}
			c, got, err := SplitFrame(frame)
			if err != nil || c.Op != tt.op || !bytes.Equal(got, payload) || !term.Equal(c.Tuple, tuple) {
				t.Fatalf("split gives %+v, %x, %v", c, got, err)
			}
			for i, pair := range [][2]term.Term{{tt.from, c.From()}, {tt.to, c.To()}, {tt.token, c.Token()}} {
				if !cmp.Equal(pair[0], pair[1]) {
					t.Errorf("part %d is %v, want %v", i, pair[1], pair[0])
				}
			}
			if _, err := NewControl(tuple[:2]); err == nil {
				t.Error("a shorter tuple passes")
			}
			if _, err := NewControl(append(tuple, token, token)); err == nil {
				t.Error("a longer tuple passes")
			}
		})
	}
}

func TestControlAccessors(t *testing.T) {
	c := Control{Op: OpMonitorExit, Tuple: term.Tuple{term.Int(21), term.Atom("rex"), bob, ref, term.Atom("noproc")}}
	if _, ok := c.FromPid(); ok {
		t.Error("a name is given as a process")
	}
	if to, ok := c.ToPid(); !ok || to != bob {
		t.Errorf("to %v", to)
	}
	if r, ok := c.Ref(); !ok || r != ref {
		t.Errorf("ref %v", r)
	}
	if c.Reason() != term.Atom("noproc") {
		t.Errorf("reason %v", c.Reason())
	}
	alias := Control{Op: OpAliasSend, Tuple: term.Tuple{term.Int(33), alice, ref}}
	if r, ok := alias.Ref(); !ok || r != ref {
		t.Errorf("alias %v", r)
	}
}

func TestSplitCaptured(t *testing.T) {
	var got []string
	for _, frame := range captured(t, "frames.hex") {
		c, payload, err := SplitFrame(frame)
		if err != nil {
			t.Fatalf("frame %x: %v", frame, err)
		}
		again, err := AppendFrame(nil, c.Tuple, payload)
		if err != nil || !bytes.Equal(again, frame) {
			t.Errorf("frame %x is written back as %x, %v", frame, again, err)
		}
		got = append(got, c.Op.String())
	}
	for _, want := range []string{"REG_SEND", "SEND", "ALIAS_SEND", "MONITOR_P", "LINK", "UNLINK_ID", "PAYLOAD_EXIT2", "SPAWN_REQUEST"} {
		if !strings.Contains(strings.Join(got, " "), want) {
			t.Errorf("no %s among %v", want, got)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	tests := []struct{ what, frame, want string }{
		{"empty", "", "empty"},
		{"distribution header", "8344", "begins with byte 131"},
		{"fragment", "8345", "begins with byte 131"},
		{"no version", "7068", "version"},
		{"no tuple", "70836a", "not a tuple"},
		{"empty tuple", "70836800", "not a tuple"},
		{"unknown op", "7083680161ff", "255 is unknown"},
		{"op 5", "70836801" + "6105", "5 is unknown"},
		{"op is an atom", "70836801" + "770178", "its number"},
		{"size", "708368026101" + "6a", "LINK has 2 elements instead of 3"},
		{"trailing", "70836803610177017877017800", "1 bytes follow LINK"},
		{"no payload", "708368036102770077017a", "no encoded message follows SEND"},
		{"payload version", "708368036102770077017a6a6a", "no encoded message follows SEND"},
		{"compressed", "708350000000ff", "compressed"},
		{"announces a big tuple", "708369ffffffff", ""},
	}
	for _, tt := range tests {
		frame, err := hex.DecodeString(tt.frame)
		if err != nil {
			t.Fatal(err)
		}
		c, payload, err := SplitFrame(frame)
		if err == nil || !strings.Contains(err.Error(), tt.want) || c.Tuple != nil || payload != nil {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
	}
}

func TestAppendFrameRefuses(t *testing.T) {
	send := term.Tuple{term.Int(OpSend), term.Atom(""), bob}
	if _, err := AppendFrame(nil, send, nil); err == nil {
		t.Error("SEND without a payload is written")
	}
	if _, err := AppendFrame(nil, term.Tuple{term.Int(OpLink), alice, bob}, []byte{131, 106}); err == nil {
		t.Error("LINK with a payload is written")
	}
	if _, err := AppendMessage(nil, send, struct{}{}); err == nil {
		t.Error("a value that is no term is written")
	}
}

func FuzzFrame(f *testing.F) {
	for _, frame := range captured(f, "frames.hex") {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		c, payload, err := SplitFrame(frame)
		if err != nil {
			return
		}
		_, _, _, _, _ = c.From(), c.To(), c.Token(), c.Reason(), c.Op.String()
		again, err := AppendFrame(nil, c.Tuple, payload)
		if err != nil {
			t.Fatalf("cannot write back: %v", err)
		}
		c2, payload2, err := SplitFrame(again)
		if err != nil || !term.Equal(c2.Tuple, c.Tuple) || !bytes.Equal(payload, payload2) {
			t.Errorf("written back it reads %v, %x, %v", c2.Tuple, payload2, err)
		}
	})
}
