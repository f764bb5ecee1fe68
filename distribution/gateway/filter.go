package gateway

import (
	"fmt"
	"time"

	"beamsandbox/distribution/gateway/judge"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
)

const (
	// showRefusals is how many refusals are shown in detail.
	showRefusals = 32
	// What a guest says by way of the host VM is logged so often at once, then
	// once in logEvery.
	logBurst = 20
	logEvery = time.Second
)

// open makes the link's judge. What the guest did over its earlier links
// counts.
func (l *link) open() error {
	r := l.m.record
	r.mu.Lock()
	defer r.mu.Unlock()
	j, err := judge.New(judge.Config{Guest: l.guest.id, Host: l.host.id, Messages: l.m.spec().Messages}, &r.life)
	l.judge = j
	return err
}

// pass has one frame judged and sends what becomes of it, or returns why the
// link must end.
func (l *link) pass(dir policy.Direction, frame []byte, from, to *leg) error {
	v := l.verdict(dir, frame)
	if len(v.Log) > 0 {
		l.m.logged(v.Log)
	}
	for _, f := range v.Answer {
		if err := from.send(f.Head, f.Payload); err != nil {
			return err
		}
	}
	if v.Action == judge.Close {
		return fmt.Errorf("broke rule %s", v.Rule)
	}
	for _, f := range v.Forward {
		if err := to.send(f.Head, f.Payload); err != nil {
			return writeError{err}
		}
	}
	if v.Wait <= 0 {
		return nil
	}
	if err := l.flush(from, to); err != nil {
		return err
	}
	l.hold(v.Wait)
	return nil
}

// admit says why a frame of size bytes cannot come, before it does.
func (l *link) admit(dir policy.Direction, size int) error {
	if size > wire.DefaultMaxFrame {
		return fmt.Errorf("message of %d bytes is over the limit of %d", size, wire.DefaultMaxFrame)
	}
	if dir == policy.HostToGuest {
		return nil
	}
	r := l.m.record
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := l.judge.Announced(time.Now(), size); v.Action == judge.Close {
		return fmt.Errorf("broke rule %s", v.Rule)
	}
	return nil
}

// verdict judges one frame. Both directions share the judge, and all links of
// a guest its record.
func (l *link) verdict(dir policy.Direction, frame []byte) judge.Verdict {
	r := l.m.record
	r.mu.Lock()
	defer r.mu.Unlock()
	if dir == policy.HostToGuest {
		return l.judge.FromHost(time.Now(), frame)
	}
	return l.judge.FromGuest(time.Now(), frame)
}

// set changes the policy of a live link, or says why only a new link can.
func (l *link) set(m policy.Messages) error {
	r := l.m.record
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.judge == nil {
		return nil // it will be made from the new policy
	}
	return l.judge.Set(m)
}

// hold makes the sender wait, so that it keeps to its rate.
func (l *link) hold(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.ended:
	}
}

// logged notes what a guest said by way of the host VM, not too often.
func (m *member) logged(text []byte) {
	m.mu.Lock()
	silent := m.says.next(time.Now(), 0) != 0
	m.mu.Unlock()
	if !silent {
		m.s.cfg.Log.Info("guest said", "app", m.name, "text", string(text))
	}
}

// barred says why the guest gets no link, if it broke rules too often.
func (m *member) barred() error {
	m.record.mu.Lock()
	defer m.record.mu.Unlock()
	if !m.record.life.Quarantine(time.Now()) {
		return nil
	}
	rule := ""
	if all := m.record.life.Recent; len(all) > 0 {
		rule = all[len(all)-1].Rule
	}
	return fmt.Errorf("quarantined: its links had to be closed again and again, last for breaking rule %s; it is let in again in a few minutes", rule)
}

// refused counts what was not passed, by rule and in both directions, and
// shows the last of it, oldest first.
func (r *record) refused() (counts map[string]uint64, last []protocol.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts = make(map[string]uint64, len(r.life.Refusals))
	for _, by := range []map[string]uint64{r.life.Refusals, r.life.Withheld} {
		for rule, n := range by {
			counts[rule] += n
		}
	}
	recent := r.life.Recent
	for _, one := range recent[max(0, len(recent)-showRefusals):] {
		last = append(last, protocol.Refusal{
			At: one.Time, ToGuest: one.From == policy.HostToGuest, Rule: one.Rule, Op: one.Op, To: one.To, Message: one.Message,
		})
	}
	return counts, last
}
