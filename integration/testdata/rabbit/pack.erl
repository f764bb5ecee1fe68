%% Makes an OTP release out of installed applications, as somebody would who
%% brings a release of software that comes as a package.
-module(pack).
-export([main/1]).

%% Out is the release's folder, Top the application it is made for; Mnesia is
%% loaded only, as RabbitMQ starts it by itself. What belongs to the machine's
%% Erlang is left to it: the release brings no emulator.
main([Out, Top]) ->
    Name = list_to_atom(Top),
    Apps = [{N, vsn(N)} || N <- lists:reverse(lists:foldl(fun closure/2, [], [sasl, mnesia, Name]))],
    [copy(N, V, Out) || {N, V} <- Apps, not lists:prefix(code:root_dir(), code:lib_dir(N))],
    Dir = filename:join([Out, "releases", vsn(Name)]),
    File = filename:join(Dir, Top),
    ok = filelib:ensure_dir(File),
    ok = write(File ++ ".rel", {release, {Top, vsn(Name)}, {erts, erlang:system_info(version)}, [entry(A) || A <- Apps]}),
    ok = write(filename:join(Dir, "sys.config"), [{os_mon, [{K, false} || K <- [start_cpu_sup, start_disksup, start_memsup]]}]),
    ok = file:write_file(filename:join([Out, "releases", "start_erl.data"]), [erlang:system_info(version), " ", vsn(Name)]),
    ok = systools:make_script(File, [no_module_tests, no_warn_sasl, {outdir, Dir},
        {path, [filename:join([Out, "lib", "*", "ebin"])]},
        {variables, [{"RELEASE_LIB", filename:join(Out, "lib")}, {"ERTS_LIB_DIR", code:lib_dir()}]}]),
    halt(0).

entry({mnesia, V}) -> {mnesia, V, load};
entry(A) -> A.

write(File, Term) -> file:write_file(File, io_lib:format("~p.~n", [Term])).

vsn(N) -> {ok, V} = application:get_key(N, vsn), V.

closure(N, Seen) ->
    case lists:member(N, Seen) of
        true -> Seen;
        false ->
            case application:load(N) of
                ok -> ok;
                {error, {already_loaded, N}} -> ok
            end,
            {ok, Deps} = application:get_key(N, applications),
            [N | lists:foldl(fun closure/2, Seen, Deps)]
    end.

copy(N, V, Out) ->
    From = code:lib_dir(N),
    To = filename:join([Out, "lib", atom_to_list(N) ++ "-" ++ V]),
    [begin
         Target = filename:join(To, F),
         ok = filelib:ensure_dir(Target),
         {ok, _} = file:copy(filename:join(From, F), Target)
     end || F <- filelib:wildcard("{ebin,priv}/**", From), filelib:is_regular(filename:join(From, F))].
