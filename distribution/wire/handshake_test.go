package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/reconcile/app"
)

func TestParseCapturedDialer(t *testing.T) {
	msgs := captured(t, "handshake_dialer.hex")
	id, err := ParseName(msgs[0])
	if err != nil || id.Name != "wiretest_erl@vm" || !id.Flags.Has(Mandatory26|Published|Spawn|Fragments) || id.Creation == 0 {
		t.Errorf("name: %+v, %v", id, err)
	}
	if got := AppendName(nil, id); !bytes.Equal(got, msgs[0]) {
		t.Errorf("name is written back as %x", got)
	}
	r, err := ParseReply(msgs[1])
	if err != nil || !r.Digest.Equal(Digest(app.NewSecret("erltest-cookie"), 0xCAFEBABE)) {
		t.Errorf("reply: %+v, %v: not the digest of the challenge", r, err)
	}
	if got := AppendReply(nil, r); !bytes.Equal(got, msgs[1]) {
		t.Errorf("reply is written back as %x", got)
	}
}

func TestParseCapturedAcceptor(t *testing.T) {
	msgs := captured(t, "handshake_acceptor.hex")
	s, err := ParseStatus(msgs[0])
	if err != nil || s.Code != StatusOK {
		t.Errorf("status: %+v, %v", s, err)
	}
	c, err := ParseChallenge(msgs[1])
	if err != nil || c.Name != "wiretest_host@vm" || c.Flags.Check() != nil {
		t.Errorf("challenge: %+v, %v", c, err)
	}
	if got := AppendChallenge(nil, c); !bytes.Equal(got, msgs[1]) {
		t.Errorf("challenge is written back as %x", got)
	}
	sum, err := ParseAck(msgs[2])
	if err != nil || !sum.Equal(Digest(app.NewSecret("erltest-cookie"), 0xDEADBEEF)) {
		t.Errorf("ack: %x, %v: not the digest of the challenge", sum, err)
	}
}

func TestStatusRoundTrip(t *testing.T) {
	for _, want := range []Status{
		{Code: StatusOK}, {Code: StatusSimultaneous}, {Code: StatusNOK}, {Code: StatusNotAllowed},
		{Code: StatusAlive}, {Code: StatusTrue}, {Code: StatusFalse},
		{Code: StatusNamed, Name: "a@b", Creation: 5},
	} {
		got, err := ParseStatus(AppendStatus(nil, want))
		if err != nil || got != want {
			t.Errorf("%+v is read back as %+v, %v", want, got, err)
		}
	}
}

