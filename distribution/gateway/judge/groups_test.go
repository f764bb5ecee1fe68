package judge

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
)

// pgServer is the host's server of one scope as kernel's pg.erl has it, as far
// as what other nodes send it goes: what would crash it there is an error here.
type pgServer struct {
	remote map[string]map[string][]string // by server, by group: processes, as often as they joined
	table  map[string][]string            // by group, of all servers
}

func newPGServer() *pgServer {
	return &pgServer{remote: map[string]map[string][]string{}, table: map[string][]string{}}
}

// minus is Erlang's --.
func minus(all, some []string) []string {
	all = slices.Clone(all)
	for _, p := range some {
		if i := slices.Index(all, p); i >= 0 {
			all = slices.Delete(all, i, i+1)
		}
	}
	return all
}

func (s *pgServer) take(message term.Tuple) error {
	text := func(t term.Term) string { return term.Format(t) }
	pids := func(t term.Term) (all []string) {
		if l, ok := t.(term.List); ok {
			for _, e := range l.Elems {
				all = append(all, text(e))
			}
			return all
		}
		return []string{text(t)}
	}
	switch message[0] {
	case term.Atom("discover"):
		if s.remote[text(message[1])] == nil {
			s.remote[text(message[1])] = map[string][]string{}
		}
	case term.Atom("$gen_cast"):
		groups := map[string][]string{}
		sync := message[1].(term.Tuple)
		for _, e := range sync[2].(term.List).Elems {
			groups[text(e.(term.Tuple)[0])] = pids(e.(term.Tuple)[1])
		}
		return s.sync(text(sync[1]), groups)
	case term.Atom("join"):
		if known := s.remote[text(message[1])]; known != nil {
			g := text(message[2])
			known[g] = append(known[g], pids(message[3])...)
			s.table[g] = append(s.table[g], pids(message[3])...)
		}
	case term.Atom("leave"):
		return s.leave(s.remote[text(message[1])], pids(message[2]), message[3].(term.List).Elems)
	default:
		return fmt.Errorf("badarg: %s", text(message))
	}
	return nil
}

func (s *pgServer) sync(peer string, groups map[string][]string) error {
	known := s.remote[peer]
	for g, now := range groups {
		old, was := known[g]
		if was && !slices.Equal(now, old) && s.table[g] == nil {
			return fmt.Errorf("badmatch: group %s is not in the table", g)
		}
		if !was || !slices.Equal(now, old) {
			s.put(g, append(minus(s.table[g], old), now...))
		}
	}
	for g, old := range known {
		if groups[g] == nil {
			s.put(g, minus(s.table[g], old))
		}
	}
	s.remote[peer] = groups
	return nil
}

func (s *pgServer) put(group string, all []string) {
	if s.table[group] = all; len(all) == 0 {
		delete(s.table, group)
	}
}

func (s *pgServer) leave(known map[string][]string, pids []string, groups []term.Term) error {
	for _, t := range groups {
		g := term.Format(t)
		if known == nil {
			return nil
		}
		if known[g] == nil {
			return fmt.Errorf("badkey: group %s is not known", g)
		}
		s.put(g, minus(s.table[g], pids))
		if known[g] = minus(known[g], pids); len(known[g]) == 0 {
			delete(known, g)
		}
	}
	return nil
}

func (s *pgServer) down(peer string) {
	for g, pids := range s.remote[peer] {
		s.put(g, minus(s.table[g], pids))
	}
	delete(s.remote, peer)
}

// groupsGround is a guest with several servers of one scope, as a hostile one
// may have, and the host's server.
type groupsGround struct {
	*stage
	host   *pgServer
	server term.Term // as the guest knows it
}

func newGroupsGround(t *testing.T) *groupsGround {
	g := &groupsGround{stage: newStage(t, granted()), host: newPGServer()}
	h := g.stage.host(wire.OpRegSend, []term.Term{hpid(70), atom(""), atom("jobs")}, tup(atom("discover"), hpid(70)))
	g.server = h.message.(term.Tuple)[1]
	return g
}

