%% @doc Answers GET /health on `http_port': as little HTTP as a probe needs.
-module(pulse_http).
-behaviour(gen_server).

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(READ_MS, 5000).

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

init([]) ->
    Port = application:get_env(pulse, http_port, 8085),
    Options = [binary, {packet, http_bin}, {active, false}, {reuseaddr, true}, {backlog, 16}],
    case gen_tcp:listen(Port, Options) of
        {ok, Socket} ->
            spawn_link(fun() -> accept(Socket) end),
            {ok, Socket};
        {error, Reason} ->
            {stop, {listen, Port, Reason}}
    end.

handle_call(_Request, _From, Socket) ->
    {reply, ok, Socket}.

handle_cast(_Msg, Socket) ->
    {noreply, Socket}.

handle_info(_Other, Socket) ->
    {noreply, Socket}.

accept(Socket) ->
    {ok, Connection} = gen_tcp:accept(Socket),
    Pid = spawn(fun() -> receive go -> answer(Connection) after ?READ_MS -> ok end end),
    case gen_tcp:controlling_process(Connection, Pid) of
        ok -> Pid ! go;
        {error, _} -> gen_tcp:close(Connection)
    end,
    accept(Socket).

answer(Connection) ->
    Reply = case gen_tcp:recv(Connection, 0, ?READ_MS) of
                {ok, {http_request, 'GET', {abs_path, <<"/health">>}, _}} -> reply("200 OK", <<"ok\n">>);
                {ok, {http_request, _, _, _}} -> reply("404 Not Found", <<"only /health is here\n">>);
                _ -> []
            end,
    _ = Reply =/= [] andalso headers(Connection),
    _ = gen_tcp:send(Connection, Reply),
    gen_tcp:close(Connection).

headers(Connection) ->
    case gen_tcp:recv(Connection, 0, ?READ_MS) of
        {ok, {http_header, _, _, _, _}} -> headers(Connection);
        _ -> ok
    end.

reply(Status, Body) ->
    ["HTTP/1.1 ", Status, "\r\nContent-Type: text/plain\r\nContent-Length: ",
     integer_to_list(byte_size(Body)), "\r\nConnection: close\r\n\r\n", Body].
