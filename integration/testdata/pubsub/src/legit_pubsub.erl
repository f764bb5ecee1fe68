%% What Phoenix.PubSub and its adapter for pg put on the wire: the scope, the
%% groups and names of the workers, and the messages. Subscribers are local.
-module(legit_pubsub).
-behaviour(supervisor).
-export([start_link/2, subscribe/2, broadcast/4, direct_broadcast/5, through/3, adapters/1, peers/2]).
-export([init/1, start_worker/2, worker/2]).

-define(SCOPE, 'Elixir.Phoenix.PubSub').

start_link(Name, Pool) ->
    supervisor:start_link({local, suffix(Name, ".Supervisor")}, ?MODULE, {Name, Pool}).

init({Name, Pool}) ->
    Adapter = suffix(Name, ".Adapter"),
    Groups = [Adapter | [suffix(Adapter, "_" ++ integer_to_list(N)) || N <- lists:seq(2, Pool)]],
    persistent_term:put(Adapter, list_to_tuple(Groups)),
    Registry = ets:new(registry, [duplicate_bag, public]),
    persistent_term:put({?MODULE, Name}, Registry),
    {ok, {#{strategy => one_for_one}, [#{id => G, start => {?MODULE, start_worker, [G, Registry]}} || G <- Groups]}}.

start_worker(Group, Registry) ->
    {ok, proc_lib:spawn_link(?MODULE, worker, [Group, Registry])}.

worker(Group, Registry) ->
    true = register(Group, self()),
    ok = pg:join(?SCOPE, Group, self()),
    serve(Registry).

serve(Registry) ->
    receive
        {forward_to_local, Topic, Message, Dispatcher} ->
            true = is_binary(Topic),
            dispatch(Dispatcher, Registry, Topic, Message),
            serve(Registry);
        _ ->
            serve(Registry)
    end.

%% Both dispatchers of Phoenix hand Message to every subscriber.
dispatch(Dispatcher, Registry, Topic, Message)
  when Dispatcher =:= 'Elixir.Phoenix.PubSub'; Dispatcher =:= 'Elixir.Phoenix.Channel.Server' ->
    [Pid ! Message || {_, Pid} <- ets:lookup(Registry, Topic)].

subscribe(Name, Topic) ->
    true = ets:insert(persistent_term:get({?MODULE, Name}), {Topic, self()}),
    ok.

broadcast(Name, Topic, Message, Dispatcher) ->
    [Pid ! {forward_to_local, Topic, Message, Dispatcher} || Pid <- pg:get_members(?SCOPE, group(Name)), node(Pid) =/= node()],
    dispatch(Dispatcher, persistent_term:get({?MODULE, Name}), Topic, Message),
    ok.

direct_broadcast(Name, Node, Topic, Message, Dispatcher) ->
    {group(Name), Node} ! {forward_to_local, Topic, Message, Dispatcher},
    ok.

%% The worker that a process broadcasts through depends on its pid.
group(Name) ->
    Groups = persistent_term:get(suffix(Name, ".Adapter")),
    element(1 + erlang:phash2(self(), tuple_size(Groups)), Groups).

%% Runs Fun in a process that broadcasts through worker N of PubSub Name.
through(Name, N, Fun) ->
    Adapter = lists:nth(N, adapters(Name)),
    {Pid, Ref} = spawn_monitor(fun() ->
        case group(Name) of
            Adapter -> exit({done, Fun()});
            _ -> exit(another)
        end
    end),
    receive
        {'DOWN', Ref, process, Pid, another} -> through(Name, N, Fun);
        {'DOWN', Ref, process, Pid, {done, Value}} -> Value
    end.

adapters(Name) ->
    tuple_to_list(persistent_term:get(suffix(Name, ".Adapter"))).

%% How many workers of Node each of the PubSub's groups has.
peers(Name, Node) ->
    [length([P || P <- pg:get_members(?SCOPE, G), node(P) =:= Node]) || G <- adapters(Name)].

suffix(Name, Suffix) -> list_to_atom(atom_to_list(Name) ++ Suffix).
