//go:build integration

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"beamsandbox/integration/stage"
)

// line is one thing that well-behaved nodes do, with the value that it has.
// What a guest does to the host VM begins with "guest:".
type line struct{ code, want string }

// calls are what hosts ask of guests, and guests of the names that they are
// granted.
var calls = []line{
	{"net_adm:ping(GUEST)", "pong"},
	{"guest: net_adm:ping(HOST)", "pong"},
	{"guest: nodes()", "[HOST]"},
	{"rpc:call(GUEST, erlang, node, [])", "GUEST"},
	{"rpc:call(GUEST, erlang, '+', [1, 2], 5000)", "3"},
	{"element(1, rpc:call(GUEST, erlang, error, [x]))", "badrpc"},
	{"rpc:block_call(GUEST, erlang, '+', [1, 2])", "3"},
	{"rpc:yield(rpc:async_call(GUEST, erlang, '+', [1, 2]))", "3"},
	{"rpc:multicall([GUEST], erlang, '+', [1, 2])", "{[3],[]}"},
	{"rpc:cast(GUEST, erlang, put, [a, b])", "true"},
	{"erpc:call(GUEST, erlang, '+', [1, 2])", "3"},
	{"erpc:multicall([GUEST], erlang, '+', [1, 2])", "[{ok,3}]"},
	{"erpc:receive_response(erpc:send_request(GUEST, erlang, '+', [1, 2]))", "3"},
	{"try erpc:call(GUEST, erlang, error, [x]) catch error:{exception, E, _} -> E end", "x"},
	{"try erpc:call(GUEST, erlang, throw, [x]) catch throw:T -> T end", "x"},
	{"try erpc:call(GUEST, erlang, exit, [x]) catch exit:{exception, X} -> X end", "x"},
	{"try erpc:call(GUEST, timer, sleep, [infinity], 50) catch error:{erpc, Y} -> Y end", "timeout"},
	{"lists:keymember(kernel, 1, rpc:call(GUEST, application, which_applications, []))", "true"},
	{"rpc:call(GUEST, application, set_env, [kernel, legit, [1.5, #{a => <<5>>}]])", "ok"},
	{"rpc:call(GUEST, application, get_env, [kernel, legit])", "{ok,[1.5,#{a => <<5>>}]}"},
	{"rpc:call(GUEST, application, load, [{application, legit_late, [{vsn, \"1\"}, {applications, [kernel, stdlib]}]}])", "ok"},
	{"rpc:call(GUEST, application, ensure_all_started, [legit_late])", "{ok,[legit_late]}"},
	{"rpc:call(GUEST, application, ensure_all_started, [legit_late])", "{ok,[]}"},
	{"{rpc:call(GUEST, application, stop, [legit_late]), rpc:call(GUEST, application, unload, [legit_late])}", "{ok,ok}"},
	{"is_list(rpc:call(GUEST, os, getpid, []))", "true"},
	{"byte_size(erpc:call(GUEST, binary, copy, [<<0>>, 5000000]))", "5000000"},
	{"erpc:call(GUEST, erlang, byte_size, [binary:copy(<<0>>, 5000000)])", "5000000"},
	{"gen_server:call({legit_desk, GUEST}, {get, x})", "{x,GUEST}"},
	{"gen_server:multi_call([GUEST], legit_desk, {get, x}, 5000)", "{[{GUEST,{x,GUEST}}],[]}"},
	{"gen_server:wait_response(gen_server:send_request({legit_desk, GUEST}, {get, x}), 5000)", "{reply,{x,GUEST}}"},
	{"guest: legit_desk:heard(), ok", "ok"}, // its state tells of no host VM that is gone
	{"is_tuple(sys:get_status({legit_desk, GUEST}))", "true"},
	{"guest: gen_server:call({legit_desk, HOST}, {get, x})", "{x,HOST}"},
	{"guest: [gen_server:call({legit_desk, HOST}, {get, x}) || _ <- [1, 2, 3]]", "[{x,HOST},{x,HOST},{x,HOST}]"},
	{"guest: gen_server:wait_response(gen_server:send_request({legit_desk, HOST}, {get, x}), 5000)", "{reply,{x,HOST}}"},
	{"legit_desk:heard(), ok", "ok"},
	{"guest: gen_server:cast({legit_desk, HOST}, {note, [1, {a, \"b\"}]})", "ok"},
	{"guest: {legit_desk, HOST} ! {note, #{<<\"k\">> => self()}}, ok", "ok"},
	{"guest: gen_server:call({legit_desk, HOST}, {get, x})", "{x,HOST}"}, // behind these two
	{"[{cast, N}, {note, #{<<\"k\">> := P}}] = legit_desk:heard(), {N, node(P)}", "{{note,[1,{a,\"b\"}]},GUEST}"},
}

