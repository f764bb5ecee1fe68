%% What Phoenix.Channel.Server's dispatcher does: it encodes the payload for the
%% clients' sockets, in the adapter's process.
-module('Elixir.Phoenix.Channel.Server').
-export([dispatch/3]).

dispatch(Entries, _From, #{'__struct__' := 'Elixir.Phoenix.Socket.Broadcast', payload := Payload} = Broadcast) ->
    json(Payload),
    [Pid ! Broadcast || {Pid, _} <- Entries],
    ok.

json(M) when is_map(M) -> maps:foreach(fun(K, V) -> json(K), json(V) end, M);
json(L) when is_list(L) -> lists:foreach(fun json/1, L);
json(T) when is_binary(T); is_atom(T); is_number(T) -> ok.
