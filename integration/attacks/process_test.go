//go:build integration

package attacks

// processAttacks are signals to processes, and signals in another's name.
func processAttacks() []attack {
	third := "binary_to_term(<<131, (attacker:pid('third@nowhere', 1))/binary>>)"
	return []attack{
		{number: 15, name: "an exit to a guessed pid", rule: "exit",
			how: "exit(V, kill)", worked: "whereis(attack_victim) =/= Victim"},
		{number: 15, name: "an exit to kernel_sup", rule: "exit", fate: kills,
			how: "exit(K, kill)"},
		{number: 16, name: "a link and a death", rule: "link",
			how: "attacker:dying(fun() -> link(V) end)", worked: "whereis(attack_victim) =/= Victim"},
		{number: 17, name: "a group leader", rule: "group-leader",
			how: "group_leader(self(), V)", worked: "node(element(2, process_info(Victim, group_leader))) =/= node()"},
		{number: 17, name: "a group leader in the host's name", rule: "forged", by: second,
			how: "attacker:raw(H, {7, K, V})", worked: "{group_leader, whereis(kernel_sup)} =:= process_info(Victim, group_leader)"},
		{number: 18, name: "a monitor of a name", rule: "monitor",
			how: "monitor(process, {attack_victim, H})", worked: "{monitored_by, [_ | _]} = process_info(Victim, monitored_by), true"},
		{number: 18, name: "20000 monitors", rule: "monitor",
			how:    "[monitor(process, {attack_victim, H}) || _ <- lists:seq(1, 20000)]",
			worked: "{_, L} = process_info(Victim, monitored_by), length(L) >= 20000"},
		{number: 19, name: "an exit in a host process's name", rule: "forged", fate: kills,
			how: "attacker:raw(H, {8, V, V, kill})"},
		{number: 19, name: "the same with payload", rule: "forged", fate: kills,
			how: "attacker:raw(H, {26, V, V}, kill)"},
		{number: 20, name: "a malformed trace token", rule: "trace-token", fate: kills,
			how: "attacker:raw(H, {12, '', V, x}, hi)"},
		{number: 21, name: "a message in a third node's name", rule: "forged", by: second,
			how:    "attacker:raw(H, {6, " + third + ", '', attack_victim}, hi)",
			worked: "lists:member(hi, attack_host:heard(attack_victim))"},
		{number: 21, name: "a message in the host's name", rule: "forged", by: second,
			how:    "attacker:raw(H, {22, K, V}, hi)",
			worked: "lists:member(hi, attack_host:heard(attack_victim))"},
		{number: 32, name: "an answer to no spawn", rule: "spawn-reply", fate: ignored,
			how: "attacker:raw(H, {31, Alias, V, 0, self()})", worked: "whereis(attack_victim) =/= Victim"},
		{number: 32, name: "an end that nobody watches", rule: "down", fate: ignored,
			how: "attacker:raw(H, {28, self(), V, Alias}, killed)", worked: "attack_host:heard(attack_victim) =/= []"},
		{number: 32, name: "a system message to a live alias", rule: "reply",
			how:    "attacker:raw(H, {33, self(), Alias}, hi)",
			worked: "lists:member(hi, attack_host:heard(attack_victim))"},
	}
}
