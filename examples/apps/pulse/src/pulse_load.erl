%% @doc Misbehaves on request, to try the limits of a guest:
%% `rpc:call(Node, pulse_load, allocate, [200])' from the host.
-module(pulse_load).

-export([allocate/1, spin/1, rest/0]).

%% @doc Holds this many megabytes (2^20 bytes) until `rest/0'.
-spec allocate(pos_integer()) -> pid().
allocate(Megabytes) ->
    load(fun() ->
             Held = [binary:copy(<<N>>, 1048576) || N <- lists:seq(1, Megabytes)],
             receive stop -> length(Held) end
         end).

%% @doc Keeps this many processes busy until `rest/0'.
-spec spin(pos_integer()) -> [pid()].
spin(Processes) ->
    [load(fun busy/0) || _ <- lists:seq(1, Processes)].

%% @doc Ends everything that allocate/1 and spin/1 started.
-spec rest() -> ok.
rest() ->
    [exit(Pid, kill) || Pid <- processes(), loaded(Pid)],
    ok.

%% rpc:call's worker ends with the call, so the load must not be linked to it.
load(Work) ->
    spawn(fun() -> put(?MODULE, true), Work() end).

loaded(Pid) ->
    case process_info(Pid, dictionary) of
        {dictionary, Dictionary} -> lists:member({?MODULE, true}, Dictionary);
        undefined -> false
    end.

busy() ->
    busy().
