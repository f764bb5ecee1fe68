package judge

import "beamsandbox/distribution/wire/walk"

const (
	// keepShown is how many identifiers a link remembers before it forgets
	// those that no right needs and nobody used; maxShown how many at most.
	keepShown = 4096
	maxShown  = 1 << 16
	// numberBits is what a pid has for its number: 15 bits of id and 13 of
	// serial are what every release of OTP takes.
	numberBits = 28
	idBits     = 15
	wordBits   = 18 // of a reference's first word
)

// table is the host's identifiers that a guest was shown, each under a number.
// Numbers are not used again by later links of the same guest.
type table[K comparable] struct {
	exposed bool // the guest sees the identifiers as they are
	next    *uint32
	numbers map[K]uint32
	shown   map[uint32]*entry[K]
	queue   []uint32
	spare   []*entry[K] // of what was forgotten, for what is shown next
}

type entry[K comparable] struct {
	key  K
	pins int32 // rights that need it
	used bool
}

func (t *table[K]) init(next *uint32) {
	t.next, t.numbers, t.shown = next, map[K]uint32{}, map[uint32]*entry[K]{}
	*next = max(*next, 1)
}

// show is the number of k, a new one when it has none.
func (t *table[K]) show(k K) (n uint32, ok bool) {
	if n, ok := t.numbers[k]; ok {
		t.shown[n].used = true
		return n, true
	}
	if len(t.numbers) >= keepShown {
		t.forget()
	}
	if len(t.numbers) >= maxShown {
		return 0, false
	}
	for {
		n = *t.next & (1<<numberBits - 1)
		*t.next++
		if t.shown[n] == nil {
			break
		}
	}
	t.numbers[k], t.shown[n] = n, t.entry(k)
	t.queue = append(t.queue, n)
	return n, true
}

// entry is a new one, in memory that is used again: every call of the host shows
// a reference.
func (t *table[K]) entry(k K) *entry[K] {
	last := len(t.spare) - 1
	if last < 0 {
		return &entry[K]{key: k}
	}
	e := t.spare[last]
	t.spare = t.spare[:last]
	*e = entry[K]{key: k}
	return e
}

// forget drops one identifier that was not used since it was last asked about
// and that no right needs. It looks at a few only: the table may grow.
func (t *table[K]) forget() {
	for range min(32, len(t.queue)) {
		n := t.queue[0]
		t.queue = t.queue[1:]
		e := t.shown[n]
		if e.pins == 0 && !e.used {
			delete(t.shown, n)
			delete(t.numbers, e.key)
			t.spare = append(t.spare, e)
			return
		}
		e.used = false
		t.queue = append(t.queue, n)
	}
}

// real is what a number stands for.
func (t *table[K]) real(n uint32) (k K, ok bool) {
	e := t.shown[n]
	if e == nil {
		return k, false
	}
	e.used = true
	return e.key, true
}

// pin keeps k, which is shown if it was not, until it is unpinned as often.
func (t *table[K]) pin(k K, by int32) {
	if by > 0 {
		t.show(k)
	}
	if n, ok := t.numbers[k]; ok {
		t.shown[n].pins += by
	}
}

// virtualPid is the host's process p as the guest may know it.
func (j *Judge) virtualPid(p walk.Pid) (walk.Pid, bool) {
	n, ok := j.pids.show(p)
	if j.pids.exposed || !ok {
		return p, ok
	}
	return walk.Pid{Node: walk.Host, ID: n & (1<<idBits - 1), Serial: n >> idBits, Creation: p.Creation}, true
}

// realPid is the host's process that the guest calls p.
func (j *Judge) realPid(p walk.Pid) (walk.Pid, bool) {
	if p.Node != walk.Host || p.Creation != j.cfg.Host.Creation {
		return walk.Pid{}, false
	}
	if j.pids.exposed {
		_, ok := j.pids.numbers[p]
		return p, ok
	}
	if p.ID >= 1<<idBits || p.Serial >= 1<<(numberBits-idBits) {
		return walk.Pid{}, false
	}
	return j.pids.real(p.ID | p.Serial<<idBits)
}

// virtualRef is the host's reference r as the guest may know it.
func (j *Judge) virtualRef(r walk.Ref) (walk.Ref, bool) {
	n, ok := j.refs.show(r)
	if j.refs.exposed || !ok {
		return r, ok
	}
	v := walk.Ref{Node: walk.Host, Len: r.Len, Creation: r.Creation}
	v.Words[0] = n
	if r.Len > 1 {
		v.Words[0], v.Words[1] = n&(1<<wordBits-1), n>>wordBits
	}
	return v, true
}

// realRef is the host's reference that the guest calls r.
func (j *Judge) realRef(r walk.Ref) (walk.Ref, bool) {
	if r.Node != walk.Host || r.Creation != j.cfg.Host.Creation {
		return walk.Ref{}, false
	}
	if j.refs.exposed {
		_, ok := j.refs.numbers[r]
		return r, ok
	}
	n := r.Words[0]
	if r.Len > 1 {
		n = r.Words[0]&(1<<wordBits-1) | r.Words[1]<<wordBits
	}
	real, ok := j.refs.real(n)
	if !ok {
		return walk.Ref{}, false
	}
	if again, _ := j.virtualRef(real); again != r {
		return walk.Ref{}, false
	}
	return real, true
}
