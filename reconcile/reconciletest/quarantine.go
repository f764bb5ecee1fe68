package reconciletest

import (
	"context"
	"errors"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/reconcile/app"
)

// Quarantine has the gateway keep a guest off, and tell so if tell is true.
func (n *Nodes) Quarantine(name app.Name, tell bool) {
	q := distribution.Quarantine{At: time.Now(), Rule: "forged", Closed: 5}
	n.Update(name, func(m *distribution.Member, s *distribution.Node) {
		q.Build = m.Build
		s.Quarantine, s.Up, s.Registered = &q, false, false
	})
	n.bars.Lock()
	if n.kept == nil {
		n.kept = map[app.Name]distribution.Quarantine{}
	}
	n.kept[name] = q
	n.bars.Unlock()
	n.Diary.Write("nodes: quarantined %s", name)
	if tell {
		n.world.guests.links.send(distribution.Event{Kind: distribution.Quarantined, Name: name, Detail: q.Error(), At: time.Now()})
	}
}

// of is the quarantine of a member, which other code lifts.
func (n *Nodes) of(m distribution.Member) *distribution.Quarantine {
	n.bars.Lock()
	defer n.bars.Unlock()
	q, barred := n.kept[m.Name]
	if barred && q.Build != m.Build {
		delete(n.kept, m.Name)
		barred = false
	}
	if !barred {
		return nil
	}
	return &q
}

// Lift lets a quarantined guest in again.
func (n *Nodes) Lift(_ context.Context, name app.Name) error {
	n.bars.Lock()
	_, barred := n.kept[name]
	delete(n.kept, name)
	n.bars.Unlock()
	if !barred {
		return errors.New("nothing is known of " + string(name))
	}
	n.Update(name, func(_ *distribution.Member, s *distribution.Node) { s.Quarantine = nil })
	n.Diary.Write("nodes: lifted %s", name)
	return nil
}
