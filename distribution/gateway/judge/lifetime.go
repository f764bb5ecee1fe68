package judge

import (
	"slices"
	"time"

	"beamsandbox/distribution/wire"
	"beamsandbox/distribution/wire/walk"
	"beamsandbox/policy"
)

const (
	// keepRefusals is how many refusals are kept in detail.
	keepRefusals = 64
	// briefTerm is how much of a refused message is kept, in bytes.
	briefTerm = 200
	// A guest whose links had to be closed quarantineAfter times within
	// quarantineIn is to be kept off.
	quarantineAfter = 5
	quarantineIn    = 10 * time.Minute
)

// Lifetime is what is kept about a guest over all its links and over restarts
// of the gateway. It can be encoded as JSON. The zero value is a new guest.
type Lifetime struct {
	Atoms    map[string]bool   `json:"atoms"`    // that the guest brought to the host VM
	Refusals map[string]uint64 `json:"refusals"` // by rule, guest to host
	Withheld map[string]uint64 `json:"withheld"` // by rule, host to guest
	Recent   []Refusal         `json:"recent"`   // the last ones, oldest first
	Closed   []time.Time       `json:"closed"`   // when links were closed for what they sent
	NextPid  uint32            `json:"next_pid"` // numbers of host identifiers go on from here
	NextRef  uint32            `json:"next_ref"`
}

// Refusal is one message that did not pass, for those who look into it.
type Refusal struct {
	Time    time.Time        `json:"time"`
	From    policy.Direction `json:"from"`
	Rule    string           `json:"rule"`
	Op      string           `json:"op"`      // "REG_SEND"
	To      string           `json:"to"`      // registered name, "<host.12.0>", ""
	Message string           `json:"message"` // the beginning of it, as text; "" when too many come
}

func (l *Lifetime) init() {
	if l.Atoms == nil {
		l.Atoms = map[string]bool{}
	}
	if l.Refusals == nil {
		l.Refusals = map[string]uint64{}
	}
	if l.Withheld == nil {
		l.Withheld = map[string]uint64{}
	}
}

// Quarantine says whether the guest's links had to be closed so often of late
// that it should get no more.
func (l *Lifetime) Quarantine(now time.Time) bool {
	return len(l.Closed) >= quarantineAfter && now.Sub(l.Closed[len(l.Closed)-quarantineAfter]) < quarantineIn
}

// Forgive forgets why links were closed, so that the guest is let in again.
func (l *Lifetime) Forgive() { l.Closed = nil }

// Harmless says whether any well-behaved node sends what was refused: it is
// counted, but no reason to look into.
func (r Refusal) Harmless() bool {
	switch r.Rule {
	case policy.RuleGlobal, ruleFeatures, ruleLogger, ruleDown:
		return true
	}
	return r.From == policy.HostToGuest
}

func (l *Lifetime) count(r Refusal, action Action) {
	if r.From == policy.HostToGuest {
		l.Withheld[r.Rule]++
	} else {
		l.Refusals[r.Rule]++
	}
	if r.Harmless() {
		return
	}
	if len(l.Recent) == keepRefusals {
		l.Recent = slices.Delete(l.Recent, 0, 1)
	}
	l.Recent = append(l.Recent, r)
	if action == Close {
		l.Closed = append(l.Closed[max(0, len(l.Closed)-quarantineAfter+1):], r.Time)
	}
}

// note counts a refusal and describes it, in detail unless too many come.
func (j *Judge) note(now time.Time, dir policy.Direction, rule string, c *control, payload []byte, action Action) Refusal {
	r := Refusal{Time: now, From: dir, Rule: rule}
	if j.renders.allow(now) {
		r.Op, r.To = c.op.String(), j.destination(c)
		if len(payload) > 1 {
			r.Message = walk.Brief(payload[1:], briefTerm, j.names)
		}
	}
	j.life.count(r, action)
	return r
}

func (j *Judge) destination(c *control) string {
	switch {
	case c.name != nil:
		return walk.Brief(walk.AppendAtom(nil, string(c.name)), briefTerm, j.names)
	case c.op == wire.OpAliasSend:
		return walk.Brief(walk.AppendRef(nil, c.ref, j.names), briefTerm, j.names)
	case c.to != walk.Pid{}:
		return walk.Brief(walk.AppendPid(nil, c.to, j.names), briefTerm, j.names)
	}
	return ""
}
