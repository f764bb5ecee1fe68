%% What a host VM with Phoenix has, made of the parts that matter: a PubSub out
%% of Elixir's own Registry and pg, and a module for telemetry's events.
-module(doctor_host).
-export([pubsub/2, subscribe/2, adapter/2, listen/1, handle/4, heard/0]).

-define(SCOPE, 'Elixir.Phoenix.PubSub').

%% A PubSub as Phoenix.PubSub 2 lays it out: a Registry under its name, which
%% knows its adapter, and a worker in the adapter's group.
pubsub(Name, Adapter) ->
    {ok, _} = application:ensure_all_started(elixir),
    Worker = list_to_atom(atom_to_list(Name) ++ ".Adapter"),
    hold(fun() ->
        {ok, _} = 'Elixir.Registry':start_link([{keys, duplicate}, {name, Name}]),
        _ = pg:start(?SCOPE),
        register(Worker, self()),
        ok = pg:join(?SCOPE, Worker, self())
    end),
    adapter(Name, Adapter).

adapter(Name, Adapter) ->
    Worker = list_to_atom(atom_to_list(Name) ++ ".Adapter"),
    ok = 'Elixir.Registry':put_meta(Name, pubsub, {Adapter, Worker}).

subscribe(Name, Topic) ->
    hold(fun() -> {ok, _} = 'Elixir.Registry':register(Name, Topic, []) end).

%% listen keeps the telemetry events of these names, [[bc_gitops, deploy, stop]].
listen(Events) ->
    hold(fun() -> ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set]) end),
    telemetry:attach_many(?MODULE, Events, fun ?MODULE:handle/4, []).

handle(Event, Measurements, Metadata, _) ->
    ets:insert(?MODULE, {erlang:unique_integer([monotonic]), Event, Measurements, Metadata}).

%% [{Event, Measurements, Metadata}], oldest first
heard() ->
    [{E, M, D} || {_, E, M, D} <- ets:tab2list(?MODULE)].

%% hold runs Fun in a process that stays.
hold(Fun) ->
    Self = self(),
    Pid = spawn(fun() -> Fun(), Self ! {done, self()}, receive stop -> ok end end),
    receive {done, Pid} -> Pid after 5000 -> exit(timeout) end.
