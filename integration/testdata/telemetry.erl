%% Handlers of events, with the interface and the habits of the telemetry
%% application: handlers run in the caller, and one that crashes is detached.
-module(telemetry).
-export([attach_many/4, detach/1, execute/3]).

attach_many(Id, Events, Function, Config) ->
    persistent_term:put({?MODULE, Id}, {Events, Function, Config}).

detach(Id) ->
    persistent_term:erase({?MODULE, Id}).

execute(Event, Measurements, Metadata) when is_list(Event), is_map(Measurements), is_map(Metadata) ->
    [try Function(Event, Measurements, Metadata, Config) catch _:_ -> detach(Id) end
     || {{?MODULE, Id}, {Events, Function, Config}} <- persistent_term:get(), lists:member(Event, Events)],
    ok.
