%% A name at the port mapper behind which nobody speaks the protocol: who dials
%% it springs the trap.
-module(attack_trap).
-behaviour(gen_server).

-export([start_link/0, node_name/0, sprung/0, init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(NAME, "attack_trap").

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

node_name() ->
    [_, Host] = string:split(atom_to_list(node()), "@"),
    list_to_atom(?NAME ++ "@" ++ Host).

sprung() ->
    gen_server:call(?MODULE, sprung).

init([]) ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {active, false}]),
    {ok, Port} = inet:port(Socket),
    {ok, Mapper} = gen_tcp:connect({127, 0, 0, 1}, 4369, [binary, {active, false}, {packet, 2}]),
    %% ALIVE2_REQ (erl_dist_protocol): port, type, protocol, versions, name.
    ok = gen_tcp:send(Mapper, <<120, Port:16, 77, 0, 6:16, 5:16, (length(?NAME)):16, ?NAME, 0:16>>),
    Self = self(),
    spawn_link(fun() -> wait(Socket, Self) end),
    {ok, #{sprung => false, sockets => [Socket, Mapper]}}.

wait(Socket, Server) ->
    {ok, Dialed} = gen_tcp:accept(Socket),
    Server ! sprung,
    gen_tcp:close(Dialed),
    wait(Socket, Server).

handle_call(sprung, _, #{sprung := Sprung} = S) -> {reply, Sprung, S};
handle_call(forget, _, S) -> {reply, ok, S#{sprung := false}}.

handle_cast(_, S) -> {noreply, S}.

handle_info(sprung, S) -> {noreply, S#{sprung := true}}.
