%% @doc What the attacks of the tests are made of. run/2 is called by the test
%% over its own connection into the guest; everything else is for the text that
%% it is given.
-module(attacker).

-export([run/2, raw/2, raw/3, ask/2, dying/1, server_of/2, fun_running/3, pid/2, atoms/1, long_ago/0, keep_leader/1, leader/0]).

-define(STAYS, 15000).

%% @doc Evaluates Text with Bindings, [{Variable, Value}], in a process that
%% lives on for a while: monitors and links of it do, too. Exceptions are values.
run(Text, Bindings) ->
    {ok, Tokens, _} = erl_scan:string(Text ++ "."),
    {ok, Exprs} = erl_parse:parse_exprs(Tokens),
    Self = self(),
    Ref = make_ref(),
    spawn(fun() ->
              Self ! {Ref, catch element(2, erl_eval:exprs(Exprs, maps:from_list(Bindings)))},
              timer:sleep(?STAYS)
          end),
    receive {Ref, Value} -> Value after 20000 -> timeout end.

%% @doc Writes a frame of its own making to the link with Host, as the port that
%% the node's own frames go through lets it: no check of the emulator's remains.
raw(Host, Control) -> frame(Host, [term_to_binary(Control)]).
raw(Host, Control, Message) when is_binary(Message) -> frame(Host, [term_to_binary(Control), Message]);
raw(Host, Control, Message) -> raw(Host, Control, term_to_binary(Message)).

frame(Host, Parts) ->
    {Host, Port} = lists:keyfind(Host, 1, erlang:system_info(dist_ctrl)),
    erlang:port_command(Port, [112 | Parts]).

%% @doc The first message that comes back.
ask(Server, Message) ->
    Server ! Message,
    receive Answer -> Answer after 5000 -> silence end.

%% @doc Runs Attack in a process that then ends with a reason that kills.
dying(Attack) ->
    spawn(fun() -> Attack(), timer:sleep(50), exit(boom) end).

%% @doc The host's server of a process group scope, as the guest learnt it;
%% after a new link it takes a moment.
server_of(Scope, Host) -> server_of(Scope, Host, 500).

server_of(Scope, Host, Tries) ->
    case [P || P <- maps:keys(element(4, sys:get_state(Scope))), node(P) =:= Host] of
        [Server | _] -> Server;
        [] when Tries > 0 -> timer:sleep(20), server_of(Scope, Host, Tries - 1)
    end.

%% @doc A fun of erl_eval's, which every node can run: it applies and gives back
%% what it was given.
fun_running(M, F, A) ->
    {ok, Tokens, _} = erl_scan:string("fun(S) -> apply(M, F, A), S end."),
    {ok, Exprs} = erl_parse:parse_exprs(Tokens),
    {value, Fun, _} = erl_eval:exprs(Exprs, #{'M' => M, 'F' => F, 'A' => A}),
    Fun.

%% @doc N atoms that nobody has seen before.
atoms(N) ->
    Prefix = "attack_" ++ integer_to_list(erlang:unique_integer([positive])) ++ "_" ++ integer_to_list(erlang:phash2(make_ref())) ++ "_",
    [list_to_atom(Prefix ++ integer_to_list(I)) || I <- lists:seq(1, N)].

%% @doc A process of another node in its external form, from numbers.
pid(Node, Creation) ->
    Name = atom_to_binary(Node),
    <<88, 119, (byte_size(Name)), Name/binary, 100:32, 0:32, Creation:32>>.

%% @doc A moment that is over on every node, in its own monotonic time.
long_ago() ->
    erlang:convert_time_unit(erlang:system_info(start_time), native, millisecond).

%% @doc Called by the host VM: keeps the group leader that came along.
keep_leader(_) ->
    persistent_term:put(?MODULE, group_leader()).

leader() ->
    persistent_term:get(?MODULE).
