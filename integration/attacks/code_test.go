//go:build integration

package attacks

// codeAttacks are those by which the host VM runs what the guest says.
func codeAttacks() []attack {
	return []attack{
		{number: 1, name: "a spawn request", rule: "spawn",
			how: "attacker:raw(H, {29, make_ref(), self(), group_leader(), {M, F, length(A)}, []}, A)"},
		{number: 2, name: "a cast to rex", rule: "name",
			how: "gen_server:cast({rex, H}, {cast, M, F, A, group_leader()})"},
		{number: 2, name: "a call to rex", rule: "name",
			how: "gen_server:call({rex, H}, {call, M, F, A, group_leader()}, 500)"},
		{number: 2, name: "rex's message for C nodes", rule: "name",
			how: "{rex, H} ! {self(), {call, M, F, A, group_leader()}}"},
		{number: 2, name: "a cast to rex's pid", rule: "process",
			how: "gen_server:cast(R, {cast, M, F, A, group_leader()})"},
		{number: 3, name: "rex relays", rule: "name",
			how:    "{rex, H} ! {self(), {sbcast, attack_victim, relayed}}",
			worked: "lists:member(relayed, attack_host:heard(attack_victim))"},
		{number: 3, name: "net_kernel relays", rule: "name",
			how:    "{net_kernel, H} ! {self(), registered_send, attack_victim, relayed}",
			worked: "lists:member(relayed, attack_host:heard(attack_victim))"},
		{number: 4, name: "net_kernel spawns", rule: "name",
			how: "gen_server:call({net_kernel, H}, {spawn, M, F, A, group_leader()}, 500)"},
		{number: 6, name: "a child of kernel_sup", rule: "name",
			how: "gen_server:call({kernel_sup, H}, {start_child, #{id => ran, restart => temporary, start => {M, F, A}}}, 2000)"},
		{number: 7, name: "put_chars to user", rule: "name",
			how: "{user, H} ! {io_request, self(), make_ref(), {put_chars, unicode, M, F, A}}"},
		{number: 7, name: "put_chars to standard_error", rule: "name",
			how: "{standard_error, H} ! {io_request, self(), make_ref(), {put_chars, unicode, M, F, A}}"},
		{number: 7, name: "put_chars to a group leader", rule: "",
			how: "attacker:leader() ! {io_request, self(), make_ref(), {put_chars, unicode, M, F, A}}"},
		{number: 8, name: "code for the code server", rule: "name",
			how:    "{_, Beam, _} = code:get_object_code(attacker_app), {code_server, H} ! {code_call, self(), {load_binary, attacker_app, \"x\", Beam}}",
			worked: "code:is_loaded(attacker_app) =/= false"},
		{number: 11, name: "replace_state with a fun", rule: "name",
			how: "sys:replace_state({attack_subscriber, H}, attacker:fun_running(M, F, A), 2000)"},
		{number: 31, name: "a lazy fun for the logger", rule: "logger",
			how: "{logger_proxy, H} ! {log, error, fun M:F/1, [{kernel, [{ran, yes}]}], #{}}"},
		{number: 31, name: "the timer server", rule: "name",
			how: "gen_server:call({timer_server, H}, {apply_once, {attacker:long_ago(), 0, {M, F, A}}}, 2000)"},
	}
}
