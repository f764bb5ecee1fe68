%% @doc A number that grows by `step' every `interval' milliseconds.
-module(counter).
-behaviour(gen_server).

-export([start_link/0, value/0, step/0, configure/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec value() -> integer().
value() ->
    gen_server:call(?MODULE, value).

%% @doc What is added each time, as the running process knows it.
-spec step() -> integer().
step() ->
    gen_server:call(?MODULE, step).

%% @doc Takes over changed application environment, `[{Key, Value}]'.
configure(Env) ->
    gen_server:call(?MODULE, {configure, maps:from_list(Env)}).

init([]) ->
    Config = #{step => application:get_env(counter, step, 1),
               interval => application:get_env(counter, interval, 1000)},
    {ok, tick(Config#{value => 0})}.

handle_call(value, _From, #{value := Value} = State) ->
    {reply, Value, State};
handle_call(step, _From, #{step := Step} = State) ->
    {reply, Step, State};
handle_call({configure, Env}, _From, State) ->
    {reply, ok, maps:merge(State, maps:with([step, interval], Env))}.

handle_cast(_Msg, State) ->
    {noreply, State}.

handle_info(tick, #{value := Value, step := Step} = State) ->
    {noreply, tick(State#{value := Value + Step})};
handle_info(_Other, State) ->
    {noreply, State}.

tick(#{interval := Interval} = State) ->
    erlang:send_after(Interval, self(), tick),
    State.
