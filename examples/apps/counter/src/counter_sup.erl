%% @doc Keeps the counter alive, and its health endpoint when there is one.
-module(counter_sup).
-behaviour(supervisor).

-export([start_link/1, init/1]).

start_link(Port) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, Port).

init(Port) ->
    Counter = #{id => counter, start => {counter, start_link, []}},
    Health = [#{id => counter_http, start => {counter_http, start_link, [Port]}}
              || is_integer(Port)],
    {ok, {#{strategy => one_for_one, intensity => 5, period => 10}, [Counter | Health]}}.
