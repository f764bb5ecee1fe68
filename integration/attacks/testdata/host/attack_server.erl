%% One process of the host VM that remembers what it was told. The adapter's
%% does what Phoenix.PubSub's does with a broadcast.
-module(attack_server).
-behaviour(gen_server).

-export([start_link/2, init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(ADAPTER, 'Elixir.Attacked.Adapter').

start_link(Name, Group) ->
    gen_server:start_link({local, Name}, ?MODULE, {Name, Group}, []).

init({Name, Group}) ->
    Group =:= nodes andalso net_kernel:monitor_nodes(true),
    joined(Group),
    {ok, #{name => Name, group => Group, secret => 'of the host', heard => []}}.

%% Once a scope was restarted its members are in no group any more.
joined({Scope, Group}) ->
    lists:member(self(), pg:get_local_members(Scope, Group)) orelse pg:join(Scope, Group, self());
joined(_) ->
    ok.

handle_call(forget, _, #{group := Group} = S) -> joined(Group), {reply, ok, S#{heard := []}, hibernate};
handle_call(alias, _, S) -> {reply, alias(), S};
handle_call(heard, _, #{heard := H} = S) -> {reply, H, S}.

handle_cast(_, S) -> {noreply, S}.

handle_info({forward_to_local, Topic, Message, Dispatcher}, #{name := ?ADAPTER} = S) when is_binary(Topic), is_atom(Dispatcher) ->
    Dispatcher:dispatch(subscribers(Topic), none, Message),
    {noreply, S};
handle_info(#{event := <<"disconnect">>}, #{name := attack_socket} = S) ->
    {stop, normal, S};
handle_info(Message, #{name := Name, heard := H} = S) when Name =/= ?ADAPTER ->
    {noreply, S#{heard := [Message | H]}}.

subscribers(<<"room:", _/binary>>) -> [{whereis(attack_socket), nil}];
subscribers(<<"updates">>) -> [{whereis(attack_subscriber), nil}];
subscribers(_) -> [].
