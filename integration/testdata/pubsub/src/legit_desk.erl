%% A server under a name that policy may grant. It keeps what it is told and
%% which nodes came and went.
-module(legit_desk).
-behaviour(gen_server).
-export([start_link/2, heard/0, heard/1, changes/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

start_link(PubSubs, Topics) -> gen_server:start_link({local, ?MODULE}, ?MODULE, {PubSubs, Topics}, []).

%% What was told or broadcast since it was last asked, the oldest first.
heard() -> gen_server:call(?MODULE, heard).

%% The same once there are N, or half a minute has passed.
heard(N) -> heard(N, 3000).

heard(N, Tries) ->
    case gen_server:call(?MODULE, count) of
        Few when Few < N, Tries > 0 -> timer:sleep(10), heard(N, Tries - 1);
        _ -> heard()
    end.

%% [{nodeup | nodedown, Node}], the oldest first.
changes() -> gen_server:call(?MODULE, changes).

init({PubSubs, Topics}) ->
    ok = net_kernel:monitor_nodes(true),
    put(topics, Topics),
    lists:foreach(fun listen/1, PubSubs),
    {ok, {[], []}}.

listen(Name) -> [ok = legit_pubsub:subscribe(Name, Topic) || Topic <- get(topics)], ok.

handle_call({get, What}, _From, State) -> {reply, {What, node()}, State};
handle_call({listen, Name}, _From, State) -> {reply, listen(Name), State};
handle_call(count, _From, {Heard, _} = State) -> {reply, length(Heard), State};
handle_call(heard, _From, {Heard, Changes}) -> {reply, lists:reverse(Heard), {[], Changes}};
handle_call(changes, _From, {_, Changes} = State) -> {reply, lists:reverse(Changes), State}.

handle_cast(Message, {Heard, Changes}) -> {noreply, {[{cast, Message} | Heard], Changes}}.

handle_info({Change, Node}, {Heard, Changes}) when Change =:= nodeup; Change =:= nodedown ->
    {noreply, {Heard, [{Change, Node} | Changes]}};
handle_info(Message, {Heard, Changes}) ->
    {noreply, {[Message | Heard], Changes}}.
