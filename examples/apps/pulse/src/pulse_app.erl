%% @doc Starts pulse and hears about changed configuration.
-module(pulse_app).
-behaviour(application).

-export([start/2, stop/1, config_change/3]).

start(_Type, _Args) ->
    pulse_sup:start_link().

stop(_State) ->
    ok.

%% The beat reads interval each time; only the port needs a new socket.
config_change(Changed, New, _Removed) ->
    case lists:keymember(http_port, 1, Changed ++ New) of
        true -> pulse_sup:restart_http();
        false -> ok
    end.
