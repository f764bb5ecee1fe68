%% @doc What the attacks of the tests are made of. run/2 is called by the test
%% over its own connection into the guest; everything else is for the text that
%% it is given.
-module(attacker).

-export([run/2, rest/0, keep/2, leader/1, raw/2, raw/3, ask/2, ask_raw/3, dying/1, server_of/2, overhear/3, fun_running/3, pid/2, ref_like/1,
         nested/1, atoms/1, long_ago/0]).

%% @doc Evaluates Text with Bindings, [{Variable, Value}], and with what the
%% host VM showed, in a process that lives until the host VM wants rest:
%% its monitors and links do, too. Exceptions are values.
run(Text, Bindings) ->
    {ok, Tokens, _} = erl_scan:string(Text ++ "."),
    {ok, Exprs} = erl_parse:parse_exprs(Tokens),
    Known = maps:merge(maps:from_list(Bindings), persistent_term:get({?MODULE, shown}, #{})),
    Self = self(),
    Ref = make_ref(),
    Pid = spawn(fun() ->
                    Self ! {Ref, catch element(2, erl_eval:exprs(Exprs, Known))},
                    timer:sleep(infinity)
                end),
    persistent_term:put({?MODULE, attacks}, [Pid | attacks()]),
    receive {Ref, Value} -> Value after 20000 -> timeout end.

attacks() -> persistent_term:get({?MODULE, attacks}, []).

%% @doc Called by the host VM over the link: keeps what it shows, a map from
%% variables to processes and references of its own, and the group leader that
%% comes along, under a name.
keep(Shown, Name) ->
    persistent_term:put({?MODULE, shown}, Shown),
    persistent_term:put({?MODULE, leader, Name}, group_leader()).

%% @doc Called by the host VM: earlier attacks end.
rest() ->
    Monitors = [{monitor(process, P), exit(P, kill)} || P <- attacks()],
    [receive {'DOWN', M, process, _, _} -> ok end || {M, _} <- Monitors],
    persistent_term:put({?MODULE, attacks}, []).

leader(Name) -> persistent_term:get({?MODULE, leader, Name}).

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
    answer().

ask_raw(Host, Control, Message) ->
    raw(Host, Control, Message),
    answer().

answer() ->
    receive
        {inet_reply, _, _} -> answer(); % of raw's port
        Answer -> Answer
    after 5000 -> silence
    end.

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

%% @doc Joins a group and tells To what is said there.
overhear(Scope, Group, To) ->
    Pid = spawn_link(fun() -> tell(To) end),
    pg:join(Scope, Group, Pid).

tell(To) ->
    receive Message -> To ! {overheard, Message} end,
    tell(To).

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

%% @doc A reference of the same node that nobody has made, from numbers: the last
%% of its words is another one.
ref_like(Ref) ->
    All = term_to_binary(Ref),
    Size = byte_size(All) - 4,
    <<Most:Size/binary, Word:32>> = All,
    binary_to_term(<<Most/binary, (Word bxor 16#55555):32>>).

%% @doc Lists in lists, N deep, in their external form.
nested(N) ->
    <<131, (binary:copy(<<108, 1:32>>, N))/binary, 106, (binary:copy(<<106>>, N))/binary>>.

%% @doc A moment that is over on every node, in its own monotonic time.
long_ago() ->
    erlang:convert_time_unit(erlang:system_info(start_time), native, millisecond).
