package judge

import (
	"beamsandbox/distribution/wire/walk"
)

// guestToWorker is a message to a process of the host that is in groups which
// policy lets the guest speak to: one of them must let it through.
func (t *turn) guestToWorker(w *worker, to walk.Pid) Verdict {
	if t.broken != "" {
		return t.refuse(t.broken)
	}
	rule := ""
	for _, ch := range w.channels {
		broken := t.breaks(ch)
		if broken == "" {
			return t.pass(t.again(to), t.payload)
		}
		if rule == "" {
			rule = broken
		}
	}
	return t.refuse(rule)
}

// guestToChannel is a message to the registered name of a PubSub worker.
func (t *turn) guestToChannel(ch *channel, to walk.Pid) Verdict {
	if t.broken != "" {
		return t.refuse(t.broken)
	}
	if rule := t.breaks(ch); rule != "" {
		return t.refuse(rule)
	}
	return t.pass(t.again(to), t.payload)
}

// breaks returns the rule of a channel that the message breaks. Through a
// PubSub it is {forward_to_local, Topic, Message, Dispatcher} (Phoenix.PubSub's
// pg2 adapter): the worker delivers Message to every subscriber of Topic.
func (t *turn) breaks(ch *channel) string {
	if ch.message == nil {
		return broadcast(t.message(), ch)
	}
	if m := t.message(); poses(m) || !ch.message.matches(m.B) {
		return ruleMessage
	}
	return ""
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
	return !ok || !t.heard(topic)
}

// heard says whether the guest may hear a topic where the host sends it: at the
// name of a PubSub's worker, or at a process in a PubSub's group.
func (t *turn) heard(topic []byte) bool {
	channels, s := t.j.rules.channels, t.j.scopes[pubSubScope]
	if t.c.name != nil {
		ch := channels[string(t.c.name)]
		return ch != nil && ch.topic(topic)
	}
	if s == nil {
		return false
	}
	for _, guest := range s.peers {
		for group, in := range guest.joined {
			if ch := channels[group]; in[t.c.to] > 0 && ch != nil && ch.topic(topic) {
				return true
			}
		}
	}
	return false
}
