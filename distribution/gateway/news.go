package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/gateway/judge"
	"beamsandbox/policy"
)

const (
	// gatherFor is how long news of a record are gathered before followers are
	// told, and so the most that is lost when the gateway is killed.
	gatherFor = time.Second
	// refusedEvery is the least time between two events about refusals.
	refusedEvery = 10 * time.Second
	// maxSaid bounds what a guest may say to its log by way of the host VM
	// until it is fetched, in bytes.
	maxSaid = 64 << 10
)

// news is what followers were not told of yet; the record's lock guards it.
type news struct {
	told    uint64 // the lifetime's changes that they heard of
	armed   bool   // somebody is going to tell of changes
	refused map[string]uint64
	last    judge.Refusal
	counted bool      // somebody is going to tell of refusals
	quiet   time.Time // not before
}

// speech is text for the guest's log.
type speech struct {
	text []byte
	lost int // bytes that found no room
}

func (s *speech) add(text []byte) {
	n := min(len(text), maxSaid-len(s.text))
	s.text = append(s.text, text[:n]...)
	s.lost += len(text) - n
}

func (s *speech) take() []byte {
	text := s.text
	if s.lost > 0 {
		text = fmt.Appendf(text, "\n[%d bytes more were cut off]\n", s.lost)
	}
	*s = speech{}
	return text
}

// learn notes what one verdict changed; r.mu is held. In the steady state it
// compares two numbers.
func (r *record) learn(m *member, v judge.Verdict) {
	if len(v.Log) > 0 {
		r.said.add(v.Log)
	} else if r.life.Changes() == r.news.told {
		return
	}
	if v.Rule != "" && !v.Refusal.Harmless() {
		if r.news.refused == nil {
			r.news.refused = map[string]uint64{}
		}
		r.news.refused[v.Rule]++
		if v.Refusal.Op != "" || r.news.last.Op == "" {
			r.news.last = v.Refusal
		}
	}
	r.arm(m, v)
}

// arm sees to it that followers are told; r.mu is held.
func (r *record) arm(m *member, v judge.Verdict) {
	if !r.news.armed {
		r.news.armed = true
		time.AfterFunc(gatherFor, func() { r.tellChanges(m) })
	}
	if len(r.news.refused) > 0 && !r.news.counted {
		r.news.counted = true
		time.AfterFunc(max(gatherFor, r.news.quiet.Sub(v.Refusal.Time)), func() { r.tellRefused(m) })
	}
}

// tellChanges tells followers that there is more to be kept.
func (r *record) tellChanges(m *member) {
	defer m.s.survive(m.name + " news")
	r.mu.Lock()
	r.news.armed, r.news.told = false, r.life.Changes()
	r.mu.Unlock()
	m.tell("record", "")
}

// tellRefused tells followers what was refused since they heard of it last.
func (r *record) tellRefused(m *member) {
	defer m.s.survive(m.name + " news")
	r.mu.Lock()
	text := r.news.text(m.spec().Messages.Mode)
	r.news.refused, r.news.last, r.news.counted = nil, judge.Refusal{}, false
	r.news.quiet = time.Now().Add(refusedEvery)
	r.mu.Unlock()
	m.s.cfg.Log.Info("messages refused", "app", m.name, "what", text)
	m.tell("refused", text)
}

// text is the gathered refusals on one line.
func (n *news) text(mode policy.Mode) string {
	var total uint64
	var rules []string
	for _, rule := range slices.Sorted(maps.Keys(n.refused)) {
		total += n.refused[rule]
		rules = append(rules, fmt.Sprintf("%s %d", rule, n.refused[rule]))
	}
	verb := "refused"
	if mode == policy.Audit {
		verb = "would be refused"
	}
	text := fmt.Sprintf("%d messages of the guest %s: %s", total, verb, strings.Join(rules, ", "))
	if n.last.Op == "" {
		return text
	}
	return fmt.Sprintf("%s; one of them: %s to %s, rule %s: %s", text, n.last.Op, orNobody(n.last.To), n.last.Rule, n.last.Message)
}

func orNobody(to string) string {
	if to == "" {
		return "nobody"
	}
	return to
}

// barred says why the guest gets no link, if it broke rules too often.
func (m *member) barred() error {
	if err := m.quarantined(); err != nil {
		return err
	}
	m.record.mu.Lock()
	defer m.record.mu.Unlock()
	next := m.record.life.NextTry(time.Now())
	if next.IsZero() {
		return nil
	}
	return fmt.Errorf("its last link had to be closed for what it sent; it is let in again at %s", next.UTC().Format(time.RFC3339))
}

// quarantined says since when and why the guest is kept off for good.
func (m *member) quarantined() error {
	m.record.mu.Lock()
	defer m.record.mu.Unlock()
	q := m.record.life.Quarantined
	if q == nil {
		return nil
	}
	return fmt.Errorf("quarantined at %s: its links had to be closed %d times within ten minutes, last for breaking rule %s",
		q.At.UTC().Format(time.RFC3339), q.Closed, q.Rule)
}

// quarantine acts on a quarantine that the link which just ended brought: the
// guest loses its name, and followers are told.
func (m *member) quarantine() {
	err := m.quarantined()
	if err == nil {
		return
	}
	r, build := m.record, m.spec().Build
	r.mu.Lock()
	if q := r.life.Quarantined; q != nil && q.Build == "" {
		q.Build = build
	}
	r.mu.Unlock()
	m.unregistered(epmd.Registration{})
	m.s.cfg.Log.Error("guest quarantined", "app", m.name, "err", err)
	m.tell("record", "")
	m.tell("quarantined", err.Error())
}

// judging is the judge of the link that is up, nil when there is none.
func (m *member) judging() *judge.Judge {
	m.mu.Lock()
	l := m.link
	m.mu.Unlock()
	if l == nil {
		return nil
	}
	m.record.mu.Lock()
	defer m.record.mu.Unlock()
	return l.judge
}

// dialing is how often the guest may dial the host VM.
func dialing(m policy.Messages) pace {
	n := m.Limits.WithDefaults().Handshakes
	if n <= 0 {
		return pace{}
	}
	return pace{every: time.Minute / time.Duration(n), burst: n}
}
