//go:build integration

package gateway

import (
	"fmt"
	"strings"
	"testing"

	"beamsandbox/policy"
)

// attack is something a guest's BEAM does to the host VM. In code and effect
// H is the host's name, VICTIM its process gwvictim as bytes.
type attack struct {
	name   string
	code   string // run in the guest
	effect string // true on the host VM when the attack worked
	rule   string // one that must have counted it
	mine   bool   // the effect is code's own value, seen in the guest
}

func attacks(dir string) []attack {
	env := func(n int) string { return fmt.Sprintf("application:get_env(kernel, pwn%d) =/= undefined", n) }
	set := func(n int) string { return fmt.Sprintf("application, set_env, [kernel, pwn%d, 1]", n) }
	told := "lists:any(fun(M) -> %s end, gwsink:told())"
	return []attack{
		{name: "2 call to rex", code: "catch gen_server:call({rex, H}, {call, " + set(2) + ", group_leader()}, 1000)", effect: env(2), rule: "name"},
		{name: "2 cast to rex", code: "gen_server:cast({rex, H}, {cast, " + set(21) + ", group_leader()})", effect: env(21), rule: "name"},
		{name: "3 relayed by rex", code: "{rex, H} ! {self(), {sbcast, gwsink, relayed}}", effect: fmt.Sprintf(told, "M =:= relayed"), rule: "name"},
		{name: "4 spawn of net_kernel", code: "catch gen_server:call({net_kernel, H}, {spawn, " + set(4) + ", group_leader()}, 1000)", effect: env(4), rule: "name"},
		{name: "6 child of a supervisor", code: "catch gen_server:call({kernel_sup, H}, {start_child, #{id => x, restart => temporary, start => {" + set(6) + "}}}, 1000)", effect: env(6), rule: "name"},
		{name: "7 function in output", code: "{user, H} ! {io_request, self(), make_ref(), {put_chars, unicode, " + set(7) + "}}", effect: env(7), rule: "name"},
		{name: "8 code", code: "{ok, _, B} = compile:forms([{attribute, 1, module, pwn8}]), {code_server, H} ! {code_call, self(), {load_binary, pwn8, \"x\", B}}", effect: "code:is_loaded(pwn8) =/= false", rule: "name"},
		{name: "9 file", code: "catch gen_server:call({file_server_2, H}, {write_file, \"" + dir + "/pwn9\", <<\"x\">>}, 1000)", effect: "filelib:is_file(\"" + dir + "/pwn9\")", rule: "name"},
		{name: "10 cookie", code: "(catch gen_server:call({auth, H}, {get_cookie, node()}, 1000)) =:= '" + clusterCookie + "'", mine: true, rule: "name"},
		{name: "11 state", code: "is_tuple(catch sys:get_state({kernel_sup, H}, 1000)) andalso element(1, (catch sys:get_state({kernel_sup, H}, 1000))) =:= state", mine: true, rule: "name"},
		{name: "13 configuration", code: "catch gen_server:call({application_controller, H}, {set_env, kernel, pwn13, 1, []}, 1000)", effect: env(13), rule: "name"},
		{name: "15 kill of a pid made of numbers", code: "exit(VICTIM, kill)", effect: "whereis(gwvictim) =:= undefined", rule: "exit"},
		{name: "16 link and die", code: "spawn(fun() -> link(VICTIM), timer:sleep(50), exit(boom) end)", effect: "whereis(gwvictim) =:= undefined", rule: "link"},
		{name: "17 group leader", code: "group_leader(self(), VICTIM)", effect: "node(element(2, process_info(whereis(gwvictim), group_leader))) =/= node()", rule: "group-leader"},
		{name: "18 monitor", code: "spawn(fun() -> monitor(process, {gwvictim, H}), timer:sleep(5000) end)", effect: "element(2, process_info(whereis(gwvictim), monitored_by)) =/= []", rule: "monitor"},
		{name: "23 fun", code: "{gwsink, H} ! fun pwn23:pwn23/0", effect: fmt.Sprintf(told, "is_function(M)"), rule: "fun"},
		{name: "27 topic", code: "{'Elixir.P.Adapter', H} ! {forward_to_local, 27, x, 'Elixir.Phoenix.PubSub'}", effect: fmt.Sprintf(told, "is_tuple(M) andalso tuple_size(M) =:= 4 andalso element(2, M) =:= 27"), rule: "topic"},
		{name: "27 dispatcher", code: "{'Elixir.P.Adapter', H} ! {forward_to_local, <<\"t\">>, x, lists}", effect: fmt.Sprintf(told, "is_tuple(M) andalso tuple_size(M) =:= 4 andalso element(4, M) =:= lists"), rule: "dispatcher"},
		{name: "28 system message in a broadcast", code: "{'Elixir.P.Adapter', H} ! {forward_to_local, <<\"t\">>, {system, {self(), make_ref()}, get_state}, 'Elixir.Phoenix.PubSub'}", effect: fmt.Sprintf(told, "is_tuple(M) andalso tuple_size(M) =:= 4 andalso is_tuple(element(3, M))"), rule: "shape"},
		{name: "30 group of another app", code: "(whereis(gwscope) =/= undefined) orelse element(1, pg:start(gwscope)), timer:sleep(100), pg:join(gwscope, others, spawn(fun() -> timer:sleep(60000) end))", effect: "gwsink:joined(others)", rule: "group"},
		{name: "26 junk for pg", code: "{gwscope, H} ! junk", effect: "gwsink:scope() =/= whereis(gwscope)", rule: "pg"},
		{name: "22 atoms", code: "[{gwsink, H} ! [list_to_atom(\"pwn_\" ++ integer_to_list(M) ++ [$_ | integer_to_list(N)]) || N <- lists:seq(1, 100)] || M <- lists:seq(1, 50)]", effect: "try is_atom(list_to_existing_atom(\"pwn_50_100\")) catch _:_ -> false end", rule: "atoms"},
	}
}

