%% @doc Keeps the group, the beat and the health endpoint alive.
-module(pulse_sup).
-behaviour(supervisor).

-export([start_link/0, restart_http/0, start_group/0, init/1]).

start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

restart_http() ->
    ok = supervisor:terminate_child(?MODULE, pulse_http),
    {ok, _} = supervisor:restart_child(?MODULE, pulse_http),
    ok.

%% Embedded in a host VM, the scope may be there already.
start_group() ->
    case pg:start_link(pulse_beat:scope()) of
        {error, {already_started, _}} -> ignore;
        Started -> Started
    end.

init([]) ->
    Children = [#{id => pulse_group, start => {?MODULE, start_group, []}},
                #{id => pulse_beat, start => {pulse_beat, start_link, []}},
                #{id => pulse_http, start => {pulse_http, start_link, []}}],
    {ok, {#{strategy => rest_for_one, intensity => 5, period => 10}, Children}}.
