%% The host VM of the demo and of the tests: a member of pulse's group that
%% prints what guests send and remembers the last message of each node.
-module(demo_web).
-export([start/0, heard/0]).

start() ->
    {ok, _} = pg:start(beamsandbox_demo),
    register(?MODULE, spawn(fun() ->
        ok = pg:join(beamsandbox_demo, pulse, self()),
        loop(#{})
    end)).

%% #{Node => {Count, LastMessage}}
heard() ->
    Ref = make_ref(),
    ?MODULE ! {heard, self(), Ref},
    receive {Ref, Heard} -> Heard after 5000 -> exit(timeout) end.

loop(Heard) ->
    receive
        {heard, From, Ref} ->
            From ! {Ref, Heard},
            loop(Heard);
        {pulse, Node, _Version, _N} = Message ->
            io:format("~s heard ~0p~n", [node(), Message]),
            {Count, _} = maps:get(Node, Heard, {0, none}),
            loop(Heard#{Node => {Count + 1, Message}});
        _ ->
            loop(Heard)
    end.
