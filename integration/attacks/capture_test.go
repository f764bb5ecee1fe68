//go:build integration

package attacks

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/epmd/erltest"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/reconcile/app"
)

// session is what a real node said to a host VM.
type session struct {
	guest  wire.Identity
	host   wire.Identity
	mu     sync.Mutex
	frames [][]byte
}

// capture has a BEAM of the guest's name answer a host of the host VM's name and
// creation, and say something itself, and keeps it frame by frame. It uses a port
// mapper of its own: neither guest nor host VM hears of it.
func capture(t *testing.T, name string, host wire.Identity, sayings []string) *session {
	t.Helper()
	mapper := erltest.EPMD(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	alive, _, _ := strings.Cut(host.Name, "@")
	lease, err := epmd.Register(t.Context(), mapper, epmd.Registration{Name: alive, Port: uint16(ln.Addr().(*net.TCPAddr).Port)})
	must(t, err)
	s := &session{host: host}
	ready, done := make(chan net.Conn, 1), make(chan error, 1)
	go func() { done <- s.serve(ln, ready) }()
	beam := erltest.Start(t, mapper, name, "-pa", w.code)
	t.Cleanup(func() {
		beam.Kill()
		ln.Close()
		lease.Close()
		<-done
	})
	if got := beam.Eval("net_kernel:connect_node('" + host.Name + "')."); got != "true" {
		t.Fatalf("connect to the recorder: %s", got)
	}
	s.ask(t, <-ready)
	known := fmt.Sprintf("N = '%s', Pid = fun(I) -> A = atom_to_binary(N), "+
		"binary_to_term(<<131, 88, 119, (byte_size(A)), A/binary, I:32, 0:32, %d:32>>) end, ", host.Name, host.Creation)
	for _, text := range append(sayings, lastSaying) {
		if got := beam.Eval(known + text + "."); strings.HasPrefix(got, "{caught,") {
			t.Fatalf("%s: %s", text, got)
		}
	}
	eventually(t, "the session is recorded", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.ContainsFunc(s.frames, func(b []byte) bool { return bytes.Contains(b, []byte("said_last")) })
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = slices.Clone(s.frames) // the node may go on
	return s
}

const lastSaying = "{attack_sink, N} ! said_last"

// serve plays the host VM: it keeps what it hears.
func (s *session) serve(ln net.Listener, ready chan<- net.Conn) error {
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	s.guest, err = wire.Accept(conn, s.host, app.NewSecret(erltest.Cookie), 4711, nil)
	if err != nil {
		return err
	}
	ready <- conn
	for in := bufio.NewReader(conn); ; {
		frame, err := wire.ReadFrame(in, nil, 0)
		if err != nil {
			return err
		}
		if len(frame) > 0 {
			s.mu.Lock()
			s.frames = append(s.frames, frame)
			s.mu.Unlock()
		}
	}
}

func (s *session) hostPid(id uint32) term.Pid {
	return term.Pid{Node: term.Atom(s.host.Name), ID: id, Creation: s.host.Creation}
}

func (s *session) hostRef(n uint32) term.Ref {
	return term.Ref{Node: term.Atom(s.host.Name), Creation: s.host.Creation, Len: 3, Words: [5]uint32{n, 0, 0}}
}

// ask says to the BEAM what a host VM says, so that it answers.
func (s *session) ask(t *testing.T, conn net.Conn) {
	t.Helper()
	atom := func(a string) term.Term { return term.Atom(a) }
	tuple := func(e ...term.Term) term.Tuple { return e }
	list := func(e ...term.Term) term.List { return term.List{Elems: e} }
	me := s.hostPid(1)
	for _, m := range []struct {
		control term.Tuple
		message term.Term
	}{
		{tuple(term.Int(wire.OpSpawnRequest), s.hostRef(1), me, me, tuple(atom("erlang"), atom("self"), term.Int(0)), list(atom("monitor"))), list()},
		{tuple(term.Int(wire.OpRegSend), me, atom(""), atom("application_controller")),
			tuple(atom("$gen_call"), tuple(me, term.List{Elems: []term.Term{atom("alias")}, Tail: s.hostRef(2)}), atom("which_applications"))},
		{tuple(term.Int(wire.OpRegSend), me, atom(""), atom("net_kernel")),
			tuple(atom("$gen_call"), tuple(me, s.hostRef(3)), tuple(atom("is_auth"), atom(s.host.Name)))},
		{tuple(term.Int(wire.OpMonitor), me, atom("nobody"), s.hostRef(4)), nil},
	} {
		frame, err := wire.AppendFrame(nil, m.control, nil)
		if m.message != nil {
			frame, err = wire.AppendMessage(nil, m.control, m.message)
		}
		must(t, err)
		must(t, wire.WriteFrame(conn, frame))
	}
}

// sayings is Erlang by which a node speaks to another one, N, in every way, in
// sessions by what they are about. Pid makes a process of that node out of a
// number.
func sayings() map[string][]string {
	return map[string][]string{
		"calls and signals": {
			"[spawn(F) || F <- [fun() -> net_adm:ping(N) end, fun() -> rpc:call(N, os, getpid, []) end]]",
			"gen_server:cast({rex, N}, {cast, os, getpid, [], group_leader()})",
			"{attack_sink, N} ! {hello, self(), make_ref(), #{a => [1, 2.5, <<\"b\">>, <<1:3>>], \"text\" => 1 bsl 100, $c => -7}}",
			"{attack_sink, N} ! lists:seq(1, 300)",
			"{attack_sink, N} ! fun lists:map/2",
			"{user, N} ! {io_request, self(), make_ref(), {put_chars, unicode, io_lib, format, [\"~p\", [x]]}}",
			"{logger_proxy, N} ! {log, error, \"~p\", [x], #{pid => self(), time => 1}}",
			"spawn(fun() -> gen_server:call({attack_sink, N}, question, 100) end)",
			"monitor(process, {attack_victim, N})",
			"[Pid(I) ! {io_request, self(), make_ref(), {put_chars, latin1, \"text\"}} || I <- [1, 2, 3, 5, 8]]",
			"[begin exit(Pid(I), kill), group_leader(self(), Pid(I)), demonitor(monitor(process, Pid(I))) end || I <- [1, 2, 3]]",
			"[spawn(fun() -> link(Pid(I)), unlink(Pid(I)), link(Pid(I)) end) || I <- [1, 2, 3]]",
			"attacker:raw(N, {33, self(), make_ref()}, {make_ref(), answer})",
		},
		"broadcasts": {
			"{'Elixir.Attacked.Adapter', N} ! {forward_to_local, <<\"updates\">>, {new, #{n => 1}}, 'Elixir.Phoenix.PubSub'}",
			"{'Elixir.Attacked.Adapter', N} ! {forward_to_local, <<\"updates\">>, [self(), 1.5, \"text\"], 'Elixir.Phoenix.PubSub'}",
			"{'Elixir.Attacked.Adapter', N} ! {forward_to_local, <<\"room:1\">>, #{'__struct__' => 'Elixir.Phoenix.Socket.Broadcast', " +
				"topic => <<\"room:1\">>, event => <<\"new\">>, payload => #{a => [1, null, <<\"x\">>]}}, 'Elixir.Phoenix.Channel.Server'}",
			"[Pid(I) ! {forward_to_local, <<\"updates\">>, {new, #{n => I}}, 'Elixir.Phoenix.PubSub'} || I <- [1, 2, 3]]",
		},
		"groups": {
			"{ok, _} = pg:start(attack_scope), {attack_scope, N} ! {discover, whereis(attack_scope)}",
			"{attack_scope, N} ! {discover, self()}",
			"{attack_scope, N} ! {'$gen_cast', {sync, self(), [{own, [self()]}]}}",
			"[Pid(I) ! {'$gen_cast', {sync, self(), [{own, [self(), self()]}]}} || I <- [1, 2, 3]]",
			"[{attack_scope, N} ! {join, self(), own, P} || P <- [self(), [self()]]]",
			"[begin Pid(I) ! {join, self(), own, self()}, Pid(I) ! {leave, self(), self(), [own]} end || I <- [1, 2, 3, 5, 8]]",
			"{attack_scope, N} ! {leave, self(), self(), [own]}",
			"[monitor(process, Pid(I)) || I <- [1, 2, 3]]",
		},
	}
}
