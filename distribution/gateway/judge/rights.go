package judge

import "beamsandbox/distribution/wire/walk"

// rights is what the guest may do because of what the host did. Identifiers
// are the host's own, not those that the guest knows.
type rights struct {
	replies  bounded[walk.Ref, reply]    // calls of the host, by the reference in their tag
	spawns   bounded[walk.Ref, spawn]    // processes that the host asked for
	monitors bounded[walk.Ref, monitor]  // held by the host on guest processes
	links    bounded[pair, struct{}]     // made by the host
	unlinks  bounded[pair, uint64]       // asked for by the host, not yet acknowledged
	sinks    bounded[walk.Pid, struct{}] // group leaders of what the host started
	watches  bounded[walk.Ref, watch]    // held by the guest, passed on
}

// pair is the two ends of a link.
type pair struct{ host, guest walk.Pid }

// reply is the right to answer one call.
type reply struct {
	caller walk.Pid
	form   tagForm
}

// spawn is the right to say what became of a process that the host asked for.
type spawn struct {
	from          walk.Pid
	link, monitor bool
}

// monitor is the right to tell that a process ended.
type monitor struct {
	watcher, target walk.Pid
	name            string // where the target is a registered name
	any             bool   // of a spawn whose answer has not come: nothing can have ended yet
}

// watch is a monitor of the guest on a host process or name.
type watch struct {
	from, target walk.Pid
	name         string
}

// limit bounds every kind to n entries and ties them to what must be kept.
func (r *rights) limit(j *Judge, n int) {
	pid := func(p walk.Pid, by int32) { j.pids.pin(p, by) }
	r.replies.init(n, func(k walk.Ref, v reply, by int32) { j.refs.pin(k, by); pid(v.caller, by) })
	r.spawns.init(n, func(k walk.Ref, v spawn, by int32) { j.refs.pin(k, by); pid(v.from, by) })
	r.monitors.init(n, func(k walk.Ref, v monitor, by int32) { j.refs.pin(k, by); pid(v.watcher, by) })
	r.links.init(n, func(k pair, _ struct{}, by int32) { pid(k.host, by) })
	r.unlinks.init(n, func(k pair, _ uint64, by int32) { pid(k.host, by) })
	r.sinks.init(min(n, 1024), func(k walk.Pid, _ struct{}, by int32) { pid(k, by) })
	r.watches.init(n, func(_ walk.Ref, v watch, by int32) {
		if v.name == "" {
			pid(v.target, by)
		}
	})
}

// bounded is a map that forgets its oldest entry rather than grow over max.
type bounded[K comparable, V any] struct {
	max   int
	m     map[K]V
	order []K
	hold  func(k K, v V, by int32) // told when an entry comes (1) and goes (-1)
}

func (b *bounded[K, V]) init(n int, hold func(K, V, int32)) {
	b.max, b.hold = n, hold
	if b.m == nil {
		b.m = map[K]V{}
	}
}

func (b *bounded[K, V]) get(k K) (V, bool) {
	v, ok := b.m[k]
	return v, ok
}

func (b *bounded[K, V]) has(k K) bool { _, ok := b.m[k]; return ok }

func (b *bounded[K, V]) put(k K, v V) {
	b.drop(k)
	for len(b.m) >= b.max && len(b.order) > 0 {
		oldest := b.order[0]
		b.order = b.order[1:]
		b.drop(oldest)
	}
	b.m[k] = v
	b.order = append(b.order, k)
	b.hold(k, v, 1)
	if len(b.order) > 2*len(b.m)+64 {
		b.tidy()
	}
}

func (b *bounded[K, V]) drop(k K) {
	if v, ok := b.m[k]; ok {
		delete(b.m, k)
		b.hold(k, v, -1)
	}
}

// tidy takes keys out of the order that have gone, and keeps the newest place
// of one that came again.
func (b *bounded[K, V]) tidy() {
	last := make(map[K]int, len(b.m))
	for i, k := range b.order {
		last[k] = i
	}
	kept := make([]K, 0, 2*len(b.m))
	for i, k := range b.order {
		if b.has(k) && last[k] == i {
			kept = append(kept, k)
		}
	}
	b.order = kept
}

// tagForm is how a call's tag looks; the answer begins with the same.
type tagForm uint8

const (
	tagRef    tagForm = iota + 1 // Ref
	tagAlias                     // [alias|Ref]
	tagNested                    // [[alias|Ref]|Anything], of calls made many at a time
	tagNode                      // {Ref, Node}, of gen_server:multi_call before OTP 26
	tagIO                        // Ref of an io_request: answered {io_reply, Ref, Reply}
)

// readTag reads the tag of a call and the reference in it (gen:reply/2 in OTP's
// stdlib tells the first three forms apart).
func readTag(r *walk.Reader) (ref walk.Ref, form tagForm, ok bool) {
	if ref, ok = r.Ref(); ok {
		return ref, tagRef, true
	}
	if r.TupleOf(2) {
		if ref, ok = r.Ref(); ok {
			_, ok = r.Atom()
		}
		return ref, tagNode, ok
	}
	n, ok := r.List()
	if !ok || n != 1 {
		return ref, 0, false
	}
	if r.IsAtom("alias") {
		ref, ok = r.Ref()
		return ref, tagAlias, ok
	}
	if n, ok = r.List(); !ok || n != 1 || !r.IsAtom("alias") {
		return ref, 0, false
	}
	if ref, ok = r.Ref(); !ok {
		return ref, 0, false
	}
	_, ok = r.Skip()
	return ref, tagNested, ok
}

// readFrom reads {Pid, Tag}.
func readFrom(r *walk.Reader) (p walk.Pid, ref walk.Ref, form tagForm, ok bool) {
	if !r.TupleOf(2) {
		return p, ref, 0, false
	}
	if p, ok = r.Pid(); !ok {
		return p, ref, 0, false
	}
	ref, form, ok = readTag(r)
	return p, ref, form, ok
}

// Held is how many rights of each kind the guest holds on this link, and how
// many of the host's identifiers it was shown.
func (j *Judge) Held() map[string]int {
	r := &j.rights
	held, peers := map[string]int{}, 0
	for _, s := range j.scopes {
		peers += len(s.peers)
	}
	for kind, n := range map[string]int{
		"reply": len(r.replies.m), "spawn": len(r.spawns.m), "monitor": len(r.monitors.m),
		"link": len(r.links.m), "io-sink": len(r.sinks.m), "watch": len(r.watches.m),
		"pg-peer": peers, "pubsub-worker": len(j.workers), "pid-shown": len(j.pids.numbers), "ref-shown": len(j.refs.numbers),
	} {
		if n > 0 {
			held[kind] = n
		}
	}
	return held
}
