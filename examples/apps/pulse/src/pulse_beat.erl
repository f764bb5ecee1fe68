%% @doc Joins group `pulse' of pg scope `beamsandbox_demo' and sends
%% `{pulse, Node, Version, N}' to the members on other nodes, once every
%% `interval' milliseconds.
-module(pulse_beat).
-behaviour(gen_server).

-export([start_link/0, scope/0, count/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(GROUP, pulse).

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

scope() ->
    beamsandbox_demo.

%% @doc How many beats there were since the start.
count() ->
    gen_server:call(?MODULE, count).

init([]) ->
    ok = pg:join(scope(), ?GROUP, self()),
    {ok, Version} = application:get_key(pulse, vsn),
    self() ! beat,
    {ok, #{version => Version, n => 0}}.

handle_call(count, _From, #{n := N} = State) ->
    {reply, N, State}.

handle_cast(_Msg, State) ->
    {noreply, State}.

handle_info(beat, #{version := Version, n := N} = State) ->
    [Pid ! {pulse, node(), Version, N + 1} || Pid <- pg:get_members(scope(), ?GROUP),
                                              node(Pid) =/= node()],
    erlang:send_after(application:get_env(pulse, interval, 1000), self(), beat),
    {noreply, State#{n := N + 1}};
handle_info(_Other, State) ->
    {noreply, State}.
