//go:build integration

package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/epmd/erltest"
	"beamsandbox/reconcile/app"
)

var update = flag.Bool("update", false, "rewrite testdata with the bytes that erl sends here")

// ourNode is who the tests are for a real node.
var ourNode = Identity{Name: "wiretest@vm", Flags: OwnFlags | Published | Spawn, Creation: 0x11223344}

// tour makes erl send one of each message that needs no answer, then leave.
const tour = `
N = 'wiretest@vm', true = net_kernel:connect_node(N), process_flag(trap_exit, true),
Id = <<119, 11, "wiretest@vm">>,
P = binary_to_term(<<131, 88, Id/binary, 7:32, 0:32, 16#11223344:32>>),
R = binary_to_term(<<131, 90, 3:16, Id/binary, 16#11223344:32, 1:32, 2:32, 3:32>>),
{x, N} ! hello, P ! #{<<"key">> => [1.5, "text", {P, R}]}, R ! {R, aliased},
erlang:monitor(process, P), M = erlang:monitor(process, {x, N}), erlang:demonitor(M),
link(P), unlink(P), exit(P, {shutdown, because}),
erlang:spawn_request(N, m, f, [1, two], [link]), group_leader(self(), P),
erlang:send(P, binary:copy(<<"b">>, 300)), link(P),
S = self(), W = spawn(fun() -> link(P), S ! linked, exit({gone, 1}) end), receive linked -> ok end,
MR = erlang:monitor(process, W), receive {'DOWN', MR, _, _, _} -> ok end,
seq_trace:set_token(label, 17), P ! traced, seq_trace:set_token([]),
erlang:disconnect_node(N).`

// recording keeps a copy of what was read from a connection.
type recording struct {
	net.Conn
	read bytes.Buffer
}

func (r *recording) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.read.Write(b[:n])
	return n, err
}

func TestRealNodeDialsUs(t *testing.T) {
	mapper := erltest.EPMD(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := netip.MustParseAddrPort(ln.Addr().String()).Port()
	lease, err := epmd.Register(t.Context(), mapper, epmd.Registration{Name: "wiretest", Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	erl := erltest.Start(t, mapper, "wiretest_erl")
	toured := make(chan struct{})
	go func() { defer close(toured); erl.Eval(tour) }()
	defer func() { <-toured }()

	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rec := &recording{Conn: conn}
	peer, err := Accept(rec, ourNode, app.NewSecret(erltest.Cookie), 0xCAFEBABE, nil)
	if err != nil {
		t.Fatal(err)
	}
	if peer.Name != "wiretest_erl@vm" || !peer.Flags.Has(Mandatory26|Published) || peer.Creation == 0 {
		t.Errorf("peer is %+v", peer)
	}
	save(t, "handshake_dialer.hex", splitHandshake(rec.read.Bytes()))
	frames := readAll(t, conn)
	var ops []Op
	for _, f := range frames {
		c, _, err := SplitFrame(f)
		if err != nil {
			t.Errorf("frame %x: %v", f, err)
		}
		ops = append(ops, c.Op)
	}
	for _, want := range []Op{
		OpRegSend, OpSendSender, OpSend, OpAliasSend, OpMonitor, OpDemonitor, OpLink, OpUnlinkID,
		OpPayloadExit, OpPayloadExit2, OpSpawnRequest, OpGroupLeader,
	} {
		if !slices.Contains(ops, want) && want != OpSendSender {
			t.Errorf("erl sent no %s, only %v", want, ops)
		}
	}
	save(t, "frames.hex", frames)
}

func TestWeDialRealNode(t *testing.T) {
	mapper := erltest.EPMD(t)
	erltest.Start(t, mapper, "wiretest_host")
	for name, cookie := range map[string]string{"right": erltest.Cookie, "wrong": "other"} {
		info, err := epmd.Lookup(t.Context(), mapper, "wiretest_host")
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(info.Port))))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		rec := &recording{Conn: conn}
		peer, err := Dial(rec, ourNode, app.NewSecret(cookie), 0xDEADBEEF)
		if name == "wrong" {
			if !errors.Is(err, ErrCookie) {
				t.Errorf("wrong cookie: %v", err)
			}
			continue
		}
		if err != nil || peer.Name != "wiretest_host@vm" {
			t.Fatalf("peer %+v, %v", peer, err)
		}
		save(t, "handshake_acceptor.hex", splitHandshake(rec.read.Bytes()))
	}
}

// TestAliveOnRealNode dials twice under one name: the second time the node
// still holds the first link and is told to replace it.
func TestAliveOnRealNode(t *testing.T) {
	mapper := erltest.EPMD(t)
	erltest.Start(t, mapper, "wiretest_alive")
	info, err := epmd.Lookup(t.Context(), mapper, "wiretest_alive")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for i := range 2 {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(info.Port))))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
		if _, err := Dial(conn, ourNode, app.NewSecret(erltest.Cookie), uint32(i)); err != nil {
			t.Fatalf("dial %d: %v", i, err)
		}
	}
	_ = conns[0].SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, conns[0]); err != nil {
		t.Errorf("the replaced link is still open: %v", err)
	}
}

// readAll reads frames until erl leaves.
func readAll(t *testing.T, r io.Reader) [][]byte {
	t.Helper()
	var frames [][]byte
	for {
		f, err := ReadFrame(r, nil, 0)
		if errors.Is(err, io.EOF) {
			return frames
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(f) != 0 {
			frames = append(frames, f)
		}
	}
}

func splitHandshake(b []byte) [][]byte {
	var all [][]byte
	for r := bytes.NewReader(b); ; {
		msg, err := ReadHandshake(r, 0)
		if err != nil {
			return all
		}
		all = append(all, msg)
	}
}

// save rewrites a file of testdata when asked to.
func save(t *testing.T, name string, messages [][]byte) {
	t.Helper()
	if !*update {
		return
	}
	out := []byte("# Sent by erl, OTP 25, one message a line.\n")
	for _, m := range messages {
		out = fmt.Appendf(out, "%s\n", hex.EncodeToString(m))
	}
	if err := os.WriteFile("testdata/"+name, out, 0o644); err != nil {
		t.Fatal(err)
	}
}
