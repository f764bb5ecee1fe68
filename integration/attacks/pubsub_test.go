//go:build integration

package attacks

import "fmt"

// pubSubAttacks go through the host VM's Phoenix.PubSub to whoever subscribed.
func pubSubAttacks() []attack {
	const (
		pubSub  = "'Elixir.Phoenix.PubSub'"
		channel = "'Elixir.Phoenix.Channel.Server'"
		crashed = "whereis('Elixir.Attacked.Adapter') =/= Adapter"
	)
	send := func(topic, message, dispatcher string) string {
		return fmt.Sprintf("{'Elixir.Attacked.Adapter', H} ! {forward_to_local, %s, %s, %s}", topic, message, dispatcher)
	}
	broadcast := func(event, payload string) string {
		return send(`<<"room:1">>`, fmt.Sprintf("#{'__struct__' => 'Elixir.Phoenix.Socket.Broadcast', topic => <<\"room:1\">>, event => <<%q>>, payload => %s}", event, payload), channel)
	}
	return []attack{
		{number: 27, name: "a topic that is no binary", rule: "topic",
			how: send("updates", "hi", pubSub), worked: crashed},
		{number: 27, name: "an unknown dispatcher", rule: "dispatcher",
			how: send(`<<"updates">>`, "hi", "nobody"), worked: crashed},
		{number: 27, name: "a topic that is no binary, time and again", rule: "topic",
			how:    "[begin " + send("updates", "hi", pubSub) + ", timer:sleep(100) end || _ <- lists:seq(1, 12)]",
			worked: "whereis(attack_pubsub) =/= Tree"},
		{number: 28, name: "get_state in a broadcast", rule: "shape",
			how:    "attacker:ask({'Elixir.Attacked.Adapter', H}, {forward_to_local, <<\"updates\">>, {system, {self(), make_ref()}, get_state}, " + pubSub + "})",
			worked: "is_tuple(Got) andalso maps:get(secret, element(2, Got)) =:= 'of the host'"},
		{number: 28, name: "terminate in a broadcast", rule: "shape",
			how:    send(`<<"updates">>`, "{system, {self(), make_ref()}, {terminate, shutdown}}", pubSub),
			worked: "whereis(attack_subscriber) =/= Subscriber"},
		{number: 28, name: "a call in a broadcast", rule: "shape",
			how:    send(`<<"updates">>`, "{'$gen_call', nobody, bogus}", pubSub),
			worked: "whereis(attack_subscriber) =/= Subscriber"},
		{number: 29, name: "a payload that no client's JSON has", rule: "shape",
			how: broadcast("new", "#{a => {1, 2}}"), worked: crashed},
		{number: 29, name: "a broadcast that logs users out", rule: "shape",
			how: broadcast("disconnect", "#{}"), worked: "whereis(attack_socket) =/= Socket"},
	}
}
