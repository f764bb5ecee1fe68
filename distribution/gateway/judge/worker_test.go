package judge

import (
	"testing"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
)

// several grants two groups of one scope, in a shape each, beside a PubSub.
func several() policy.Messages {
	m := granted()
	m.Groups = []policy.Groups{
		{Scope: "jobs", Names: []string{"workers"}, Message: "{work, '$integer'}"},
		{Scope: "jobs", Names: []string{"more"}, Message: "{more, '$atom'}"},
	}
	return m
}

// jobs lets the servers of scope jobs meet, and the host tell who is in which
// group. It returns how to say what the host's server says next.
func (s *stage) jobs(groups ...term.Term) (says func(term.Term) heard) {
	s.t.Helper()
	s.host(wire.OpRegSend, []term.Term{hpid(70), atom(""), atom("jobs")}, tup(atom("discover"), hpid(70)))
	s.guest(wire.OpRegSend, []term.Term{gpid(80), atom(""), atom("jobs")}, tup(atom("discover"), gpid(80)))
	s.hostSays(gpid(80), syncOf(hpid(70), groups...))
	return func(m term.Term) heard { s.t.Helper(); return s.hostSays(gpid(80), m) }
}

func TestHostProcessInSeveralGroups(t *testing.T) {
	s := newStage(t, several())
	_, worker := s.pubsub() // hpid(51) is in the PubSub's group
	says := s.jobs(tup(atom("workers"), list(hpid(51), hpid(51))), tup(atom("more"), list(hpid(51))))
	to, real := []term.Term{atom(""), worker}, []term.Term{atom(""), hpid(51)}
	work, more, news := tup(atom("work"), term.Int(1)), tup(atom("more"), atom("x")), forward("stats:updates", atom("x"), pubSubDispatcher)
	try := func(what string, allowed ...term.Term) {
		t.Helper()
		for _, m := range []term.Term{work, more, news} {
			v := s.guest(wire.OpSend, to, m)
			want := false
			for _, a := range allowed {
				want = want || term.Equal(a, m)
			}
			if !want {
				if v.Action != Drop || v.Rule == "" {
					t.Errorf("%s: %s: action %d by rule %q, want a refusal", what, term.Format(m), v.Action, v.Rule)
				}
				continue
			}
			s.passes(v, wire.OpSend, real, m)
		}
	}
	leave := func(group string) { says(tup(atom("leave"), hpid(70), hpid(51), list(atom(group)))) }
	try("in all three", work, more, news)
	leave("workers")
	try("joined workers twice, left once", work, more, news)
	leave("workers")
	try("left workers", more, news)
	says(tup(atom("join"), hpid(70), atom("workers"), hpid(51)))
	try("joined again", work, more, news)
	says(syncOf(hpid(70), tup(atom("workers"), list(hpid(51)))))
	try("synchronised to workers alone", work, news)
	fewer := several()
	fewer.Groups = fewer.Groups[1:]
	if err := s.j.Set(fewer); err != nil {
		t.Fatal(err)
	}
	try("policy names workers no more", news)
	fewer.PubSubs = nil
	if err := s.j.Set(fewer); err != nil {
		t.Fatal(err)
	}
	s.refused(s.guest(wire.OpSend, to, news), Drop, ruleProcess)
	if n := len(s.j.workers); n != 0 {
		t.Errorf("%d workers are kept", n)
	}
}

// Two apps know of one PubSub: only the one that policy names it for is in it.
func TestGroupOfAnotherApp(t *testing.T) {
	for name, grant := range map[string]bool{"granted": true, "not granted": false} {
		t.Run(name, func(t *testing.T) {
			m := several()
			if !grant {
				m.PubSubs = nil
				m.Groups = append(m.Groups, policy.Groups{Scope: pubSubScope, Names: []string{"Elixir.Own.Adapter"}})
			}
			s := newStage(t, m)
			scope := atom(pubSubScope)
			h := s.host(wire.OpRegSend, []term.Term{hpid(50), atom(""), scope}, tup(atom("discover"), hpid(50)))
			to := []term.Term{atom(""), h.message.(term.Tuple)[1]}
			real := []term.Term{atom(""), hpid(50)}
			joined := []term.Term{tup(atom(adapter), list(gpid(61)))}
			all := syncOf(gpid(60), append(joined, tup(atom("Elixir.Other.Adapter"), list(gpid(61))))...)
			join := tup(atom("join"), gpid(60), atom(adapter), gpid(62))
			if grant {
				s.passesIn(s.guest(wire.OpSend, to, all), ruleGroup, wire.OpSend, real, syncOf(gpid(60), joined...))
				s.passes(s.guest(wire.OpSend, to, join), wire.OpSend, real, join)
				return
			}
			s.passesIn(s.guest(wire.OpSend, to, all), ruleGroup, wire.OpSend, real, syncOf(gpid(60)))
			s.refused(s.guest(wire.OpSend, to, join), Drop, ruleGroup)
			v := s.j.FromHost(s.now, s.frame(wire.OpSend, []term.Term{atom(""), gpid(60)}, tup(atom("join"), hpid(50), atom(adapter), hpid(51))))
			s.refused(v, Drop, ruleGroup)
		})
	}
}