func TestHandshakeRefuses(t *testing.T) {
	name := AppendName(nil, dialing)
	long := AppendName(nil, Identity{Name: strings.Repeat("n", MaxName) + "@h"})
	tests := []struct {
		what  string
		parse func([]byte) error
		msg   []byte
		want  string
	}{
		{"empty", parseNameErr, nil, "empty"},
		{"cut", parseNameErr, name[:len(name)-1], "does not fit"},
		{"cut flags", parseNameErr, name[:9], "wrong size"},
		{"other message", parseNameErr, []byte("sok"), "begins with byte 0x73"},
		{"long name", parseNameErr, long, "does not fit"},
		{"no host", parseNameErr, AppendName(nil, Identity{Name: "pulse"}), "name@host"},
		{"two hosts", parseNameErr, AppendName(nil, Identity{Name: "a@b@c"}), "name@host"},
		{"line break", parseNameErr, AppendName(nil, Identity{Name: "a\n@b"}), "printable"},
		{"not UTF-8", parseNameErr, AppendName(nil, Identity{Name: "a\xff@b"}), "printable"},
		{"version 5", parseNameErr, []byte("n\x00\x05\x00\x00\x00\x00a@b"), "version 5"},
		{"status word", parseStatusErr, []byte("sperhaps"), `"perhaps"`},
		{"named without name", parseStatusErr, []byte("snamed:\x00"), "wrong size"},
		{"named too long", parseStatusErr, []byte("snamed:\x00\xffabcd"), "does not fit"},
		{"challenge cut", parseChallengeErr, name[:18], "wrong size"},
		{"reply size", parseReplyErr, []byte("r1234"), "wrong size"},
		{"ack size", parseAckErr, []byte("a"), "wrong size"},
	}
	for _, tt := range tests {
		if err := tt.parse(tt.msg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
	}
	if err := parseNameErr([]byte("n\x00\x05")); !errors.Is(err, ErrOldHandshake) {
		t.Errorf("version 5: %v, want ErrOldHandshake", err)
	}
}

func parseNameErr(b []byte) error      { _, err := ParseName(b); return err }
func parseStatusErr(b []byte) error    { _, err := ParseStatus(b); return err }
func parseChallengeErr(b []byte) error { _, err := ParseChallenge(b); return err }
func parseReplyErr(b []byte) error     { _, err := ParseReply(b); return err }
func parseAckErr(b []byte) error       { _, err := ParseAck(b); return err }

func TestNameIgnoresTrailingBytes(t *testing.T) {
	got, err := ParseName(append(AppendName(nil, dialing), "more"...))
	if err != nil || !cmp.Equal(got, dialing) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDigest(t *testing.T) {
	// erlang:md5("cookie" ++ integer_to_list(4294967295)), from erl.
	want, err := hex.DecodeString("de56ff9d11b071905bce597a85d67f4f")
	if err != nil {
		t.Fatal(err)
	}
	got := Digest(app.NewSecret("cookie"), 4294967295)
	if !bytes.Equal(got[:], want) {
		t.Errorf("digest %x, want %x", got, want)
	}
}

func TestFlags(t *testing.T) {
	otp25 := captured(t, "handshake_dialer.hex")[0]
	id, err := ParseName(otp25)
	if err != nil {
		t.Fatal(err)
	}
	guest, host := ToGuest(id.Flags), ToHost(id.Flags&^Published)
	for _, gone := range []Flags{DistHdrAtomCache, Fragments, SendSender, BigSeqtraceLabels, NameMe} {
		if guest&gone != 0 || host&gone != 0 {
			t.Errorf("%v is relayed", gone)
		}
	}
	if guest&Spawn != 0 || host&Spawn == 0 {
		t.Error("spawn is not hidden from the guest alone")
	}
	if host&Published == 0 {
		t.Error("the host does not see the guest among nodes()")
	}
	if !guest.Has(Mandatory26|Alias|DistMonitor) || !host.Has(Mandatory26|Alias|DistMonitor) {
		t.Error("a needed flag is not relayed")
	}
	if got := ToGuest(Mandatory25Digest); got != Mandatory25|Mandatory25Digest {
		t.Errorf("digest expands to %v", got)
	}
	if got := ToHost(1<<37 | 1<<60); got != Published {
		t.Errorf("unknown flags are relayed: %v", got)
	}
	if got := (MapTag | 1<<60).String(); got != "MAP_TAG|0x1000000000000000" {
		t.Errorf("flags print as %s", got)
	}
	if err := (Mandatory25 | NameMe).Check(); err == nil {
		t.Error("a node that asks for a name passes")
	}
}

func FuzzHandshake(f *testing.F) {
	for _, file := range []string{"handshake_dialer.hex", "handshake_acceptor.hex"} {
		for _, m := range captured(f, file) {
			f.Add(m)
		}
	}
	f.Add(AppendStatus(nil, Status{Code: StatusNamed, Name: "a@b", Creation: 5}))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if id, err := ParseName(msg); err == nil && !bytes.HasPrefix(msg, AppendName(nil, id)) {
			t.Errorf("name %+v is not what was read", id)
		}
		if c, err := ParseChallenge(msg); err == nil && !bytes.HasPrefix(msg, AppendChallenge(nil, c)) {
			t.Errorf("challenge %+v is not what was read", c)
		}
		if s, err := ParseStatus(msg); err == nil && !bytes.HasPrefix(msg, AppendStatus(nil, s)) {
			t.Errorf("status %+v is not what was read", s)
		}
		if r, err := ParseReply(msg); err == nil && !bytes.Equal(msg, AppendReply(nil, r)) {
			t.Errorf("reply %+v is not what was read", r)
		}
		if sum, err := ParseAck(msg); err == nil && !bytes.Equal(msg, AppendAck(nil, sum)) {
			t.Errorf("ack %+v is not what was read", sum)
		}
	})
}
