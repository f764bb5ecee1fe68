//go:build integration

package judge

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/epmd/erltest"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// between is a judge between two real nodes: the guest dials, each frame is
// judged, and what was refused is remembered.
type between struct {
	t           *testing.T
	j           *Judge
	mu          sync.Mutex
	refused     []string
	log         strings.Builder
	guest, host *erltest.Erl
}

// connect starts a host and a guest that see each other through the judge only.
func connect(t *testing.T, m policy.Messages) *between {
	b := &between{t: t}
	hostMapper, guestMapper := erltest.EPMD(t), erltest.EPMD(t)
	b.host = erltest.Start(t, hostMapper, "judgehost")
	b.guest = erltest.Start(t, guestMapper, "judgeguest")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	info, err := epmd.Lookup(ctx, hostMapper, "judgehost")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lease, err := epmd.Register(ctx, guestMapper, epmd.Registration{Name: "judgehost", Port: uint16(ln.Addr().(*net.TCPAddr).Port)})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.serve(ln, fmt.Sprintf("127.0.0.1:%d", info.Port), m) }()
	t.Cleanup(func() {
		ln.Close()
		lease.Close()
		b.host.Kill()
		b.guest.Kill()
		if err := <-served; err != nil {
			t.Errorf("between: %v", err)
		}
	})
	if got := b.guest.Eval("net_kernel:connect_node('" + b.host.Node + "')."); got != "true" {
		t.Fatalf("connect: %s", got)
	}
	return b
}

func (b *between) serve(ln net.Listener, host string, m policy.Messages) error {
	guest, err := ln.Accept()
	if err != nil {
		return err
	}
	defer guest.Close()
	to, err := net.Dial("tcp", host)
	if err != nil {
		return err
	}
	defer to.Close()
	guestID, hostID, err := shake(guest, to)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.j, err = New(Config{Guest: guestID, Host: hostID, Messages: m}, &Lifetime{})
	b.mu.Unlock()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var locks [2]sync.Mutex // for writing to guest, to host
	wg.Go(func() { b.pump(guest, to, guest, &locks, policy.GuestToHost) })
	wg.Go(func() { b.pump(to, guest, to, &locks, policy.HostToGuest) })
	wg.Wait()
	return nil
}

// shake makes one handshake of two, as the gateway does.
func shake(guest, host net.Conn) (guestID, hostID wire.Identity, err error) {
	cookie := app.NewSecret(erltest.Cookie)
	from, to := wire.NewAcceptor(guest), wire.NewDialer(host)
	if guestID, err = from.ReadName(); err != nil {
		return
	}
	shown := guestID
	shown.Flags = wire.ToHost(shown.Flags)
	if err = to.SendName(shown); err != nil {
		return
	}
	if _, err = to.ReadStatus(); err != nil {
		return
	}
	if err = from.SendStatus(wire.StatusOK); err != nil {
		return
	}
	c, err := to.ReadChallenge()
	if err != nil {
		return
	}
	hostID, shown = c.Identity, c.Identity
	shown.Flags = wire.ToGuest(shown.Flags)
	if err = from.SendChallenge(shown, 4711); err != nil {
		return
	}
	if err = from.ReadReply(cookie); err != nil {
		return
	}
	if err = to.SendReply(cookie, 815); err != nil {
		return
	}
	if err = to.ReadAck(cookie); err != nil {
		return
	}
	return guestID, hostID, from.SendAck(cookie)
}

func (b *between) pump(from, to, back net.Conn, locks *[2]sync.Mutex, dir policy.Direction) {
	defer from.Close()
	defer to.Close()
	var buf []byte
	for {
		frame, err := wire.ReadFrame(from, buf, 0)
		if err != nil {
			return
		}
		buf = frame
		there, here := &locks[1-dir], &locks[dir]
		if len(frame) == 0 {
			write(from, here, Frame{})
			continue
		}
		b.mu.Lock()
		judge := b.j.FromGuest
		if dir == policy.HostToGuest {
			judge = b.j.FromHost
		}
		v := judge(time.Now(), frame)
		b.note(v)
		b.mu.Unlock()
		for _, f := range v.Forward {
			write(to, there, f)
		}
		for _, f := range v.Answer {
			write(back, here, f)
		}
		if v.Action == Close {
			return
		}
	}
}

