#!/usr/bin/env escript
%% -*- coding: utf-8 -*-
%% Writes random terms in both encodings, or checks the ones that it is given.
main(["write", Count]) ->
    rand:seed(exsss, {1, 2, 3}),
    io:setopts([{encoding, latin1}]),
    [write(term(5)) || _ <- lists:seq(1, list_to_integer(Count))];
main(["check", File]) ->
    {ok, Text} = file:read_file(File),
    Lines = binary:split(Text, <<"\n">>, [global, trim_all]),
    [check(binary:split(L, <<" ">>, [global])) || L <- Lines],
    io:format("checked ~b~n", [length(Lines)]);
main(["compare"]) ->
    rand:seed(exsss, {4, 5, 6}),
    [compare(term(2), term(2)) || _ <- lists:seq(1, 1000)].

%% One line: the default encoding, that of minor version 2, the compressed one,
%% and two texts of io_lib.
write(T) ->
    Fields = [term_to_binary(T), term_to_binary(T, [{minor_version, 2}]), term_to_binary(T, [compressed]),
              unicode:characters_to_binary(io_lib:format("~p.", [T])),
              unicode:characters_to_binary(io_lib:format("~0tp.", [T]))],
    io:format("~s~n", [lists:join(" ", [base64:encode(F) || F <- Fields])]).

%% Two encodings, then a file for file:consult/1, all of one term.
check([Encoded, Canonical, Consult]) ->
    T = binary_to_term(base64:decode(Encoded)),
    T = binary_to_term(base64:decode(Canonical)),
    Name = "oracle.config",
    ok = file:write_file(Name, base64:decode(Consult)),
    {ok, [T]} = file:consult(Name).

compare(A, B) ->
    Order = if A == B -> 0; A < B -> -1; true -> 1 end,
    io:format("~s ~s ~b ~b~n", [base64:encode(term_to_binary(A)), base64:encode(term_to_binary(B)), Order,
                                case A =:= B of true -> 1; false -> 0 end]).

term(0) -> leaf(rand:uniform(11));
term(Depth) ->
    case rand:uniform(8) of
        1 -> list_to_tuple(terms(Depth));
        2 -> terms(Depth);
        3 -> terms(Depth) ++ [last | leaf(rand:uniform(11))];
        4 -> maps:from_list([{term(Depth - 1), term(Depth - 1)} || _ <- terms(1)]);
        _ -> leaf(rand:uniform(11))
    end.

terms(Depth) -> [term(Depth - 1) || _ <- lists:seq(1, rand:uniform(6) - 1)].

leaf(1) -> list_to_atom(text());
leaf(2) -> lists:nth(rand:uniform(6), [ok, 'end', 'maybe', a@b, 'Upper', '']);
leaf(3) -> rand:uniform(300) - 150;
leaf(4) -> rand:uniform(1 bsl 64) - (1 bsl 63);
leaf(5) -> -(rand:uniform(1 bsl 100) bsl rand:uniform(3000));
leaf(6) -> <<F:64/float>> = <<(rand:uniform(1 bsl 62)):64>>, F;
leaf(7) -> rand:uniform() * 1000;
leaf(8) -> rand:bytes(rand:uniform(12) - 1);
leaf(9) -> unicode:characters_to_binary(text());
leaf(10) -> text();
leaf(11) -> [].

text() -> [char(rand:uniform(20)) || _ <- lists:seq(1, rand:uniform(15) - 1)].

char(1) -> lists:nth(rand:uniform(10), [0, 27, 127, $\n, $", $', $\\, $%, 160, 16#202e]);
char(2) -> 192 + rand:uniform(63);
char(3) -> 16#65e5;
char(4) -> 16#1f600;
char(_) -> 96 + rand:uniform(26).
