%% @doc Takes part in the process groups that policy grants to it, as a guest
%% with an honest purpose would.
-module(attacker_app).
-behaviour(application).
-behaviour(supervisor).

-export([start/2, stop/1, init/1]).

start(_Type, _Args) ->
    supervisor:start_link({local, attacker_sup}, ?MODULE, []).

stop(_State) ->
    ok.

init([]) ->
    {ok, {#{}, [#{id => Scope, start => {pg, start_link, [Scope]}}
                || Scope <- [attack_scope, 'Elixir.Phoenix.PubSub']]}}.
