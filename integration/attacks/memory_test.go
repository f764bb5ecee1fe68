//go:build integration

package attacks

// memoryAttacks fill tables and memory that the host VM does not get back.
func memoryAttacks() []attack {
	return []attack{
		{number: 22, name: "5000 atoms in a message", rule: "atoms",
			how:    "{attack_sink, H} ! attacker:atoms(5000)",
			worked: "attack_host:grown(atoms, 4900)"},
		{number: 22, name: "5000 atoms as names", rule: "monitor",
			how:    "[monitor(process, {Name, H}) || Name <- attacker:atoms(5000)]",
			worked: "attack_host:grown(atoms, 4900)"},
		{number: 23, name: "2000 exports", rule: "fun",
			how:    "{attack_sink, H} ! [erlang:make_fun(Name, a, X) || Name <- attacker:atoms(20), X <- lists:seq(1, 100)]",
			worked: "attack_host:grown(exports, 1900)"},
		{number: 24, name: "a list of nils", rule: "nodes",
			how:    "attacker:raw(H, {6, self(), '', attack_sink}, <<131, 108, 4000000:32, (binary:copy(<<106>>, 4000001))/binary>>)",
			worked: "attack_host:grown(memory, 60000000)"},
		{number: 24, name: "lists in lists", rule: "depth",
			how:    "attacker:raw(H, {6, self(), '', attack_sink}, attacker:nested(1000000))",
			worked: "attack_host:grown(memory, 15000000)"},
		{number: 24, name: "a list that announces more than comes", rule: "malformed", by: second, fate: cuts,
			how: "attacker:raw(H, {6, self(), '', attack_sink}, <<131, 108, 1073741824:32, 106>>)"},
		{number: 25, name: "creations of nodes", rule: "foreign",
			how:    "attacker:raw(H, {6, self(), '', attack_sink}, <<131, 108, 100000:32, (<< <<(attacker:pid(node(), C))/binary>> || C <- lists:seq(1, 100000) >>)/binary, 106>>)",
			worked: "attack_host:grown(nodes, 99000)"},
	}
}
