//go:build integration

package attacks

import (
	"fmt"
	"slices"
	"strings"
)

// third is a process of a node that is neither guest nor host.
const third = "binary_to_term(<<131, (attacker:pid('third@nowhere', 1))/binary>>)"

// processAttacks are signals to processes, and signals in another's name.
func processAttacks() []attack {
	return slices.Concat([]attack{
		{number: 15, name: "an exit to a guessed pid", rule: "exit",
			how: "exit(V0, kill)", worked: "whereis(attack_victim) =/= Victim"},
		{number: 15, name: "an exit to a pid", rule: "exit",
			how: "exit(V, kill)", worked: "whereis(attack_victim) =/= Victim"},
		{number: 15, name: "an exit to kernel_sup, guessed", rule: "exit", fate: kills,
			how: "exit(K0, kill)"},
		{number: 16, name: "a link and a death", rule: "link",
			how: "attacker:dying(fun() -> link(V) end)", worked: "whereis(attack_victim) =/= Victim"},
		{number: 17, name: "a group leader", rule: "group-leader",
			how: "group_leader(self(), V)", worked: "node(element(2, process_info(Victim, group_leader))) =/= node()"},
		{number: 17, name: "a group leader in the host's name", rule: "forged", by: second,
			how: "attacker:raw(H, {7, K, V})", worked: "{group_leader, whereis(kernel_sup)} =:= process_info(Victim, group_leader)"},
		{number: 18, name: "a monitor of a name", rule: "monitor",
			how: "monitor(process, {attack_victim, H})", worked: watched},
		{number: 18, name: "a monitor of a pid", rule: "monitor",
			how: "monitor(process, V)", worked: watched},
		{number: 18, name: "20000 monitors", rule: "monitor",
			how:    "[monitor(process, {attack_victim, H}) || _ <- lists:seq(1, 20000)]",
			worked: "{_, L} = process_info(Victim, monitored_by), length(L) >= 20000"},
		{number: 19, name: "an exit in a host process's name", rule: "forged", fate: kills,
			how: "attacker:raw(H, {8, V, V, kill})"},
		{number: 19, name: "the same with payload", rule: "forged", fate: kills,
			how: "attacker:raw(H, {26, V, V}, kill)"},
		{number: 20, name: "a malformed trace token", rule: "trace-token", fate: kills,
			how: "attacker:raw(H, {12, '', V, x}, hi)"},
	}, posing(), answers())
}

// posing is about control messages whose sender is somebody else.
func posing() []attack {
	const heard = "lists:member(hi, attack_host:heard(attack_victim))"
	all := []attack{
		{number: 21, name: "a message to a name as a third node", how: "{6, " + third + ", '', attack_victim}, hi", worked: heard},
		{number: 21, name: "a message to a name as the host", how: "{6, K, '', attack_victim}, hi", worked: heard},
		{number: 21, name: "a group leader as a third node", how: "{7, " + third + ", V}", worked: "node(element(2, process_info(Victim, group_leader))) =:= 'third@nowhere'"},
		{number: 21, name: "a message to a pid as a third node", how: "{22, " + third + ", V}, hi", worked: heard},
		{number: 21, name: "a message to a pid as the host", how: "{22, K, V}, hi", worked: heard},
	}
	for _, who := range []struct{ name, pid string }{{"a third node", third}, {"the host", "K"}} {
		for _, o := range []struct{ name, control string }{
			{"a link", "{1, %s, V}"},
			{"a monitor", "{19, %s, V, make_ref()}"},
			{"an end of a link", "{24, %s, V}, kill"},
			{"an end of who is watched", "{28, %s, V, Alias}, kill"},
			{"an unlink", "{35, 1, %s, V}"},
		} {
			all = append(all, attack{number: 21, name: o.name + " as " + who.name, how: fmt.Sprintf(o.control, who.pid), fate: cuts})
		}
	}
	for i := range all {
		all[i].rule, all[i].by, all[i].how = "forged", second, "attacker:raw(H, "+all[i].how+")"
		if strings.HasSuffix(all[i].name, "watched as a third node") {
			all[i].fate, all[i].how, all[i].worked = ignored, often(all[i].how), hurt
		}
	}
	return all
}

// watched says that a process of another node watches the victim.
const watched = "{monitored_by, L} = process_info(Victim, monitored_by), lists:any(fun(P) -> is_pid(P) andalso node(P) =/= node() end, L)"

// hurt is what becomes of who heeds an answer to nothing.
const hurt = "whereis(attack_victim) =/= Victim orelse attack_host:heard(attack_victim) =/= []"

// often says something in such a number that its arrival shows.
func often(how string) string { return "[" + how + " || _ <- lists:seq(1, 1000)]" }

// answers are those to what nobody asked.
func answers() []attack {
	return []attack{
		{number: 32, name: "an answer to no spawn", rule: "spawn-reply", fate: ignored,
			how: often("attacker:raw(H, {31, Alias, V, 0, self()})"), worked: hurt},
		{number: 32, name: "an end that nobody watches", rule: "down", fate: ignored,
			how: often("attacker:raw(H, {28, self(), V, Alias}, killed)"), worked: hurt},
		{number: 32, name: "an answer to an alias that is none", rule: "reply", fate: ignored,
			how: often("attacker:raw(H, {33, self(), attacker:ref_like(Alias)}, hi)"), worked: hurt},
		{number: 32, name: "a message to a live alias", rule: "reply",
			how: "attacker:raw(H, {33, self(), Alias}, hi)", worked: "lists:member(hi, attack_host:heard(attack_victim))"},
		{number: 32, name: "a system message to a live alias", rule: "reply",
			how:    "attacker:ask_raw(H, {33, self(), Alias}, {system, {self(), make_ref()}, get_state})",
			worked: "is_tuple(Got) andalso maps:get(secret, element(2, Got)) =:= 'of the host'"},
	}
}