// step does what two bytes ask for: one message of one of the guest's servers.
func (g *groupsGround) step(what, about byte) {
	g.t.Helper()
	peer := gpid(80 + uint32(what>>3&1))
	var pids, groups, all []term.Term
	for n := range uint32(3) {
		if about>>n&1 == 1 {
			pids = append(pids, gpid(1+n))
		}
		if about>>(3+n)&1 == 1 {
			group := atom([]string{"workers", "more", "ungranted"}[n])
			groups, all = append(groups, group), append(all, tup(group, list(gpid(1+n), gpid(1+n>>1))))
		}
	}
	group := append(groups, atom("workers"))[0]
	to := []term.Term{atom(""), g.server}
	switch what & 7 {
	case 0:
		g.now = g.now.Add(time.Second)
		g.guestSays(wire.OpRegSend, []term.Term{peer, atom(""), atom("jobs")}, tup(atom("discover"), peer))
	case 1:
		g.guestSays(wire.OpSend, to, syncOf(peer, all...))
	case 2, 3:
		g.guestSays(wire.OpSend, to, tup(atom("join"), peer, group, list(pids...)))
	case 4:
		g.guestSays(wire.OpSend, to, tup(atom("join"), peer, group, gpid(1)))
	case 5, 6:
		g.guestSays(wire.OpSend, to, tup(atom("leave"), peer, list(pids...), list(groups...)))
	case 7:
		h := g.stage.host(wire.OpMonitor, []term.Term{hpid(70), peer, href(90)}, nil)
		g.guest(wire.OpPayloadMonitorExit, []term.Term{peer, g.server, h.control[3]}, atom("killed"))
		g.host.down(term.Format(peer))
	}
}

func (g *groupsGround) guestSays(op wire.Op, rest []term.Term, message term.Term) {
	g.t.Helper()
	for _, f := range g.guest(op, rest, message).Forward {
		if err := g.host.take(g.read(f).message.(term.Tuple)); err != nil {
			g.t.Fatalf("%s ended the host's server: %v", term.Format(message), err)
		}
	}
}

// check wants the host to know of granted groups alone, and the judge to know
// what the host knows.
func (g *groupsGround) check() {
	g.t.Helper()
	for group := range g.host.table {
		if group != "workers" && group != "more" {
			g.t.Fatalf("the host knows of group %s", group)
		}
	}
	for p, guest := range g.j.scopes["jobs"].peers {
		known := g.host.remote[term.Format(gpid(p.ID))]
		for _, group := range []string{"workers", "more"} {
			if n := total(guest.joined[group]); n != len(known[group]) {
				g.t.Fatalf("server %d: the judge counts %d in %s, the host %d", p.ID, n, group, len(known[group]))
			}
		}
	}
}

func TestLeavesOfSomeProcesses(t *testing.T) {
	g := newGroupsGround(t)
	g.step(0, 0)
	g.step(2, 0b001_001) // workers: 1
	g.step(2, 0b010_110) // more: 2, 3
	v := g.guest(wire.OpSend, []term.Term{atom(""), g.server}, tup(atom("leave"), gpid(80), list(gpid(1), gpid(2)), list(atom("workers"), atom("more"), atom("ungranted"))))
	if len(v.Forward) != 2 {
		t.Fatalf("%d messages by rule %q, want one for each group", len(v.Forward), v.Rule)
	}
	to := []term.Term{atom(""), hpid(70)}
	g.same(v.Forward[0], wire.OpSend, to, tup(atom("leave"), gpid(80), list(gpid(1)), list(atom("workers"))))
	g.same(v.Forward[1], wire.OpSend, to, tup(atom("leave"), gpid(80), list(gpid(2)), list(atom("more"))))
}

// TestDiscoversAreBounded: the host's server answers each discovery with all of
// its groups.
func TestDiscoversAreBounded(t *testing.T) {
	g := newGroupsGround(t)
	name, server := []term.Term{gpid(80), atom(""), atom("jobs")}, []term.Term{atom(""), g.server}
	passed := func(n int) (count int) {
		for i := range n {
			// By name and to the server, of one process and of new ones in turn.
			p := gpid(80 + uint32(i)%3)
			op, to := wire.OpSend, server
			if i%2 == 0 {
				op, to, name[0] = wire.OpRegSend, name, p
			}
			if v := g.guest(op, to, tup(atom("discover"), p)); v.Action == Pass {
				count++
			} else if v.Rule != ruleRate {
				t.Fatalf("action %d by rule %q", v.Action, v.Rule)
			}
		}
		return count
	}
	if n := passed(100); n != 5 {
		t.Errorf("%d of 100 discoveries passed at once, want 5", n)
	}
	g.now = g.now.Add(2 * time.Second)
	if n := passed(100); n != 2 {
		t.Errorf("%d of 100 discoveries passed two seconds later, want 2", n)
	}
}

// FuzzGroups: whatever the guest's servers say, in whatever order, the host's
// server lives, and knows what the judge thinks it does.
func FuzzGroups(f *testing.F) {
	f.Add([]byte{0, 0, 2, 9, 2, 22, 5, 27, 1, 25, 5, 63, 7, 0, 5, 9})
	f.Add([]byte{0, 0, 8, 0, 2, 9, 10, 9, 5, 9, 9, 27, 1, 8, 13, 9})
	f.Fuzz(func(t *testing.T, program []byte) {
		g := newGroupsGround(t)
		for n := 0; n+1 < min(len(program), 200); n += 2 {
			g.step(program[n], program[n+1])
			g.check()
		}
	})
}
