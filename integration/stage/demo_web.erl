%% The host VM of the demo and of the tests: a member of pulse's group that
%% prints what guests send, remembers the last message of each node, and keeps
%% every node that came and went.
-module(demo_web).
-export([start/0, heard/0, changes/0]).

start() ->
    {ok, _} = pg:start(beamsandbox_demo),
    register(?MODULE, spawn(fun() ->
        ok = pg:join(beamsandbox_demo, pulse, self()),
        ok = net_kernel:monitor_nodes(true),
        loop(#{}, [])
    end)).

%% #{Node => {Count, LastMessage}}
heard() -> ask(heard).

%% [{nodeup | nodedown, Node}], oldest first
changes() -> ask(changes).

ask(What) ->
    Ref = make_ref(),
    ?MODULE ! {What, self(), Ref},
    receive {Ref, Answer} -> Answer after 5000 -> exit(timeout) end.

loop(Heard, Changes) ->
    receive
        {heard, From, Ref} ->
            From ! {Ref, Heard},
            loop(Heard, Changes);
        {changes, From, Ref} ->
            From ! {Ref, lists:reverse(Changes)},
            loop(Heard, Changes);
        {pulse, Node, _Version, _N} = Message ->
            io:format("~s heard ~0p~n", [node(), Message]),
            {Count, _} = maps:get(Node, Heard, {0, none}),
            loop(Heard#{Node => {Count + 1, Message}}, Changes);
        {Change, Node} when Change =:= nodeup; Change =:= nodedown ->
            loop(Heard, [{Change, Node} | Changes]);
        _ ->
            loop(Heard, Changes)
    end.
