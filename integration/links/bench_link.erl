%% What the two nodes of a measured link do. As the host VM's epmd module it
%% answers with the guest's own address where the link is to be direct.
-module(bench_link).
-export([start/0, ready/1, rtt/3, flood/4, direct/3, relayed/1]).
-export([start_link/0, register_node/2, register_node/3, listen_port_please/2, names/1,
         address_please/3, port_please/2, port_please/3]).

start() ->
    register(bench_echo, spawn(fun echo/0)),
    register(bench_sink, spawn(fun() -> sink(0) end)),
    ok.

%% Whether the guest's processes answer over the link.
ready(Node) -> lists:all(fun(P) -> is_pid(rpc:call(Node, erlang, whereis, [P])) end, [bench_echo, bench_sink]).

%% Answers calls; in the guest, sends floods on demand.
echo() ->
    receive
        {'$gen_call', {P, Ref}, ping} ->
            P ! {Ref, pong};
        {'$gen_call', {P, Ref}, {flood, To, Size, Count}} ->
            send(To, binary:copy(<<7>>, Size), Count),
            P ! {Ref, sent}
    end,
    echo().

send(_, _, 0) -> ok;
send(To, B, N) -> To ! {data, B}, send(To, B, N - 1).

%% Counts what comes; answers once as many came as the asker waits for.
sink(N) ->
    receive
        {data, _} -> sink(N + 1);
        {'$gen_call', From, {await, Count}} -> await(From, Count, N)
    end.

await({P, Ref}, Count, N) when N >= Count -> P ! {Ref, N}, sink(0);
await(From, Count, N) -> receive {data, _} -> await(From, Count, N + 1) end.

%% Round trips of one small call, in nanoseconds, as a binary of 32-bit words.
rtt(Node, Warm, Count) ->
    [ask({bench_echo, Node}, ping) || _ <- lists:seq(1, Warm)],
    << <<(timed(fun() -> ask({bench_echo, Node}, ping) end)):32>> || _ <- lists:seq(1, Count) >>.

timed(F) ->
    T = erlang:monotonic_time(nanosecond),
    F(),
    erlang:monotonic_time(nanosecond) - T.

ask(To, Request) ->
    Ref = make_ref(),
    To ! {'$gen_call', {self(), Ref}, Request},
    receive {Ref, Answer} -> Answer after 20000 -> exit({no_answer, To, Request}) end.

%% Nanoseconds for Count messages of Size bytes, from the guest or to it.
flood(Node, from, Size, Count) ->
    timed(fun() ->
        {bench_echo, Node} ! {'$gen_call', {self(), make_ref()}, {flood, {bench_sink, node()}, Size, Count}},
        Count = ask(bench_sink, {await, Count}),
        receive {_, sent} -> ok end
    end);
flood(Node, to, Size, Count) ->
    B = binary:copy(<<7>>, Size),
    timed(fun() ->
        send({bench_sink, Node}, B, Count),
        Count = ask({bench_sink, Node}, {await, Count})
    end).

%% How the next connection goes: straight to an address, or through the gateway.
direct(Node, Addr, Port) -> via(Node, {ok, Addr, Port, 6}).
relayed(Node) -> via(Node, undefined).

via(Node, How) ->
    erlang:disconnect_node(Node),
    [Name, _] = string:split(atom_to_list(Node), "@"),
    application:set_env(kernel, bench_via, {Name, How}).

start_link() -> erl_epmd:start_link().
register_node(Name, Port) -> erl_epmd:register_node(Name, Port).
register_node(Name, Port, Family) -> erl_epmd:register_node(Name, Port, Family).
listen_port_please(Name, Host) -> erl_epmd:listen_port_please(Name, Host).
names(Host) -> erl_epmd:names(Host).
port_please(Name, Host) -> erl_epmd:port_please(Name, Host).
port_please(Name, Host, Timeout) -> erl_epmd:port_please(Name, Host, Timeout).

address_please(Name, Host, Family) ->
    case application:get_env(kernel, bench_via) of
        {ok, {Name, {ok, _, _, _} = Straight}} -> Straight;
        _ -> erl_epmd:address_please(Name, Host, Family)
    end.
