package gateway

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"beamsandbox/distribution/gateway/judge"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/policy"
)

const (
	// maxRecords bounds the records of guests that are gone.
	maxRecords = 4 * maxMembers
	// showRefusals is how many refusals are shown in detail.
	showRefusals = 32
)

// record is what is kept about a guest beyond its links, and beyond the member
// itself: who is removed and comes back has not become a new guest. Its lock is
// held while a frame of the guest is judged; the member's may be taken under it.
type record struct {
	mu   sync.Mutex
	life judge.Lifetime
	news news
	said speech
}

// keep finds the record of a member, or takes it up from what was kept
// elsewhere; s.mu is held.
func (s *Server) keep(spec protocol.Member) *record {
	r := s.recordOf(spec.Name, spec.Record)
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := r.life.Quarantined; q != nil && spec.Build != "" {
		if q.Build == "" {
			q.Build = spec.Build
		}
		if q.Build != spec.Build { // the code that did it is gone
			s.cfg.Log.Info("quarantine lifted: the guest has other code", "app", spec.Name)
			r.life.Forgive()
		}
	}
	return r
}

// recordOf finds or begins the record of a guest; s.mu is held.
func (s *Server) recordOf(name string, kept json.RawMessage) *record {
	if r := s.records[name]; r != nil {
		return r
	}
	s.makeRoom()
	r := new(record)
	if len(kept) > 0 {
		life, err := judge.Resume(kept)
		if err != nil {
			s.cfg.Log.Error("a guest begins with a new record", "app", name, "err", err)
		}
		r.life = life
	}
	s.records[name] = r
	return r
}

// makeRoom drops the record of a guest that is gone, when there are too many.
func (s *Server) makeRoom() {
	if len(s.records) < maxRecords {
		return
	}
	for old := range s.records {
		if s.members[old] == nil {
			delete(s.records, old)
			return
		}
	}
}

// answerRecord hands out what is to be kept of a guest, and what it said.
func (s *Server) answerRecord(name string) protocol.Response {
	s.mu.Lock()
	r := s.records[name]
	s.mu.Unlock()
	if r == nil {
		return failed(fmt.Errorf("nothing is known of %s", name))
	}
	return r.answer()
}

func (r *record) answer() protocol.Response {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept, err := json.Marshal(&r.life)
	if err != nil {
		return failed(fmt.Errorf("encode what is kept: %w", err))
	}
	return protocol.Response{Record: kept, Said: r.said.take()}
}

// answerLift forgives a guest, be it served now or only kept.
func (s *Server) answerLift(req protocol.Request) protocol.Response {
	var kept json.RawMessage
	if req.Member != nil {
		kept = req.Member.Record
	}
	s.mu.Lock()
	r := s.recordOf(req.Name, kept)
	s.mu.Unlock()
	r.mu.Lock()
	was := r.life.Quarantined
	r.life.Forgive()
	r.mu.Unlock()
	s.cfg.Log.Info("guest forgiven", "app", req.Name, "quarantined", was != nil)
	return r.answer()
}

// node is what the record and the judge of the link that is up, if any, know
// of the guest.
func (r *record) node(j *judge.Judge, now time.Time) protocol.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := protocol.Node{
		Refused: map[string]uint64{}, Atoms: len(r.life.Atoms),
		Closed: r.life.Closures(now), NextTry: r.life.NextTry(now),
	}
	for _, by := range []map[string]uint64{r.life.Refusals, r.life.Withheld} {
		for rule, count := range by {
			n.Refused[rule] += count
		}
	}
	recent := r.life.Recent
	for _, one := range recent[max(0, len(recent)-showRefusals):] {
		n.Recent = append(n.Recent, protocol.Refusal{
			At: one.Time, ToGuest: one.From == policy.HostToGuest, Rule: one.Rule, Op: one.Op, To: one.To, Message: one.Message,
		})
	}
	if q := r.life.Quarantined; q != nil {
		n.Quarantine = &protocol.Quarantine{At: q.At, Rule: q.Rule, Closed: q.Closed, Build: q.Build}
	}
	if j != nil {
		n.Rights = j.Held()
	}
	return n
}