// sinkSource is a process of the host that guests may send to, and that
// remembers what it was told; it plays PubSub's adapter, too.
const sinkSource = `
-module(gwsink).
-export([start/0, told/0, scope/0, joined/1, victim/0]).
start() ->
    S = self(),
    P = spawn(fun() ->
        register(gwsink, self()), register('Elixir.P.Adapter', spawn(fun adapter/0)),
        {ok, _} = pg:start(gwscope), {ok, _} = pg:start('Elixir.Phoenix.PubSub'),
        S ! ready, loop(whereis(gwscope), []) end),
    receive ready -> P end.
loop(Scope, L) ->
    receive
        {ask, told, P} -> P ! {told, L}, loop(Scope, L);
        {ask, scope, P} -> P ! {told, Scope}, loop(Scope, L);
        M -> loop(Scope, [M | L])
    end.
adapter() -> receive M -> gwsink ! M, adapter() end.
told() -> ask(told).
scope() -> ask(scope).
ask(What) -> gwsink ! {ask, What, self()}, receive {told, L} -> L after 5000 -> exit(timeout) end.
joined(G) -> lists:any(fun(P) -> node(P) =/= node() end, pg:get_members(gwscope, G)).
victim() ->
    case whereis(gwvictim) of
        undefined -> register(gwvictim, spawn(fun() -> receive stop -> ok end end));
        _ -> true
    end,
    lists:flatten(io_lib:format("~w", [term_to_binary(whereis(gwvictim))])).
`

// attackMessages is a policy as an operator would write it for a real app.
func attackMessages(mode policy.Mode) policy.Messages {
	return policy.Messages{
		Mode:    mode,
		PubSubs: []policy.PubSub{{Name: "Elixir.P", Topics: []string{"t"}}},
		Groups:  []policy.Groups{{Scope: "gwscope", Names: []string{"own"}}},
		Allow:   []policy.Allow{{To: "gwsink", Kind: policy.Info}},
	}
}

// TestAttacks runs each attack twice: where nothing is judged it works, so the
// test is known to be able to fail; where it is judged it does nothing.
func TestAttacks(t *testing.T) {
	for _, mode := range []policy.Mode{policy.Trusted, policy.Enforce} {
		t.Run(string(mode), func(t *testing.T) {
			s := newStage(t)
			s.module("gwsink", sinkSource)
			s.onHost("is_pid(gwsink:start())")
			innocent := s.member("gwinnocent").boot().join()
			s.onHost("gwt:watch()")
			g := s.member("gwattacker")
			g.member.Messages = attackMessages(mode)
			s.set(g.member)
			g.boot().join()
			for _, a := range attacks(t.TempDir()) {
				t.Run(a.name, func(t *testing.T) {
					own, guest := *s, *g
					own.t, guest.s = t, &own
					own.attacked(&guest, a, mode == policy.Trusted)
				})
			}
			if mode == policy.Trusted {
				return
			}
			if got := s.onHost("net_adm:ping('" + innocent.node + "')"); got != "pong" {
				t.Errorf("the innocent guest: %s", got)
			}
			if got := s.onHost("[E || {nodedown, _} = E <- gwt:seen()]"); got != "[]" {
				t.Errorf("links ended: %s", got)
			}
		})
	}
}

// attacked runs one attack and says whether it did what it should not.
func (s *stage) attacked(g *guest, a attack, works bool) {
	s.t.Helper()
	before := g.status().Refused[a.rule]
	r := strings.NewReplacer("H}", "'gwhost@"+s.short+"'}", "H,", "'gwhost@"+s.short+"',", "VICTIM", "binary_to_term(<<"+s.victim()+">>)")
	value := strings.TrimSuffix(strings.TrimPrefix(g.on("{done, begin "+r.Replace(a.code)+" end}"), "{done,"), "}")
	g.on(fmt.Sprintf("{gwsink, 'gwhost@%s'} ! {barrier, %q}, ok", s.short, a.name))
	s.eventually("what the guest says last", "true", func() string {
		return s.onHost(fmt.Sprintf("lists:member({barrier, %q}, gwsink:told())", a.name))
	})
	effect := func() string {
		if a.mine {
			return value
		}
		return s.onHost(a.effect)
	}
	if works {
		s.eventually(a.name+" has an effect where nothing is judged", "true", effect)
		return
	}
	s.eventually(a.name+" is counted by rule "+a.rule, "true", func() string { return fmt.Sprint(g.status().Refused[a.rule] > before) })
	if effect() == "true" {
		s.t.Errorf("%s worked; refused %v", a.name, g.status().Refused)
	}
}

// victim is the host's process gwvictim as the bytes of its identifier.
func (s *stage) victim() string {
	s.t.Helper()
	return strings.Trim(s.onHost("list_to_binary(gwsink:victim())"), "<>\"")
}