func (b *between) note(v Verdict) {
	b.log.Write(v.Log)
	if v.Rule != "" && !v.Refusal.Harmless() {
		b.refused = append(b.refused, fmt.Sprintf("%s: %s to %s: %s", v.Rule, v.Refusal.Op, v.Refusal.To, v.Refusal.Message))
	}
}

func write(w io.Writer, mu *sync.Mutex, f Frame) {
	mu.Lock()
	defer mu.Unlock()
	_ = wire.WriteFrame(w, append(append([]byte{}, f.Head...), f.Payload...))
}

// eval wants an expression to have a value.
func (b *between) eval(at *erltest.Erl, expression, want string) {
	b.t.Helper()
	if got := at.Eval(expression + "."); got != want {
		b.t.Errorf("%s on %s: %s, want %s", expression, at.Node, got, want)
	}
}

// clean wants nothing to have been refused since the last time.
func (b *between) clean(what string, but ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.refused {
		if rule, _, _ := strings.Cut(r, ":"); !slices.Contains(but, rule) {
			b.t.Errorf("%s: refused by %s", what, r)
		}
	}
	b.refused = nil
}

// taken are the rules that refused something since the last time.
func (b *between) taken(rule string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.refused {
		if strings.HasPrefix(r, rule+":") {
			b.refused = nil
			return
		}
	}
	b.t.Errorf("nothing was refused by %s, but %v", rule, b.refused)
}

func TestRealNodesWorkTogether(t *testing.T) {
	b := connect(t, granted())
	g, h := "'"+b.guest.Node+"'", "'"+b.host.Node+"'"
	b.eval(b.guest, "net_adm:ping("+h+")", "pong")
	b.eval(b.host, "net_adm:ping("+g+")", "pong")
	b.eval(b.host, "nodes()", "["+b.guest.Node+"]")
	b.eval(b.host, "rpc:call("+g+", erlang, '+', [1, 2])", "3")
	b.eval(b.host, "erpc:call("+g+", erlang, '+', [1, 2])", "3")
	b.eval(b.host, "erpc:multicall(["+g+"], erlang, '+', [1, 2])", "[{ok,3}]")
	b.eval(b.host, "rpc:multicall(["+g+"], erlang, '+', [1, 2])", "{[3],[]}")
	b.eval(b.host, "rpc:block_call("+g+", erlang, '+', [1, 2])", "3")
	b.eval(b.host, "try erpc:call("+g+", erlang, error, [x]) catch error:{exception, E1, _} -> E1 end", "x")
	b.eval(b.host, "is_list(gen_server:call({application_controller, "+g+"}, which_applications))", "true")
	b.eval(b.host, "is_list(rpc:call("+g+", application, which_applications, []))", "true")
	b.eval(b.host, "{[{"+g+", L}], []} = gen_server:multi_call(["+g+"], application_controller, which_applications, 3000), is_list(L)", "true")
	b.eval(b.host, "is_tuple(sys:get_status({application_controller, "+g+"}))", "true")
	b.eval(b.host, "byte_size(rpc:call("+g+", binary, copy, [<<0>>, 5000000]))", "5000000")
	b.eval(b.host, "byte_size(rpc:call("+g+", erlang, list_to_binary, [[binary:copy(<<0>>, 5000000)]]))", "5000000")
	b.clean("calls")

	b.eval(b.host, "{_, R1} = spawn_monitor("+g+", fun() -> exit(done) end), receive {'DOWN', R1, _, _, W1} -> W1 end", "done")
	b.eval(b.host, "process_flag(trap_exit, true), P2 = spawn_link("+g+", fun() -> exit(over) end), receive {'EXIT', P2, W2} -> W2 end", "over")
	b.eval(b.host, "P3 = spawn_link("+g+", timer, sleep, [infinity]), unlink(P3), link(P3), exit(P3, kill), receive {'EXIT', P3, W3} -> W3 end", "killed")
	b.eval(b.host, "R4 = monitor(process, {no_such, "+g+"}), receive {'DOWN', R4, _, _, W4} -> W4 end", "noproc")
	b.eval(b.host, "P5 = spawn("+g+", timer, sleep, [infinity]), R5 = monitor(process, P5), demonitor(R5, [flush]), exit(P5, kill), is_pid(P5)", "true")
	b.clean("links and monitors")

	b.eval(b.host, "erpc:call("+g+", io, format, [\"hello ~p~n\", [{from, guest}]])", "ok")
	b.eval(b.host, "erpc:call("+g+", io, get_line, [\"? \"])", "{error,enotsup}")
	b.eval(b.host, "erpc:call("+g+", fun() -> logger:error(\"bad ~p\", [thing]), ok end)", "ok")
	b.clean("output")
	if !strings.Contains(b.log.String(), "hello {from,guest}\n") {
		t.Errorf("logged %q", b.log.String())
	}
	b.eval(b.host, "global:sync()", "ok")
	b.eval(b.guest, "global:sync()", "ok")
	b.clean("global")
}

