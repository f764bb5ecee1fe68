%% What the attacks are aimed at, in the host VM: processes like those of a real
%% one (a Phoenix.PubSub with a subscriber, a process group scope of several
%% apps), and questions about what became of the VM.
-module(attack_host).
-behaviour(supervisor).

-export([start/0, start_reader/0, init/1, ready/2, probe/2, ran/0, heard/1, grown/2, lost/1, received/1, exports/0, state/0, counts/0]).

-define(SCOPE, attack_scope).
-define(PUBSUB, 'Elixir.Phoenix.PubSub').
-define(TREE, attack_pubsub).
-define(ADAPTER, 'Elixir.Attacked.Adapter').

start() ->
    {ok, Pid} = supervisor:start_link({local, ?MODULE}, ?MODULE, []),
    true = unlink(Pid),
    ok = code:ensure_modules_loaded([?PUBSUB, 'Elixir.Phoenix.Channel.Server']),
    ok = timer:start(),
    ok.

%% The PubSub has a supervisor of its own, with Elixir's defaults.
init([]) ->
    Scope = #{id => ?SCOPE, start => {pg, start_link, [?SCOPE]}},
    Tree = #{id => ?TREE, type => supervisor, start => {supervisor, start_link, [{local, ?TREE}, ?MODULE, pubsub]}},
    Servers = [server(attack_subscriber, none), server(attack_socket, none), server(attack_sink, none),
               server(attack_victim, {?SCOPE, own}), server(attack_changes, nodes)],
    Trap = #{id => attack_trap, start => {attack_trap, start_link, []}},
    Reader = #{id => attack_reader, start => {?MODULE, start_reader, []}},
    {ok, {#{intensity => 1000, period => 1}, [Trap, Reader, Scope, Tree | Servers]}};
init(pubsub) ->
    Scope = #{id => ?PUBSUB, start => {pg, start_link, [?PUBSUB]}},
    {ok, {#{intensity => 3, period => 5}, [Scope, server(?ADAPTER, {?PUBSUB, ?ADAPTER})]}}.

server(Name, Group) -> #{id => Name, start => {attack_server, start_link, [Name, Group]}}.

%% An io server that reads, as one does whose standard input is open.
start_reader() ->
    {ok, Pid} = file:open("/dev/null", [read]),
    true = link(Pid),
    true = register(attack_reader, Pid),
    {ok, Pid}.

%% Forgets what earlier attacks left and returns what the next one may know:
%% the variables of its text. V, K, R and Alias are shown to Guest over its
%% link, under whatever numbers they have there; V0, K0 and R0 are the host's
%% own numbers of the same. Innocent is a guest that does no harm.
ready(Guest, Innocent) ->
    application:unset_env(kernel, ran),
    application:unset_env([], eof),
    _ = application:start(sasl),
    Guest =:= Innocent orelse rpc:call(Guest, attacker, rest, [], 20000) =:= ok orelse exit(no_rest),
    [restarted(N, 500) || N <- names()],
    [forgotten(N, 500) || N <- names() -- [?SCOPE, ?PUBSUB, ?TREE, attack_reader]],
    Own = #{'V' => whereis(attack_victim), 'K' => whereis(kernel_sup), 'R' => whereis(rex), 'Alias' => gen_server:call(attack_victim, alias)},
    Guest =:= Innocent orelse show(Guest, Own),
    [garbage_collect(P) || P <- processes()],
    persistent_term:put(?MODULE, {counts(), [{'Innocent', Innocent}, {'Guest', Guest} | pids()]}),
    [{'H', node()}, {'N', Innocent}, {'M', application}, {'F', set_env}, {'A', [kernel, ran, yes]}, {'Trap', attack_trap:node_name()}
     | maps:to_list(Own)] ++ [{'V0', maps:get('V', Own)}, {'K0', maps:get('K', Own)}, {'R0', maps:get('R', Own)}].

names() -> [?SCOPE, ?PUBSUB, ?TREE, ?ADAPTER, attack_subscriber, attack_socket, attack_sink, attack_victim, attack_changes, attack_trap, attack_reader].

%% Supervisors take a moment.
restarted(Name, Tries) ->
    case whereis(Name) of
        undefined when Tries > 0 -> timer:sleep(20), restarted(Name, Tries - 1);
        Pid when is_pid(Pid) -> ok
    end.

%% A process group server may fail meanwhile, at what came last.
forgotten(Name, Tries) ->
    restarted(Name, 500),
    try gen_server:call(Name, forget)
    catch exit:_ when Tries > 0 -> timer:sleep(20), forgotten(Name, Tries - 1)
    end.

%% Any call of the host discloses its arguments and a group leader: usually
%% user, and here a process that reads besides.
show(Guest, Own) ->
    Leader = group_leader(),
    [begin
         group_leader(whereis(Name), self()),
         ok = rpc:call(Guest, attacker, keep, [Own, Name], 20000)
     end || Name <- [attack_reader, user]],
    group_leader(Leader, self()).

%% What came over the link with a guest, in bytes.
received(Guest) ->
    {Guest, Port} = lists:keyfind(Guest, 1, erlang:system_info(dist_ctrl)),
    {ok, [{recv_oct, Bytes}]} = inet:getstat(Port, [recv_oct]),
    Bytes.

%% Text is what is true once an attack worked, Got what the attacker saw.
probe(Text, Got) ->
    {ok, Tokens, _} = erl_scan:string(Text ++ "."),
    {ok, Exprs} = erl_parse:parse_exprs(Tokens),
    (catch element(2, erl_eval:exprs(Exprs, maps:from_list([{'Got', Got} | pids_before()])))) =:= true.

ran() -> application:get_env(kernel, ran) =:= {ok, yes}.

%% What a server was told since it was last made to forget, newest first.
heard(Server) -> gen_server:call(Server, heard).

%% Whether a figure of counts/0 grew by more than N since ready/2.
grown(Figure, N) ->
    {Before, _} = persistent_term:get(?MODULE),
    maps:get(Figure, counts()) - maps:get(Figure, Before) > N.

lost(Node) -> lists:member({nodedown, Node}, heard(attack_changes)).

pids() ->
    [{'Scope', whereis(?SCOPE)}, {'Adapter', whereis(?ADAPTER)}, {'Subscriber', whereis(attack_subscriber)},
     {'Socket', whereis(attack_socket)}, {'Victim', whereis(attack_victim)}, {'Tree', whereis(?TREE)}].

pids_before() ->
    {_, Pids} = persistent_term:get(?MODULE),
    Pids.

counts() ->
    #{atoms => erlang:system_info(atom_count), processes => erlang:system_info(process_count),
      ports => erlang:system_info(port_count), ets => erlang:system_info(ets_count),
      memory => erlang:memory(total), exports => exports(), nodes => element(1, table("hash_table:node_table"))}.

%% New exports are staged: the next module that is loaded brings them in.
exports() ->
    Module = ?PUBSUB,
    code:purge(Module),
    {module, Module} = code:load_file(Module),
    element(2, table("index_table:export_list")).

%% Modules that are not OTP's.
strange_code() ->
    Root = code:root_dir(),
    lists:sort([M || {M, File} <- code:all_loaded(), is_list(File), not lists:prefix(Root, File)]).

%% Numbers of objects and of entries of one of the emulator's own tables.
table(Name) ->
    [_, Text] = string:split(erlang:system_info(info), "=" ++ Name ++ "\n"),
    [Ours | _] = string:split(Text, "\n="),
    Figure = fun(Key) ->
                 case [V || L <- string:split(Ours, "\n", all), [K, V] <- [string:split(L, ": ")], K =:= Key] of
                     [V] -> binary_to_integer(string:trim(V));
                     [] -> 0
                 end
             end,
    {Figure(<<"objs">>), Figure(<<"entries">>)}.

%% All that a guest could have changed, as terms that compare.
state() ->
    #{pid => os:getpid(), cookie => erlang:get_cookie(), code => strange_code(),
      registered => lists:sort([{N, whereis(N)} || N <- registered()]),
      children => lists:sort([{S, lists:sort(supervisor:which_children(S))} || S <- [kernel_sup, ?MODULE, ?TREE]]),
      applications => lists:sort([A || {A, _, _} <- application:which_applications()]),
      env => lists:sort(application:get_all_env(kernel)), names => global:registered_names(),
      groups => [{S, G, [P || P <- pg:get_members(S, G)]} || S <- [?SCOPE, ?PUBSUB], G <- lists:sort(pg:which_groups(S))],
      leaders => [element(2, process_info(whereis(P), group_leader)) || P <- [attack_victim, attack_subscriber]],
      watched => [process_info(whereis(P), [links, monitored_by]) || P <- [attack_victim, attack_subscriber]],
      flags => [erlang:system_info(F) || F <- [fullsweep_after, multi_scheduling, min_heap_size]]}.
