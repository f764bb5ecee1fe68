%% @doc Starts the counter and its health endpoint, if `http_port' is set.
-module(counter_app).
-behaviour(application).

-export([start/2, stop/1, config_change/3]).

start(_Type, _Args) ->
    counter_sup:start_link(application:get_env(counter, http_port, undefined)).

stop(_State) ->
    ok.

config_change(Changed, New, _Removed) ->
    counter:configure(Changed ++ New).