func TestRealPubSub(t *testing.T) {
	b := connect(t, granted())
	for _, n := range []*erltest.Erl{b.guest, b.host} {
		b.eval(n, "{ok, _} = pg:start('Elixir.Phoenix.PubSub'), M = self(), "+
			"W = spawn(fun F() -> receive {forward_to_local, _, X, _} -> M ! {got, X}, F() end end), "+
			"register(worker, W), pg:join('Elixir.Phoenix.PubSub', '"+adapter+"', W), pg:join('Elixir.Phoenix.PubSub', 'Elixir.Private', W)", "ok")
	}
	until := func(group string) string {
		return "(fun F(0) -> none; F(K) -> case [P || P <- pg:get_members('Elixir.Phoenix.PubSub', '" + group + "'), node(P) =/= node()] of [P] -> {ok, P}; [] -> receive after 20 -> F(K-1) end end end)"
	}
	send := func(n *erltest.Erl, message string) {
		n.Eval("{ok, Peer} = " + until(adapter) + "(250), Peer ! {forward_to_local, <<\"room:1\">>, " + message + ", 'Elixir.Phoenix.PubSub'}.")
	}
	get := "receive {got, G} -> G after 5000 -> nothing end"
	send(b.guest, "{hi, host}")
	b.eval(b.host, "(fun() -> "+get+" end)()", "{hi,host}")
	send(b.host, "{hi, guest}")
	b.eval(b.guest, "(fun() -> "+get+" end)()", "{hi,guest}")
	b.clean("broadcasts", ruleGroup) // the private one is named in what a server announces
	b.eval(b.guest, until("Elixir.Private")+"(5)", "none")
	b.eval(b.host, until("Elixir.Private")+"(5)", "none")

	// The group server of the host does not hear of what it could not bear.
	b.eval(b.guest, "{'Elixir.Phoenix.PubSub', '"+b.host.Node+"'} ! junk, pg:leave('Elixir.Phoenix.PubSub', 'Elixir.Private', whereis(worker))", "ok")
	send(b.guest, "{system, {self(), make_ref()}, get_state}")
	send(b.guest, "still_here")
	b.eval(b.host, "(fun() -> "+get+" end)()", "still_here")
	b.taken(rulePG)

	// A node may have processes leave that never joined.
	group := "'Elixir.Phoenix.PubSub', '" + adapter + "'"
	members := func(n string) string {
		return "(fun F(0) -> never; F(K) -> case length(pg:get_members(" + group + ")) of " + n + " -> " + n + "; _ -> receive after 20 -> F(K-1) end end end)(250)"
	}
	b.eval(b.guest, "pg:join("+group+", self())", "ok")
	b.eval(b.host, members("3"), "3")
	b.eval(b.guest, "pg:leave("+group+", [self(), spawn(timer, sleep, [1])])", "ok")
	b.eval(b.host, members("2"), "2")
	b.eval(b.guest, "exit(whereis(worker), kill), ok", "ok")
	b.eval(b.host, "(fun F(0) -> still; F(K) -> case pg:get_members('Elixir.Phoenix.PubSub', '"+adapter+"') of [_] -> gone; _ -> receive after 20 -> F(K-1) end end end)(250)", "gone")
}

