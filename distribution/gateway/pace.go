package gateway

import "time"

// pace bounds how often a guest may do something: burst times at once, then
// once each every. Its time is that of the calls; it is not safe for use by
// several goroutines.
type pace struct {
	every time.Duration
	burst int
	due   time.Time // when all that was done would have been due, one each every
}

// next takes one turn and returns how long it must wait; 0 means not at all.
// Turns that wait longer than limit are not taken and the wait is negative.
func (p *pace) next(now time.Time, limit time.Duration) time.Duration {
	if p.due.Before(now) {
		p.due = now
	}
	wait := max(0, p.due.Sub(now)-p.every*time.Duration(p.burst-1))
	if wait > limit {
		return -1
	}
	p.due = p.due.Add(p.every)
	return wait
}