// together are calls to all guests of a star at once, NODES, each true.
var together = []string{
	"NODES -- nodes() =:= []",
	"{All, []} = rpc:multicall(NODES, erlang, node, []), lists:sort(All) =:= lists:sort(NODES)",
	"{[3, 3, 3], []} =:= rpc:multicall(NODES, erlang, '+', [1, 2], 20000)",
	"[{ok, N} || N <- NODES] =:= erpc:multicall(NODES, erlang, node, [])",
	"{All, []} = gen_server:multi_call(NODES, legit_desk, {get, x}, 20000), lists:sort(All) =:= lists:sort([{N, {x, N}} || N <- NODES])",
	"{[pong, pong, pong], []} =:= rpc:multicall(NODES, net_adm, ping, [node()])",
	"ok =:= erpc:multicast(NODES, erlang, put, [a, b])",
	"abcast =:= gen_server:abcast(NODES, legit_desk, hello)",
	"All = [spawn_monitor(N, timer, sleep, [0]) || N <- NODES], lists:all(fun({P, R}) -> receive {'DOWN', R, process, P, W} -> W =:= normal end end, All)",
}

// bonds are links and monitors that the host makes, and those a grant allows.
var bonds = []line{
	{"{_, R} = spawn_monitor(GUEST, erlang, exit, [done]), receive {'DOWN', R, _, _, W} -> W end", "done"},
	{"process_flag(trap_exit, true), P = spawn_link(GUEST, erlang, exit, [over]), receive {'EXIT', P, W} -> W end", "over"},
	{"process_flag(trap_exit, true), P = spawn_link(GUEST, timer, sleep, [infinity]), exit(P, kill), receive {'EXIT', P, W} -> W end", "killed"},
	{"P = spawn_link(GUEST, timer, sleep, [infinity]), unlink(P), exit(P, kill), R = monitor(process, P), receive {'DOWN', R, _, _, W} when W =:= killed; W =:= noproc -> gone end", "gone"},
	{"process_flag(trap_exit, true), P = spawn(GUEST, timer, sleep, [infinity]), link(P), unlink(P), link(P), exit(P, {shutdown, [a]}), receive {'EXIT', P, W} -> W end", "{shutdown,[a]}"},
	{"process_flag(trap_exit, true), P = spawn(GUEST, timer, sleep, [0]), R = monitor(process, P), receive {'DOWN', R, _, _, _} -> link(P) end, receive {'EXIT', P, W} -> W end", "noproc"},
	{"R = monitor(process, {no_such, GUEST}), receive {'DOWN', R, _, {no_such, GUEST}, W} -> W end", "noproc"},
	{"P = erpc:call(GUEST, erlang, whereis, [legit_desk]), R = monitor(process, P), demonitor(R, [flush])", "true"},
	{"P = spawn(GUEST, timer, sleep, [infinity]), true = erpc:call(GUEST, erlang, register, [mortal, P]), R = monitor(process, {mortal, GUEST}), exit(P, kill), receive {'DOWN', R, _, _, W} -> W end", "killed"},
	{"I = spawn_request(GUEST, erlang, exit, [done], [monitor]), receive {spawn_reply, I, ok, P} -> receive {'DOWN', I, process, P, W} -> W end end", "done"},
	{"A = alias([reply]), P = spawn(GUEST, legit_app, eval, [\"receive {A, X} -> A ! {A, X} end.\"]), exit(P, kill), unalias(A)", "true"},
	{"guest: R = monitor(process, {legit_desk, HOST}), demonitor(R, [flush])", "true"},
}

