%% What Phoenix.PubSub's own dispatcher does.
-module('Elixir.Phoenix.PubSub').
-export([dispatch/3]).

dispatch(Entries, _From, Message) ->
    [Pid ! Message || {Pid, _} <- Entries],
    ok.
