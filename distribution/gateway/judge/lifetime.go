package judge

import (
	"encoding/json"
	"fmt"
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
	// Links that had to be closed count for closedIn, and keepClosed of them
	// are remembered.
	closedIn   = 10 * time.Minute
	keepClosed = policy.MostCloses
	// A guest whose link had to be closed waits before it gets another one,
	// twice as long each time.
	backoffFirst = time.Second
	backoffMost  = 8 * time.Second
	// resumeSkip is how many numbers of identifiers are left out when a lifetime
	// is taken up again: some may have been given out after it was kept.
	resumeSkip = 1 << 20
)

// Lifetime is what is kept about a guest over all its links and over restarts
// of the gateway. It can be encoded as JSON. The zero value is a new guest.
type Lifetime struct {
	Atoms    map[string]bool   `json:"atoms"`    // that the guest brought to the host VM, at most policy.MostAtoms
	Refusals map[string]uint64 `json:"refusals"` // by rule, guest to host
	Withheld map[string]uint64 `json:"withheld"` // by rule, host to guest
	Recent   []Refusal         `json:"recent"`   // the last ones, oldest first
	Closed   []time.Time       `json:"closed"`   // when links were closed for what they sent
	NextPid  uint32            `json:"next_pid"` // numbers of host identifiers go on from here
	NextRef  uint32            `json:"next_ref"`
	// Quarantined is set when links had to be closed too often, and stays until
	// the guest is forgiven.
	Quarantined *Quarantine `json:"quarantined,omitempty"`

	changes uint64
}

// Quarantine says since when and why a guest gets no link any more.
type Quarantine struct {
	At     time.Time `json:"at"`
	Rule   string    `json:"rule"`            // that it broke last
	Closed int       `json:"closed"`          // links that had to be closed within ten minutes
	Build  string    `json:"build,omitempty"` // digest of the code that did it, filled in by the gateway
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

// Resume takes up a lifetime as it was kept, encoded as JSON.
func Resume(kept []byte) (Lifetime, error) {
	var l Lifetime
	if err := json.Unmarshal(kept, &l); err != nil {
		return Lifetime{}, fmt.Errorf("read what is kept of a guest: %w", err)
	}
	l.NextPid += resumeSkip
	l.NextRef += resumeSkip
	return l, nil
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

// Changes grows whenever something changes that is worth keeping.
func (l *Lifetime) Changes() uint64 { return l.changes }

// Closures is how many links were closed of late for what the guest sent.
func (l *Lifetime) Closures(now time.Time) int {
	n := 0
	for _, at := range l.Closed {
		if now.Sub(at) < closedIn {
			n++
		}
	}
	return n
}

// NextTry is when the guest is let in again after its link had to be closed,
// zero when nothing keeps it out.
func (l *Lifetime) NextTry(now time.Time) time.Time {
	n := l.Closures(now)
	if n == 0 {
		return time.Time{}
	}
	wait := backoffFirst << min(n-1, 10)
	next := l.Closed[len(l.Closed)-1].Add(min(wait, backoffMost))
	if !next.After(now) {
		return time.Time{}
	}
	return next
}

// Forgive forgets why links were closed, so that the guest is let in again.
func (l *Lifetime) Forgive() {
	if l.Quarantined != nil || len(l.Closed) > 0 {
		l.Closed, l.Quarantined = nil, nil
		l.changes++
	}
}

// Harmless says whether any well-behaved node sends what was refused: it is
// counted, but no reason to look into.
func (r Refusal) Harmless() bool {
	switch r.Rule {
	case policy.RuleGlobal, ruleFeatures, ruleLogger, ruleDown:
		return true
	}
	return r.From == policy.HostToGuest
}

func (l *Lifetime) count(r Refusal) {
	l.changes++
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
}

// close notes that a link must be closed; from most closures of late on the
// guest is quarantined. A negative most is never reached.
func (l *Lifetime) close(r Refusal, most int) {
	l.Closed = append(l.Closed[max(0, len(l.Closed)-keepClosed+1):], r.Time)
	n := l.Closures(r.Time)
	if most > 0 && n >= min(most, keepClosed) && l.Quarantined == nil {
		l.Quarantined = &Quarantine{At: r.Time, Rule: r.Rule, Closed: n}
	}
}

// brought notes an atom that the host VM has from the guest.
func (l *Lifetime) brought(atom string) {
	if len(l.Atoms) < policy.MostAtoms && !l.Atoms[atom] {
		l.Atoms[atom] = true
		l.changes++
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
	j.life.count(r)
	if action == Close && j.mode() != policy.Audit { // there the link goes on
		j.life.close(r, j.limits.Closes)
	}
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
