package judge

import (
	"unicode/utf8"

	"beamsandbox/distribution/wire/walk"
)

// poses says whether a message that is delivered to a process as it is would
// be taken for one of the system's own: by OTP's behaviours (system, calls,
// exits, io, code loading), by whoever waits for an answer ({Ref, Reply}), or
// by Phoenix (client events, commands to a LiveView).
//
// The message itself may not begin with any of these words. A tuple inside it,
// down through tuples only, may not have the very form either: whoever unpacks
// such a message gets it one level up.
func poses(m walk.Reader) bool {
	root := m
	if n, ok := m.Tuple(); ok {
		return n > 0 && posesAtRoot(m) || posesInside(&root, 0)
	}
	return m.IsMap() && isClientEvent(&m)
}

func posesAtRoot(m walk.Reader) bool {
	if tag, ok := m.Atom(); ok {
		_, known := systemArity(tag)
		return known
	}
	ref, _, ok := readTag(&m)
	return ok && ref.Node == walk.Host
}

// posesInside goes past a tuple, and looks at it and the tuples in it for the
// form of a system message: word and number of elements. Each is read once.
func posesInside(m *walk.Reader, depth int) bool {
	n, ok := m.Tuple()
	if !ok || depth > 64 {
		return true
	}
	if depth > 0 && n > 0 && isSystem(*m, n) {
		return true
	}
	for range n {
		if posesAsPart(m, depth) {
			return true
		}
	}
	return false
}

// posesAsPart goes past one element of a tuple.
func posesAsPart(m *walk.Reader, depth int) bool {
	switch {
	case m.IsTuple():
		return posesInside(m, depth+1)
	case m.IsMap():
		return isClientEvent(m)
	}
	_, ok := m.Skip()
	return !ok
}

// isSystem says whether a tuple of n elements begins, at m, like a system
// message of that many.
func isSystem(m walk.Reader, n int) bool {
	tag, ok := m.Atom()
	if !ok {
		return false
	}
	arity, known := systemArity(tag)
	return known && (arity == n || arity == 0)
}

// systemArity knows the first words of the system's messages and how many
// elements they have, 0 where the word alone says it.
func systemArity(tag []byte) (n int, known bool) {
	switch string(tag) {
	case "$gen_call", "$gen_cast", "$gen_event", "$gen_all_state_event", "$gen_sync_all_state_event", "code_call", "io_request", "forward_to_local", "phoenix", "plug_conn":
		return 0, true
	case "system", "EXIT", "io_reply", "sync_notify", "timeout":
		return 3, true
	case "DOWN", "log":
		return 5, true
	case "notify", "nodedown", "nodeup":
		return 2, true
	case "spawn_reply":
		return 4, true
	}
	return 0, false
}

// isClientEvent goes past a map and recognises %Phoenix.Socket.Message{}, which
// a LiveView or a channel takes for an event of its user, and
// %Phoenix.Socket.Broadcast{} with an event that ends sockets.
func isClientEvent(m *walk.Reader) bool {
	module, event, ok := structOf(m)
	if !ok {
		return true
	}
	switch string(module) {
	case "Elixir.Phoenix.Socket.Message", "Elixir.Phoenix.Socket.Reply":
		return true
	case "Elixir.Phoenix.Socket.Broadcast":
		return endsSocket(event)
	}
	return false
}

func endsSocket(event []byte) bool {
	return string(event) == "disconnect" || len(event) >= 4 && string(event[:4]) == "phx_"
}

// structOf goes past a map: the name of a struct, and its event.
func structOf(m *walk.Reader) (module, event []byte, ok bool) {
	n, ok := m.Map()
	for range n {
		value := &event
		switch {
		case m.IsAtom("__struct__"):
			value = &module
		case m.IsAtom("event"):
		default:
			value = nil
			_, ok = m.Skip()
		}
		b, read := m.Skip()
		if !ok || !read {
			return nil, nil, false
		}
		if value != nil {
			*value = text(m, b)
		}
	}
	return module, event, ok
}

// text is the bytes of an atom or a binary, nil of any other term.
func text(m *walk.Reader, b []byte) []byte {
	r := walk.Reader{Names: m.Names, B: b}
	if name, ok := r.Atom(); ok {
		return name
	}
	b, _ = r.Binary()
	return b
}

// broadcastOK says whether a message for Phoenix.Channel.Server's dispatcher is
// a broadcast of its topic that every client's serializer can encode.
func broadcastOK(m walk.Reader, topic []byte) bool {
	n, ok := m.Map()
	if !ok || n != 4 {
		return false
	}
	for range n {
		key, ok := m.Atom()
		if !ok || !broadcastField(&m, string(key), topic) {
			return false
		}
	}
	return true
}

func broadcastField(m *walk.Reader, key string, topic []byte) bool {
	switch key {
	case "__struct__":
		return m.IsAtom("Elixir.Phoenix.Socket.Broadcast")
	case "topic":
		b, ok := m.Binary()
		return ok && string(b) == string(topic)
	case "event":
		b, ok := m.Binary()
		return ok && utf8.Valid(b) && !endsSocket(b)
	case "payload":
		if binary := *m; binary.Tagged(2, "binary") {
			_, ok := binary.Binary()
			*m = binary
			return ok
		}
		return m.IsMap() && jsonSafe(m)
	}
	return false
}

// jsonSafe says whether a term is one that JSON has: numbers, UTF-8, atoms,
// proper lists, and maps with atoms or text as keys that are no structs.
func jsonSafe(m *walk.Reader) bool {
	if n, ok := m.Map(); ok {
		for range n {
			if !jsonKey(m) || !jsonSafe(m) {
				return false
			}
		}
		return true
	}
	if n, ok := m.List(); ok {
		for range n {
			if !jsonSafe(m) {
				return false
			}
		}
		return m.Nil()
	}
	return jsonLeaf(m)
}

func jsonKey(m *walk.Reader) bool {
	if m.IsAtom("__struct__") {
		return false
	}
	if _, ok := m.Atom(); ok {
		return true
	}
	b, ok := m.Binary()
	return ok && utf8.Valid(b)
}

func jsonLeaf(m *walk.Reader) bool {
	if b, ok := m.Binary(); ok {
		return utf8.Valid(b)
	}
	if _, ok := m.Atom(); ok {
		return true
	}
	switch m.At() {
	case tagSmallInteger, tagInteger, tagSmallBig, tagNewFloat, tagNil, tagString:
		_, ok := m.Skip()
		return ok
	}
	return false
}

// Tags of the external term format that JSON has a counterpart for.
const (
	tagNewFloat     = 70
	tagSmallInteger = 97
	tagInteger      = 98
	tagNil          = 106
	tagString       = 107
	tagSmallBig     = 110
)
