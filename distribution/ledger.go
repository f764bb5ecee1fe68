package distribution

import (
	"crypto/sha256"
	"encoding/json"
	"sync"
	"time"

	"beamsandbox/reconcile/app"
)

const (
	// askEvery is the least time between two questions for one guest's record.
	askEvery = time.Second
	// askSoon is the same where a guest was quarantined, which must not wait.
	askSoon = 20 * time.Millisecond
	// countEvery is the least time between two writes of a record in which
	// nothing but counters has changed: who is refused all the time shall not
	// keep the disk busy all the time.
	countEvery = 10 * time.Second
)

// ledger says whose record is asked for when. The zero value is empty.
type ledger struct {
	mu    sync.Mutex
	pages map[app.Name]*page
	woken chan struct{} // holds one token when something became due
}

// page is what the ledger knows of one guest.
type page struct {
	node    string    // what this room named it; empty: it has not yet
	due     time.Time // when its record is asked for; zero: not at all
	asked   time.Time
	written time.Time
	core    [sha256.Size]byte // of what was written
	whole   [sha256.Size]byte
}

// page is the guest's; l.mu is held.
func (l *ledger) page(name app.Name) *page {
	if l.pages == nil {
		l.pages = map[app.Name]*page{}
	}
	p := l.pages[name]
	if p == nil {
		p = new(page)
		l.pages[name] = p
	}
	return p
}

// named notes who a guest is that becomes a member.
func (l *ledger) named(name app.Name, node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.page(name).node = node
}

// ensured has the record of a new member asked for: what the gateway told of it
// before, nobody listened to.
func (l *ledger) ensured(name app.Name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.page(name); p.asked.IsZero() {
		l.dueAt(p, time.Now())
	}
}

// isNamed reports whether this room made the guest a member.
func (l *ledger) isNamed(name app.Name) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pages[name]
	return p != nil && p.node != ""
}

// goesBy reports whether a guest can have this node's name.
func (l *ledger) goesBy(name app.Name, node string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pages[name]
	return p == nil || p.node == "" || p.node == node
}

// news notes that there is more to be kept of a guest, which is asked for at
// least that much later than the last time.
func (l *ledger) news(name app.Name, now time.Time, later time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.page(name)
	at := p.asked.Add(later)
	if at.Before(now) {
		at = now
	}
	l.dueAt(p, at)
}

// dueAt has a record asked for at that time, or before; l.mu is held.
func (l *ledger) dueAt(p *page, at time.Time) {
	if !p.due.IsZero() && !at.Before(p.due) {
		return
	}
	p.due = at
	select {
	case l.wake() <- struct{}{}:
	default:
	}
}

// wake is woken; l.mu is held.
func (l *ledger) wake() chan struct{} {
	if l.woken == nil {
		l.woken = make(chan struct{}, 1)
	}
	return l.woken
}

// next is whose record is asked for now; without one, how long that takes, if
// anything is due at all, and what tells that something is due sooner.
func (l *ledger) next(now time.Time) (name app.Name, in time.Duration, sooner <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first *page
	for n, p := range l.pages {
		if !p.due.IsZero() && (first == nil || p.due.Before(first.due)) {
			first, name = p, n
		}
	}
	switch {
	case first == nil:
		return "", 0, l.wake()
	case first.due.After(now):
		return "", first.due.Sub(now), l.wake()
	}
	first.due, first.asked = time.Time{}, now
	return name, 0, nil
}

// writes reports whether a record is written now. One in which only counters
// changed waits until countEvery has passed, and is then asked for again.
func (l *ledger) writes(name app.Name, record []byte, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.page(name)
	if sha256.Sum256(record) == p.whole {
		return false
	}
	if next := p.written.Add(countEvery); coreOf(record) == p.core && now.Before(next) {
		l.dueAt(p, next)
		return false
	}
	return true
}

// wrote notes what was written.
func (l *ledger) wrote(name app.Name, record []byte, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.page(name)
	p.written, p.core, p.whole = now, coreOf(record), sha256.Sum256(record)
}

// coreOf tells records apart whose difference must not get lost: atoms, links
// that had to be closed, the quarantine, and numbers of identifiers, where the
// gateway leaves out 2^20 when it takes a record up again.
func coreOf(record []byte) [sha256.Size]byte {
	var r struct {
		Atoms       json.RawMessage `json:"atoms"`
		Closed      json.RawMessage `json:"closed"`
		Quarantined json.RawMessage `json:"quarantined"`
		NextPid     uint32          `json:"next_pid"`
		NextRef     uint32          `json:"next_ref"`
	}
	if json.Unmarshal(record, &r) != nil {
		return sha256.Sum256(record) // it is the gateway's own affair
	}
	r.NextPid, r.NextRef = r.NextPid>>18, r.NextRef>>18
	core, err := json.Marshal(r)
	if err != nil {
		return sha256.Sum256(record)
	}
	return sha256.Sum256(core)
}