// output is what a guest's code prints under the host's group leader, and logs.
var output = []line{
	{"erpc:call(GUEST, io, format, [\"hello ~p~n\", [{from, GUEST}]])", "ok"},
	{"rpc:call(GUEST, io, put_chars, [<<\"grüß dich\\n\"/utf8>>])", "ok"},
	{"erpc:call(GUEST, io, get_line, [\"? \"])", "{error,enotsup}"},
	{"erpc:call(GUEST, logger, error, [\"bad ~p\", [thing]])", "ok"},
	{"erpc:call(GUEST, error_logger, info_msg, [\"so so~n\"])", "ok"},
}

func (p *pair) try(t *testing.T, lines []line) {
	t.Helper()
	for _, l := range lines {
		on := p.onHost
		code, byGuest := strings.CutPrefix(l.code, "guest: ")
		if byGuest {
			on = p.onGuest
		}
		if got, want := on(t, code), p.wants(t, l.want); got != want {
			t.Errorf("%s: %s is %s, want %s", p.name, l.code, got, want)
		}
	}
}

// printed wants what the lines of output print in the guest's own log.
func (p *pair) printed(t *testing.T) {
	t.Helper()
	var missing []string
	err := stage.Until(within(t, time.Minute), "the log has it", func() bool {
		log, _ := w.Ctl("logs", p.name)
		missing = slices.DeleteFunc([]string{"hello {from," + w.Node(p.name) + "}", "grüß dich", "bad thing"}, func(want string) bool {
			return strings.Contains(log, want)
		})
		return len(missing) == 0
	})
	if err != nil {
		t.Errorf("%s: its log lacks %q", p.name, missing)
	}
}

// synced wants global's sync, which waits for every node, to return.
func (p *pair) synced(t *testing.T) {
	t.Helper()
	p.try(t, []line{{"global:sync()", "ok"}, {"guest: global:sync()", "ok"}})
}

// pubsubs are those that guest and host share, with the sizes of their pools.
func (p *pair) pubsubs() map[string]int {
	if p.name == "other" {
		return map[string]int{"'Elixir.Demo.Own'": 1}
	}
	return map[string]int{"'Elixir.Demo.One'": 1, "'Elixir.Demo.Two'": 2}
}

// broadcasts tries each PubSub both ways, through each of its workers, by
// broadcast and direct broadcast, plain and as a Phoenix channel's event.
func (p *pair) broadcasts(t *testing.T) {
	t.Helper()
	for name, pool := range p.pubsubs() {
		p.try(t, []line{{fmt.Sprintf("legit_app:add(%s, %d)", name, pool), "ok"}})
		each := "[" + strings.TrimSuffix(strings.Repeat("1,", pool), ",") + "]"
		p.eventually(t, p.onHost, "legit_pubsub:peers("+name+", GUEST)", each)
		p.eventually(t, p.onGuest, "legit_pubsub:peers("+name+", HOST)", each)
		for worker := range pool {
			p.broadcast(t, p.onGuest, p.onHost, "HOST", name, worker+1)
			p.broadcast(t, p.onHost, p.onGuest, "GUEST", name, worker+1)
		}
	}
}

// channelEvent is what Phoenix.Channel broadcasts.
const channelEvent = `#{'__struct__' => 'Elixir.Phoenix.Socket.Broadcast', topic => <<"room:1">>,
  event => <<"new_msg">>, payload => #{<<"body">> => [<<"hi">>, 1.5, nil, true]}}`

