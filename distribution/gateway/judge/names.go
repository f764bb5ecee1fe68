package judge

import (
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/distribution/wire/walk"
	"beamsandbox/policy"
)

// guestRegSend is a message to a registered name.
func (t *turn) guestRegSend() Verdict {
	name := string(t.c.name)
	switch name {
	case policy.GlobalServer:
		return t.global()
	case "net_kernel":
		return t.guestAuth()
	case "rex":
		if t.asksFeatures() {
			return t.refuse(ruleFeatures)
		}
	case "logger", "logger_proxy":
		t.o.log = append(t.o.log, loggerText(t.payload[1:])...)
		return t.refuse(ruleLogger)
	}
	if ch := t.j.rules.channels[name]; ch != nil {
		return t.guestToChannel(ch, walk.Pid{})
	}
	if s := t.j.scopes[name]; s != nil {
		return t.guestDiscover(s)
	}
	if len(t.j.rules.allow[name]) > 0 {
		return t.guestAllowed(t.j.rules.allow[name])
	}
	return t.refuse(ruleName)
}

// asksFeatures recognises what every node asks of every other one on nodeup,
// {Pid, features_request} (kernel's rpc.erl); the answer would name a process
// that runs what it is sent.
func (t *turn) asksFeatures() bool {
	m := t.message()
	if !m.TupleOf(2) {
		return false
	}
	_, ok := m.Pid()
	return ok && m.IsAtom("features_request")
}

// guestAuth answers a ping, {'$gen_call', {Pid, Tag}, {is_auth, Node}}, in the
// host's place: it asks whether the link is up, and it is.
func (t *turn) guestAuth() Verdict {
	m := t.message()
	if t.broken != "" || !m.Tagged(3, "$gen_call") {
		return t.refuse(ruleName)
	}
	tag := m
	caller, ref, _, ok := readFrom(&m)
	if !ok || caller != t.c.from || !t.j.ownRef(ref) || !m.Tagged(2, "is_auth") || !m.IsAtom(t.j.names.Guest) {
		return t.refuse(ruleName)
	}
	tag.TupleOf(2)
	tag.Pid()
	encoded, _ := tag.Skip()
	b := walk.AppendTuple(append(t.o.buf(), 131), 2)
	b = walk.AppendAtom(append(b, encoded...), "yes")
	b = t.o.keep(b)
	t.answer(t.head(wire.OpSend, 3).atom("").pid(caller), b)
	return t.swallow()
}

func (j *Judge) ownRef(r walk.Ref) bool {
	return r.Node == walk.Guest && r.Creation == j.cfg.Guest.Creation
}

// guestAllowed holds a message against the operator's rules for its name.
func (t *turn) guestAllowed(all []*allowed) Verdict {
	if t.broken != "" {
		return t.refuse(t.broken)
	}
	kind, request, ok := t.request()
	if !ok {
		return t.refuse(ruleMessage)
	}
	rule := ruleMessage
	for _, a := range all {
		if a.Kind != kind || !a.matches(request) {
			continue
		}
		if a.bucket.allow(t.now) {
			return t.pass(t.again(walk.Pid{}), t.payload)
		}
		rule = ruleRate
	}
	return t.refuse(rule)
}

// request is the kind of the message and what is inside it. A call must name
// its sender as the caller, and an info must not pose as one of the system's
// messages.
func (t *turn) request() (policy.Kind, []byte, bool) {
	m := t.message()
	switch {
	case m.Tagged(3, "$gen_call"):
		caller, ref, _, ok := readFrom(&m)
		return policy.Call, m.B, ok && caller == t.c.from && t.j.ownRef(ref)
	case m.Tagged(2, "$gen_cast"):
		return policy.Cast, m.B, true
	}
	return policy.Info, m.B, !poses(m)
}

// matches holds an encoded request against the rule's pattern.
func (a *allowed) matches(request []byte) bool {
	if a.Message == "" {
		return true
	}
	v, _, err := term.Limits{Shared: true}.DecodeBare(request)
	return err == nil && a.pattern.Match(v)
}
