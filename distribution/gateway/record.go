package gateway

import (
	"sync"

	"beamsandbox/distribution/gateway/judge"
)

// maxRecords bounds the records of guests that are gone.
const maxRecords = 4 * maxMembers

// record is what is kept about a guest beyond its links, and beyond the member
// itself: who is removed and comes back has not become a new guest. Its lock is
// held while a frame of the guest is judged; the member's may be taken under it.
type record struct {
	mu   sync.Mutex
	life judge.Lifetime
}

// recordOf finds or begins the record of a member; s.mu is held.
func (s *Server) recordOf(name string) *record {
	if r := s.records[name]; r != nil {
		return r
	}
	if len(s.records) >= maxRecords {
		for old := range s.records {
			if s.members[old] == nil {
				delete(s.records, old)
				break
			}
		}
	}
	r := new(record)
	s.records[name] = r
	return r
}
