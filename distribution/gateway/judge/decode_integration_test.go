//go:build integration

package judge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"beamsandbox/distribution/epmd/erltest"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
)

// accepted is how many terms and control messages of each kind are tried.
const accepted = 2500

// corpus is bytes for a real node to read: <<Size:32, Bytes>> each.
type corpus struct{ bytes.Buffer }

func (c *corpus) add(parts ...[]byte) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	c.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
	for _, p := range parts {
		c.Write(p)
	}
}

// read has a real node run check, a fun of a list of binaries, over the corpus
// in groups of n, and wants it to be true of all.
func (c *corpus) read(t *testing.T, n int, check string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "corpus")
	if err := os.WriteFile(file, c.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	erl := erltest.Start(t, erltest.EPMD(t), "judgereader")
	got := erl.Eval(fmt.Sprintf(`{ok, File} = file:read_file(%q), All = [B || <<S:32, B:S/binary>> <= File], Check = %s,
		Each = fun Each([], K) -> {all, K}; Each(L, K) -> {G, R} = lists:split(%d, L),
			case catch Check(G) of true -> Each(R, K + 1); Bad -> {K, G, Bad} end end, Each(All, 0).`, file, check, n))
	if want := fmt.Sprintf("{all,%d}", accepted); got != want {
		t.Errorf("a real node answered %.2000s, want %s", got, want)
	}
}

// exposed is a stage for very many messages, where the host's identifiers are
// shown as they are, and what it was told by prepare.
func exposed(t *testing.T) *stage {
	t.Helper()
	m := granted()
	m.Limits = policy.Limits{Atoms: -1, Messages: -1, Bytes: -1, Grants: -1, Monitors: -1}
	s := newStage(t, m)
	s.expose(true)
	s.prepare()
	s.host(wire.OpLink, []term.Term{hpid(3), gpid(9)}, nil)
	return s
}

// signal is a control message that a guest may send on s, with its message.
func (l loose) signal(s *stage) (term.Tuple, term.Term) {
	me, caller, reason := gpid(9), hpid(3), l.anything(2)
	news := forward("stats:updates", l.anything(2), pubSubDispatcher)
	tag := alias(href(1))
	id := term.Int(1 + l.Int64()>>(1+l.IntN(60)))
	switch l.IntN(15) {
	case 0:
		return tup(term.Int(wire.OpSend), atom(""), hpid(51)), news
	case 1:
		return tup(term.Int(wire.OpSend), atom(""), caller), tup(tag, reason)
	case 2:
		return tup(term.Int(wire.OpSendSender), me, hpid(51)), news
	case 3:
		return tup(term.Int(wire.OpRegSend), me, atom(""), atom(adapter)), news
	case 4:
		return tup(term.Int(wire.OpAliasSend), me, href(1)), tup(tag, reason)
	case 5:
		return tup(term.Int(wire.OpMonitor), me, atom("stats"), gref(5)), nil
	case 6:
		s.guest(wire.OpMonitor, []term.Term{me, hpid(50), gref(5)}, nil)
		return tup(term.Int(wire.OpDemonitor), me, hpid(50), gref(5)), nil
	case 7:
		return tup(term.Int(wire.OpSpawnReply), href(20), caller, term.Int(2), me), nil
	case 8:
		return tup(term.Int(wire.OpSpawnReply), href(20), caller, term.Int(0), atom("system_limit")), nil
	case 9:
		s.guest(wire.OpSpawnReply, []term.Term{href(20), caller, term.Int(2), me}, nil)
		return tup(term.Int(wire.OpMonitorExit), me, caller, href(20), reason), nil
	case 10:
		s.guest(wire.OpSpawnReply, []term.Term{href(20), caller, term.Int(2), me}, nil)
		return tup(term.Int(wire.OpPayloadMonitorExit), me, caller, href(20)), reason
	case 11:
		return tup(term.Int(wire.OpExit), me, caller, reason), nil
	case 12:
		return tup(term.Int(wire.OpPayloadExit), me, caller), reason
	case 13:
		return tup(term.Int(wire.OpUnlinkID), id, me, caller), nil
	}
	s.host(wire.OpUnlinkID, []term.Term{id, caller, me}, nil)
	return tup(term.Int(wire.OpUnlinkIDAck), id, me, caller), nil
}

// TestRealNodeDecodesWhatTheWalkerAccepts: what the walker lets through, in
// whatever way it was written or spoilt, is a term to a real node, as long as
// the walker found it to be.
func TestRealNodeDecodesWhatTheWalkerAccepts(t *testing.T) {
	l := loose{rand.New(rand.NewPCG(27, 25))}
	s := exposed(t)
	var c corpus
	spoilt := 0
	for n := 0; n < accepted; {
		plain := l.append(nil, l.anything(4))
		b := l.spoilt(plain)
		if s.j.inspect(b) != "" {
			continue
		}
		if !bytes.Equal(b, plain) {
			spoilt++
		}
		c.add([]byte{131}, b)
		n++
	}
	if spoilt < accepted/10 {
		t.Errorf("only %d of %d terms were spoilt", spoilt, accepted)
	}
	c.read(t, 1, `fun([B]) -> {_, N} = binary_to_term(B, [used]), N =:= byte_size(B) end`)
}

// TestRealNodeReadsTheSameControlMessage: a guest's control message, in
// whatever way it was written, reaches the host written anew, and is the same
// tuple to a real node.
func TestRealNodeReadsTheSameControlMessage(t *testing.T) {
	l := loose{rand.New(rand.NewPCG(4, 2))}
	var c corpus
	ops := map[wire.Op]int{}
	anew := 0
	for n := 0; n < accepted; {
		s := exposed(t)
		tuple, message := l.signal(s)
		control := l.spoilt(l.append(nil, tuple))
		frame := append([]byte{112, 131}, control...)
		if message != nil {
			frame = l.append(append(frame, 131), message)
		}
		v := s.j.FromGuest(s.now, frame)
		if v.Action != Pass || v.Rule != "" {
			continue
		}
		head := v.Forward[0].Head[2:]
		if !bytes.Equal(head, control) {
			anew++
		}
		ops[wire.Op(tuple[0].(term.Int))]++
		c.add([]byte{131}, control)
		c.add([]byte{131}, head)
		n++
	}
	t.Logf("%d of %d were written in another way; by operation: %v", anew, accepted, ops)
	if anew < accepted/2 || len(ops) < 13 {
		t.Errorf("only %d of %d were written in another way, of operations %v", anew, accepted, ops)
	}
	// What the judge writes differently on purpose: nothing where a cookie was,
	// no sender of a SEND, reasons as payload, and what came of a spawn as the
	// host asked for it.
	c.read(t, 2, `fun([A, B]) ->
		Same = fun({2, _, T}) -> {2, '', T}; ({22, _, T}) -> {2, '', T}; ({6, F, _, N}) -> {6, F, '', N};
			({3, F, T, _}) -> {24, F, T}; ({21, P, T, R, _}) -> {28, P, T, R}; ({31, R, T, _, P}) -> {31, R, T, P}; (T) -> T end,
		Same(binary_to_term(A)) =:= Same(binary_to_term(B)) end`)
}
