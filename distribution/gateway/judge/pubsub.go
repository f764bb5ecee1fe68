package judge

import (
	"beamsandbox/distribution/wire/walk"
)

// guestBroadcast is {forward_to_local, Topic, Message, Dispatcher} to a PubSub
// worker of the host (Phoenix.PubSub's pg2 adapter): it delivers Message to
// every subscriber of Topic.
func (t *turn) guestBroadcast(ch *channel, to walk.Pid) Verdict {
	if t.broken != "" {
		return t.refuse(t.broken)
	}
	if ch.message != nil {
		return t.guestToMember(ch.message, to)
	}
	if rule := broadcast(t.message(), ch); rule != "" {
		return t.refuse(rule)
	}
	return t.pass(t.again(to), t.payload)
}

// guestToMember is a message to a process of the host that is in a group which
// policy lets the guest speak to.
func (t *turn) guestToMember(a *allowed, to walk.Pid) Verdict {
	if m := t.message(); poses(m) || !a.matches(m.B) {
		return t.refuse(ruleMessage)
	}
	return t.pass(t.again(to), t.payload)
}

// broadcast returns the rule that a broadcast breaks.
func broadcast(m walk.Reader, ch *channel) string {
	if !m.Tagged(4, "forward_to_local") {
		return ruleShape
	}
	topic, ok := m.Binary()
	if !ok || !ch.topic(topic) {
		return ruleTopic
	}
	message := m
	if _, ok := m.Skip(); !ok {
		return ruleMalformed
	}
	dispatcher, ok := m.Atom()
	if !ok || !ch.dispatchers[string(dispatcher)] {
		return ruleDispatcher
	}
	if string(dispatcher) == channelDispatcher {
		if !broadcastOK(message, topic) {
			return ruleShape
		}
		return ""
	}
	if poses(message) {
		return ruleShape
	}
	return ""
}

// foreignTopic says whether a message of the host is a broadcast that is none
// of the guest's business.
func (t *turn) foreignTopic() bool {
	m := t.message()
	if !m.Tagged(4, "forward_to_local") {
		return false
	}
	topic, ok := m.Binary()
	if !ok {
		return true
	}
	for _, ch := range t.j.rules.pubsubs {
		if ch.topic(topic) {
			return false
		}
	}
	return true
}