// broadcast sends through one worker of the sender's pool, and wants node to
// hear it.
func (p *pair) broadcast(t *testing.T, from, to func(*testing.T, string) string, node, pubsub string, worker int) {
	t.Helper()
	dispatcher := "'Elixir.Phoenix.Channel.Server'"
	if p.name == "north" && pubsub == "'Elixir.Demo.One'" {
		dispatcher = "'Elixir.Phoenix.PubSub'" // its own components grant no channels
	}
	to(t, "legit_desk:heard()")
	send := strings.NewReplacer("NAME", pubsub, "NODE", node, "WORKER", fmt.Sprint(worker), "EVENT", channelEvent, "DISPATCHER", dispatcher)
	from(t, send.Replace(`legit_pubsub:through(NAME, WORKER, fun() ->
		legit_pubsub:broadcast(NAME, <<"stats:updates">>, {stats, #{count => WORKER}}, 'Elixir.Phoenix.PubSub'),
		legit_pubsub:broadcast(NAME, <<"room:1">>, EVENT, DISPATCHER),
		legit_pubsub:direct_broadcast(NAME, NODE, <<"room:1">>, {direct, self()}, 'Elixir.Phoenix.PubSub') end)`))
	want := fmt.Sprintf(`[{stats,#{count => %d}},<<"new_msg">>,true]`, worker)
	got := to(t, `[case M of {direct, P} -> node(P) =/= node(); #{event := E} -> E; _ -> M end || M <- legit_desk:heard(3)]`)
	if got != want {
		t.Errorf("%s: %s through worker %d to %s: heard %s, want %s", p.name, pubsub, worker, node, got, want)
	}
}

// trackerDelta is what Phoenix.Tracker broadcasts when somebody has come: the
// presence of a process under a key, with clocks of each replica.
const trackerDelta = `{pub, heartbeat, {<<"replica@1">>, 1700000000000001}, #{'__struct__' => 'Elixir.Phoenix.Tracker.State', mode => delta,
  replica => {<<"replica@1">>, 1}, values => #{{{<<"replica@1">>, 1}, 7} => {self(), <<"room:1">>, <<"user:1">>, #{phx_ref => <<"F2x">>, online_at => 1700000000}}},
  clouds => #{{<<"replica@1">>, 1} => [{{<<"replica@1">>, 1}, 7}]}, context => #{{<<"replica@1">>, 1} => 7}, delta => unset, pids => nil,
  range => {#{{<<"replica@1">>, 1} => 6}, #{{<<"replica@1">>, 1} => 7}}}, #{{<<"replica@1">>, 1} => 7}}`

// tracks tries what presences are kept by, both ways.
func (p *pair) tracks(t *testing.T) {
	t.Helper()
	const send = "legit_pubsub:broadcast('Elixir.Demo.Two', <<\"phx_presence:Elixir.Demo.Presence\">>, " + trackerDelta + ", 'Elixir.Phoenix.PubSub')"
	const heard = "[{pub, heartbeat, {_, _}, #{values := V}, #{}}] = legit_desk:heard(1), [{P, T, K, M}] = maps:values(V), {node(P), T, K, lists:sort(maps:to_list(M))}"
	for node, way := range map[string][2]func(*testing.T, string) string{"GUEST": {p.onGuest, p.onHost}, "HOST": {p.onHost, p.onGuest}} {
		way[1](t, "legit_desk:heard()")
		way[0](t, send)
		want := p.wants(t, "{"+node+",<<\"room:1\">>,<<\"user:1\">>,[{online_at,1700000000},{phx_ref,<<\"F2x\">>}]}")
		if got := way[1](t, heard); got != want {
			t.Errorf("%s: of a presence from %s was heard %s, want %s", p.name, node, got, want)
		}
	}
}

// comesAndGoes ends the workers of a PubSub and starts them again, first in the
// guest, then in the host VM: the other side forgets them, and finds the new ones.
func (p *pair) comesAndGoes(t *testing.T) {
	t.Helper()
	const name = "'Elixir.Demo.Two'"
	for node, way := range map[string][2]func(*testing.T, string) string{"GUEST": {p.onGuest, p.onHost}, "HOST": {p.onHost, p.onGuest}} {
		peers := "legit_pubsub:peers(" + name + ", " + node + ")"
		way[0](t, "ok = supervisor:terminate_child(legit_app, "+name+")")
		p.eventually(t, way[1], peers, "[0,0]")
		way[0](t, "{ok, _} = supervisor:restart_child(legit_app, "+name+"), ok = gen_server:call(legit_desk, {listen, "+name+"})")
		p.eventually(t, way[1], peers, "[1,1]")
	}
	p.broadcasts(t)
}
