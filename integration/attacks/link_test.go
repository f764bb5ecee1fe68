//go:build integration

package attacks

// linkAttacks are about who is connected with whom.
func linkAttacks() []attack {
	return []attack{
		{number: 5, name: "a bad cookie of the innocent's", rule: "name",
			how: "{net_kernel, H} ! {N, badcookie, x, y}", worked: "attack_host:lost(Innocent)"},
		{number: 5, name: "a disconnect of the innocent", rule: "name",
			how: "gen_server:call({net_kernel, H}, {disconnect, N}, 500)", worked: "attack_host:lost(Innocent)"},
		{number: 5, name: "a connection to a node of its choice", rule: "name",
			how: "gen_server:call({net_kernel, H}, {connect, normal, Trap}, 500)", worked: "attack_trap:sprung()"},
	}
}
