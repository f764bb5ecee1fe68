//go:build integration

package attacks

// groupAttacks are about process groups.
func groupAttacks() []attack {
	return []attack{
		{number: 26, name: "junk for pg", rule: "pg",
			how: "{attack_scope, H} ! junk", worked: "whereis(attack_scope) =/= Scope"},
		{number: 26, name: "junk for pg, and who was in a group is not", rule: "pg",
			how: "{attack_scope, H} ! junk", worked: "whereis(attack_victim) =:= Victim, not lists:member(Victim, pg:get_members(attack_scope, own))"},
		{number: 26, name: "junk for pg, and a PubSub is silent", rule: "pg",
			how:    "{'Elixir.Phoenix.PubSub', H} ! junk",
			worked: "whereis('Elixir.Attacked.Adapter') =:= Adapter, [] =:= [P || P <- pg:get_members('Elixir.Phoenix.PubSub', 'Elixir.Attacked.Adapter'), node(P) =:= node()]"},
		{number: 26, name: "junk for pg, time and again", rule: "pg",
			how:    "[begin {'Elixir.Phoenix.PubSub', H} ! junk, timer:sleep(100) end || _ <- lists:seq(1, 12)]",
			worked: "whereis(attack_pubsub) =/= Tree"},
		{number: 26, name: "a malformed sync", rule: "pg",
			how: "gen_server:cast(attacker:server_of(attack_scope, H), {sync, self(), x})", worked: "whereis(attack_scope) =/= Scope"},
		{number: 26, name: "a leave of a group never joined", rule: "group",
			how:    "attacker:server_of(attack_scope, H) ! {leave, whereis(attack_scope), self(), [never]}",
			worked: "whereis(attack_scope) =/= Scope"},
		{number: 30, name: "a group of another app", rule: "group",
			how: "pg:join(attack_scope, others, self())", worked: "pg:get_members(attack_scope, others) =/= []"},
		{number: 30, name: "a group of another app, by sync", rule: "group",
			how:    "gen_server:cast(attacker:server_of(attack_scope, H), {sync, whereis(attack_scope), [{others, [self()]}]})",
			worked: "pg:get_members(attack_scope, others) =/= []"},
		{number: 30, name: "broadcasts to another app", rule: "group",
			how: "attacker:overhear('Elixir.Phoenix.PubSub', 'Elixir.Other.Adapter', {attack_sink, H})",
			worked: "[P ! {forward_to_local, <<\"private\">>, secret, x} || P <- pg:get_members('Elixir.Phoenix.PubSub', 'Elixir.Other.Adapter')], " +
				"lists:any(fun({overheard, {forward_to_local, _, secret, _}}) -> true; (_) -> false end, attack_host:heard(attack_sink))"},
		{number: 30, name: "a process of a third node", rule: "foreign",
			how:    "attacker:server_of(attack_scope, H) ! {join, whereis(attack_scope), own, " + third + "}",
			worked: "[P || P <- pg:get_members(attack_scope, own), node(P) =:= 'third@nowhere'] =/= []"},
	}
}
