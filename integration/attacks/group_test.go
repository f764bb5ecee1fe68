//go:build integration

package attacks

// groupAttacks are about process groups.
func groupAttacks() []attack {
	return []attack{
		{number: 26, name: "junk for pg", rule: "pg",
			how: "{attack_scope, H} ! junk", worked: "whereis(attack_scope) =/= Scope"},
		{number: 26, name: "a malformed sync", rule: "pg",
			how: "gen_server:cast(attacker:server_of(attack_scope, H), {sync, self(), x})", worked: "whereis(attack_scope) =/= Scope"},
		{number: 26, name: "a leave of a group never joined", rule: "group",
			how:    "attacker:server_of(attack_scope, H) ! {leave, whereis(attack_scope), self(), [never]}",
			worked: "whereis(attack_scope) =/= Scope"},
		{number: 30, name: "a group of another app", rule: "group",
			how: "pg:join(attack_scope, others, self())", worked: "pg:get_members(attack_scope, others) =/= []"},
		{number: 30, name: "a process of a third node", rule: "foreign",
			how: "attacker:server_of(attack_scope, H) ! {join, whereis(attack_scope), own, " +
				"binary_to_term(<<131, (attacker:pid('third@nowhere', 1))/binary>>)}",
			worked: "[P || P <- pg:get_members(attack_scope, own), node(P) =:= 'third@nowhere'] =/= []"},
	}
}
