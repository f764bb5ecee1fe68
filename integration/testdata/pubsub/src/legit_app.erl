%% Starts PubSubs as env names them, `{pubsubs, [{Name, PoolSize}]}', and a
%% desk that subscribes to `{topics, [Topic]}' of each.
-module(legit_app).
-behaviour(application).
-behaviour(supervisor).
-export([start/2, stop/1, init/1, add/2, health_check/0, eval/1]).

start(_Type, _Args) ->
    {ok, App} = application:get_application(),
    supervisor:start_link({local, ?MODULE}, ?MODULE, App).

stop(_State) -> ok.

init(App) ->
    PubSubs = application:get_env(App, pubsubs, []),
    Topics = application:get_env(App, topics, []),
    Children = [#{id => scope, start => {pg, start_link, ['Elixir.Phoenix.PubSub']}}]
        ++ [pubsub(Name, Pool) || {Name, Pool} <- PubSubs]
        ++ [#{id => desk, start => {legit_desk, start_link, [[Name || {Name, _} <- PubSubs], Topics]}}],
    {ok, {#{strategy => rest_for_one, intensity => 0}, Children}}.

pubsub(Name, Pool) -> #{id => Name, start => {legit_pubsub, start_link, [Name, Pool]}, type => supervisor}.

%% Starts one more PubSub, unless it runs, and has the desk listen to it.
add(Name, Pool) ->
    case supervisor:start_child(?MODULE, pubsub(Name, Pool)) of
        {ok, _} -> gen_server:call(legit_desk, {listen, Name});
        {error, {already_started, _}} -> ok
    end.

health_check() ->
    case whereis(legit_desk) of
        undefined -> {error, no_desk};
        _ -> ok
    end.

%% The value of Erlang source, on the node that is asked.
eval(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text),
    {ok, Expressions} = erl_parse:parse_exprs(Tokens),
    {value, Value, _} = erl_eval:exprs(Expressions, []),
    Value.