// TestRealGroupServersRestart: the process group server of either node may end
// and be started again; both find each other's members once more.
func TestRealGroupServersRestart(t *testing.T) {
	b := connect(t, granted())
	scope := "'" + pubSubScope + "'"
	start := "{ok, _} = pg:start(" + scope + "), W = spawn(timer, sleep, [infinity]), ok = pg:join(" + scope + ", '" + adapter + "', W), ok"
	other := "(fun F(0) -> none; F(K) -> case [P || P <- pg:get_members(" + scope + ", '" + adapter + "'), node(P) =/= node()] of " +
		"[_] -> one; _ -> receive after 20 -> F(K - 1) end end end)(250)"
	b.eval(b.guest, start, "ok")
	b.eval(b.host, start, "ok")
	for _, again := range []*erltest.Erl{b.guest, b.host, b.guest} {
		b.eval(b.host, other, "one")
		b.eval(b.guest, other, "one")
		b.eval(again, "R = monitor(process, whereis("+scope+")), exit(whereis("+scope+"), kill), receive {'DOWN', R, _, _, W} -> W end", "killed")
		b.eval(again, start, "ok")
	}
	b.eval(b.host, other, "one")
	b.eval(b.guest, other, "one")
	b.clean("group servers")
}

func TestRealGuestIsDenied(t *testing.T) {
	b := connect(t, granted())
	h := "'" + b.host.Node + "'"
	for _, tc := range []struct{ expression, want, rule string }{
		{"catch erpc:call(" + h + ", os, getpid, [])", "{'EXIT',{{erpc,notsup},[", ""},
		{"rpc:call(" + h + ", os, getpid, [])", "{badrpc,", ""},
		{"rpc:cast(" + h + ", os, cmd, [\"true\"])", "true", ""},
		{"catch gen_server:call({application_controller, " + h + "}, which_applications, 2000)", "{'EXIT',{noproc,", ruleMonitor},
		{"catch gen_server:call({rex, " + h + "}, {call, os, getpid, [], self()}, 2000)", "{'EXIT',{", ruleMonitor},
		{"R = monitor(process, {init, " + h + "}), receive {'DOWN', R, _, _, Why} -> Why end", "noproc", ruleMonitor},
		{"{init, " + h + "} ! {stop, stop}", "{stop,stop}", ruleName},
		{"{inbox, " + h + "} ! {hi, fun lists:map/2}", "{hi,fun lists:map/2}", ruleFun},
		{"{user, " + h + "} ! {io_request, self(), x, {put_chars, unicode, os, cmd, [\"true\"]}}", "{io_request", ruleName},
	} {
		if got := b.guest.Eval(tc.expression + "."); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: %s, want %s", tc.expression, got, tc.want)
		}
		b.guest.Eval("net_adm:ping(" + h + ").") // behind it on the same link
		if tc.rule != "" {
			b.taken(tc.rule)
		}
	}
	b.eval(b.guest, "erlang:nodes()", "["+b.host.Node+"]")
	b.eval(b.host, "length(nodes())", "1")
}

func TestRealCallsToGrantedNames(t *testing.T) {
	b := connect(t, granted())
	b.host.Eval("register(stats, spawn(fun F() -> receive {'$gen_call', From, {get, X}} -> gen_server:reply(From, {value, X}), F(); {'$gen_cast', {put, Y}} -> put(y, Y), F() end end)).")
	for i := range 3 {
		b.eval(b.guest, fmt.Sprintf("gen_server:call({stats, '%s'}, {get, a%d})", b.host.Node, i), fmt.Sprintf("{value,a%d}", i))
	}
	b.eval(b.guest, "gen_server:cast({stats, '"+b.host.Node+"'}, {put, 1})", "ok")
	b.clean("granted calls")
	b.guest.Eval("R = monitor(process, {stats, '" + b.host.Node + "'}), ok.")
	b.guest.Eval("net_adm:ping('" + b.host.Node + "').") // its answer comes when the monitor stands
	b.eval(b.host, "exit(whereis(stats), kill)", "true")
	b.eval(b.guest, "receive {'DOWN', R, _, _, Why} -> Why after 5000 -> nothing end", "killed")
}
