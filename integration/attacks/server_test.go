//go:build integration

package attacks

// serverAttacks are requests to the host VM's own servers that give away or
// change what is theirs.
func serverAttacks() []attack {
	return []attack{
		{number: 9, name: "the file server writes", rule: "name",
			how:    "gen_server:call({file_server_2, H}, {write_file, \"attacked\", <<\"by a guest\">>}, 2000)",
			worked: "{ok, <<\"by a guest\">>} =:= file:read_file(\"attacked\") andalso ok =:= file:delete(\"attacked\")"},
		{number: 9, name: "the file server reads", rule: "name",
			how:    "gen_server:call({file_server_2, H}, {read_file, \"/etc/passwd\"}, 2000)",
			worked: "Got =:= file:read_file(\"/etc/passwd\")"},
		{number: 9, name: "the loader reads", rule: "name",
			how:    "attacker:ask({erl_prim_loader, H}, {self(), {get_file, \"/etc/passwd\"}})",
			worked: "{ok, Text} = file:read_file(\"/etc/passwd\"), element(2, element(2, Got)) =:= Text"},
		{number: 10, name: "the cluster's cookie", rule: "name",
			how:    "gen_server:call({auth, H}, {get_cookie, node()}, 2000)",
			worked: "Got =:= erlang:get_cookie()"},
		{number: 10, name: "a cookie for another node", rule: "name",
			how:    "gen_server:call({auth, H}, {set_cookie, 'other@nowhere', stolen}, 2000)",
			worked: "auth:get_cookie('other@nowhere') =:= stolen"},
		{number: 11, name: "get_state", rule: "name",
			how:    "sys:get_state({attack_subscriber, H}, 2000)",
			worked: "maps:get(secret, Got) =:= 'of the host'"},
		{number: 11, name: "terminate", rule: "name",
			how:    "sys:terminate({attack_victim, H}, shutdown, 2000)",
			worked: "whereis(attack_victim) =/= Victim"},
		{number: 12, name: "init stops", rule: "name", fate: kills,
			how: "{init, H} ! {stop, stop}"},
		{number: 12, name: "init stops with a status", rule: "name", fate: kills,
			how: "{init, H} ! {stop, {stop, 3}}"},
		{number: 12, name: "a signal made up", rule: "name", fate: kills,
			how: "{erl_signal_server, H} ! {notify, sigterm}"},
		{number: 13, name: "an environment", rule: "name",
			how: "gen_server:call({application_controller, H}, {set_env, kernel, ran, yes, []}, 2000)"},
		{number: 13, name: "an application", rule: "name",
			how:    "gen_server:call({application_controller, H}, {stop_application, sasl}, 2000)",
			worked: "not lists:keymember(sasl, 1, application:which_applications())"},
		{number: 13, name: "the kernel", rule: "name", fate: kills,
			how: "gen_server:call({application_controller, H}, {stop_application, kernel}, 2000)"},
		{number: 14, name: "a fun for global's registrar", rule: "global", fate: direct,
			how:    "gen_server:call({global_name_server, H}, {registrar, fun erlang:list_to_tuple/1}, 2000)",
			worked: "is_tuple(Got) andalso lists:member(node(), tuple_to_list(Got))"},
		{number: 14, name: "a name in global", rule: "global", fate: direct,
			how:    "gen_server:call({global_name_server, H}, {register, attacked, self(), fun global:random_exit_name/3}, 2000)",
			worked: "is_pid(global:whereis_name(attacked))"},
		{number: 14, name: "names of nodes that joined", rule: "global", fate: direct,
			how:    "gen_server:cast({global_name_server, H}, {new_nodes, node(), [{insert, {hijacked, self(), fun global:random_exit_name/3}}], [], [], []})",
			worked: "is_pid(global:whereis_name(hijacked))"},
	}
}
