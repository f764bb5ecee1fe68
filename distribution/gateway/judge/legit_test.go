package judge

import (
	"testing"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
)

func TestGuestPings(t *testing.T) {
	s := newStage(t, granted())
	me := gpid(5)
	v := s.guest(wire.OpMonitor, []term.Term{me, atom("net_kernel"), gref(1)}, nil)
	s.refused(v, Drop, "")
	v = s.guest(wire.OpRegSend, []term.Term{me, atom(""), atom("net_kernel")}, tup(atom("$gen_call"), tup(me, alias(gref(1))), tup(atom("is_auth"), guestNode)))
	s.refused(v, Drop, "")
	s.answers(v, wire.OpSend, []term.Term{atom(""), me}, tup(alias(gref(1)), atom("yes")))
	s.refused(s.guest(wire.OpDemonitor, []term.Term{me, atom("net_kernel"), gref(1)}, nil), Drop, "")
}

func TestHostPings(t *testing.T) {
	s := newStage(t, granted())
	s.host(wire.OpMonitor, []term.Term{hpid(3), atom("net_kernel"), href(1)}, nil)
	h := s.host(wire.OpRegSend, []term.Term{hpid(3), atom(""), atom("net_kernel")}, tup(atom("$gen_call"), tup(hpid(3), alias(href(1))), tup(atom("is_auth"), hostNode)))
	from := h.message.(term.Tuple)[1].(term.Tuple)
	if term.Equal(from[0], hpid(3)) || term.Equal(from[1].(term.List).Tail, href(1)) {
		t.Error("the guest was shown the host's own numbers")
	}
	v := s.guest(wire.OpSend, []term.Term{atom(""), from[0]}, tup(from[1], atom("yes")))
	s.passes(v, wire.OpSend, []term.Term{atom(""), hpid(3)}, tup(alias(href(1)), atom("yes")))
	v = s.guest(wire.OpSend, []term.Term{atom(""), from[0]}, tup(from[1], atom("yes")))
	s.refused(v, Drop, ruleReply)
}

func TestHostCalls(t *testing.T) {
	s := newStage(t, granted())
	call := func() (tag term.Term) {
		h := s.hostSays(gpid(8), tup(atom("$gen_call"), tup(hpid(3), alias(href(1))), atom("get")))
		return h.message.(term.Tuple)[1].(term.Tuple)[1]
	}
	tag := call()
	ref := tag.(term.List).Tail
	v := s.guest(wire.OpAliasSend, []term.Term{gpid(8), ref}, tup(tag, bin("value")))
	s.passes(v, wire.OpAliasSend, []term.Term{gpid(8), href(1)}, tup(alias(href(1)), bin("value")))
	s.refused(s.guest(wire.OpAliasSend, []term.Term{gpid(8), ref}, tup(tag, bin("value"))), Drop, ruleReply)
	tag = call()
	v = s.guest(wire.OpAliasSend, []term.Term{gpid(8), ref}, tup(atom("system"), tup(gpid(8), gref(2)), atom("get_state")))
	s.refused(v, Drop, ruleReply)
	v = s.guest(wire.OpAliasSend, []term.Term{gpid(8), ref}, tup(tag, term.Fun{Encoded: []byte{113, 119, 1, 'a', 119, 1, 'b', 97, 1}}))
	s.refused(v, Drop, ruleFun)
	s.host(wire.OpDemonitor, []term.Term{hpid(3), gpid(8), href(1)}, nil)
	s.refused(s.guest(wire.OpAliasSend, []term.Term{gpid(8), ref}, tup(tag, bin("late"))), Drop, ruleReply)
}

// rpc has the host start a process as erpc does, and returns the request and
// the caller as the guest knows them.
func (s *stage) rpc(opts ...term.Term) (req, caller, leader term.Term) {
	h := s.host(wire.OpSpawnRequest, []term.Term{href(20), hpid(3), hpid(40), tup(atom("erpc"), atom("execute_call"), term.Int(4)), list(opts...)}, list(href(21), atom("m"), atom("f"), list()))
	return h.control[1], h.control[2], h.control[3]
}

func TestHostRPC(t *testing.T) {
	s := newStage(t, granted())
	req, caller, _ := s.rpc(atom("monitor"), tup(atom("reply"), atom("error_only")))
	v := s.guest(wire.OpSpawnReply, []term.Term{req, caller, term.Int(2), gpid(9)}, nil)
	s.passes(v, wire.OpSpawnReply, []term.Term{href(20), hpid(3), term.Int(2), gpid(9)}, nil)
	s.refused(s.guest(wire.OpSpawnReply, []term.Term{req, caller, term.Int(2), gpid(9)}, nil), Drop, ruleSpawnReply)
	v = s.guest(wire.OpPayloadMonitorExit, []term.Term{gpid(10), caller, req}, atom("normal"))
	s.refused(v, Drop, ruleDown)
	v = s.guest(wire.OpPayloadMonitorExit, []term.Term{gpid(9), caller, req}, tup(gref(1), atom("return"), term.Int(42)))
	s.passes(v, wire.OpPayloadMonitorExit, []term.Term{gpid(9), hpid(3), href(20)}, tup(gref(1), atom("return"), term.Int(42)))
	v = s.guest(wire.OpPayloadMonitorExit, []term.Term{gpid(9), caller, req}, atom("normal"))
	s.refused(v, Drop, ruleDown)
}

// TestEndBeforeTheSpawnReply: a node answers a spawn before it tells of the
// process's end, so an end that comes first is none.
func TestEndBeforeTheSpawnReply(t *testing.T) {
	s := newStage(t, granted())
	req, caller, _ := s.rpc(atom("monitor"))
	down := func() Verdict {
		return s.guest(wire.OpPayloadMonitorExit, []term.Term{gpid(9), caller, req}, atom("normal"))
	}
	s.refused(down(), Drop, ruleDown)
	v := s.guest(wire.OpSpawnReply, []term.Term{req, caller, term.Int(2), gpid(9)}, nil)
	s.passes(v, wire.OpSpawnReply, []term.Term{href(20), hpid(3), term.Int(2), gpid(9)}, nil)
	s.passes(down(), wire.OpPayloadMonitorExit, []term.Term{gpid(9), hpid(3), href(20)}, atom("normal"))
}

func TestHostSpawnFails(t *testing.T) {
	s := newStage(t, granted())
	req, caller, _ := s.rpc(atom("monitor"))
	s.refused(s.guest(wire.OpSpawnReply, []term.Term{req, caller, term.Int(0), atom("surprise")}, nil), Drop, ruleSpawnReply)
	v := s.guest(wire.OpSpawnReply, []term.Term{req, caller, term.Int(0), atom("system_limit")}, nil)
	s.passes(v, wire.OpSpawnReply, []term.Term{href(20), hpid(3), term.Int(0), atom("system_limit")}, nil)
}

func TestHostSpawnLinks(t *testing.T) {
	s := newStage(t, granted())
	req, caller, _ := s.rpc(atom("link"))
	// The guest may not claim a link or monitor that was not asked for.
	v := s.guest(wire.OpSpawnReply, []term.Term{req, caller, term.Int(3), gpid(9)}, nil)
	s.passes(v, wire.OpSpawnReply, []term.Term{href(20), hpid(3), term.Int(1), gpid(9)}, nil)
	h := s.host(wire.OpUnlinkID, []term.Term{term.Int(1 << 40), hpid(3), gpid(9)}, nil)
	v = s.guest(wire.OpUnlinkIDAck, []term.Term{term.Int(1 << 41), gpid(9), h.control[2]}, nil)
	s.refused(v, Drop, ruleLink)
	v = s.guest(wire.OpUnlinkIDAck, []term.Term{term.Int(1 << 40), gpid(9), h.control[2]}, nil)
	s.passes(v, wire.OpUnlinkIDAck, []term.Term{term.Int(1 << 40), gpid(9), hpid(3)}, nil)
	s.refused(s.guest(wire.OpPayloadExit, []term.Term{gpid(9), caller}, atom("boom")), Drop, ruleLink)
}

func TestHostLinksAndHearsOfTheEnd(t *testing.T) {
	s := newStage(t, granted())
	h := s.host(wire.OpLink, []term.Term{hpid(3), gpid(9)}, nil)
	v := s.guest(wire.OpPayloadExit, []term.Term{gpid(9), h.control[1]}, tup(atom("boom"), list()))
	s.passes(v, wire.OpPayloadExit, []term.Term{gpid(9), hpid(3)}, tup(atom("boom"), list()))
	// In the older form, with a reason that may not pass: the news does.
	h = s.host(wire.OpLink, []term.Term{hpid(3), gpid(9)}, nil)
	v = s.guest(wire.OpExit, []term.Term{gpid(9), h.control[1], term.Port{Node: guestNode, ID: 1, Creation: 7}}, nil)
	if v.Action != Pass || v.Rule != rulePort {
		t.Fatalf("action %d by rule %q", v.Action, v.Rule)
	}
	s.same(v.Forward[0], wire.OpPayloadExit, []term.Term{gpid(9), hpid(3)}, atom(filtered))
}

func TestHostMonitors(t *testing.T) {
	s := newStage(t, granted())
	h := s.host(wire.OpMonitor, []term.Term{hpid(3), atom("pulse"), href(1)}, nil)
	v := s.guest(wire.OpPayloadMonitorExit, []term.Term{atom("other"), h.control[1], h.control[3]}, atom("normal"))
	s.refused(v, Drop, ruleDown)
	v = s.guest(wire.OpMonitorExit, []term.Term{atom("pulse"), h.control[1], h.control[3], atom("normal")}, nil)
	s.passes(v, wire.OpPayloadMonitorExit, []term.Term{atom("pulse"), hpid(3), href(1)}, atom("normal"))
}

func TestOutputUnderTheHostsGroupLeader(t *testing.T) {
	s := newStage(t, granted())
	_, _, leader := s.rpc(atom("monitor"))
	me := gpid(9)
	s.refused(s.guest(wire.OpMonitor, []term.Term{me, leader, gref(3)}, nil), Drop, "")
	for name, tc := range map[string]struct {
		request term.Term
		text    string
		reply   term.Term
	}{
		"format":   {tup(atom("put_chars"), atom("unicode"), atom("io_lib"), atom("format"), list(term.String("hello ~s, ~p~n"), list(bin("you"), tup(term.Int(1))))), "hello you, {1}\n", atom("ok")},
		"chars":    {tup(atom("put_chars"), atom("unicode"), list(bin("a"), term.String("bc"))), "abc", atom("ok")},
		"several":  {tup(atom("requests"), list(tup(atom("put_chars"), atom("unicode"), bin("a")), tup(atom("put_chars"), atom("latin1"), bin("b")))), "ab", atom("ok")},
		"question": {tup(atom("get_line"), atom("unicode"), bin("> ")), "", tup(atom("error"), atom("enotsup"))},
	} {
		t.Run(name, func(t *testing.T) {
			v := s.guest(wire.OpSend, []term.Term{atom(""), leader}, tup(atom("io_request"), me, gref(3), tc.request))
			s.refused(v, Drop, "")
			s.answers(v, wire.OpSend, []term.Term{atom(""), me}, tup(atom("io_reply"), gref(3), tc.reply))
			if string(v.Log) != tc.text {
				t.Errorf("logged %q, want %q", v.Log, tc.text)
			}
		})
	}
	s.refused(s.guest(wire.OpDemonitor, []term.Term{me, leader, gref(3)}, nil), Drop, "")
	meta := tup()
	for want, event := range map[string]term.Term{
		"[error] bad things\n":            tup(atom("log"), atom("error"), bin("bad things"), meta),
		"[error] a string\n":              tup(atom("log"), atom("error"), term.String("a string"), meta),
		"[notice] 1 is {two}\n":           tup(atom("log"), atom("notice"), term.String("~p is ~p~n"), list(term.Int(1), tup(atom("two"))), meta),
		"[info] [{label,x}]\n":            tup(atom("log"), atom("info"), list(tup(atom("label"), atom("x"))), meta),
		"[debug] loaded\n":                tup(atom("$olp_load"), tup(atom("log"), atom("debug"), bin("loaded"), meta)),
		"{log,nothing}\n":                 tup(atom("log"), atom("nothing")),
		"[log event too large to show]\n": tup(atom("log"), atom("error"), nils(4*maxLog+1), meta),
	} {
		v := s.guest(wire.OpRegSend, []term.Term{me, atom(""), atom("logger_proxy")}, event)
		s.refused(v, Drop, ruleLogger)
		if string(v.Log) != want {
			t.Errorf("logged %q, want %q", v.Log, want)
		}
	}
}

func TestNodeup(t *testing.T) {
	s := newStage(t, granted())
	v := s.guest(wire.OpRegSend, []term.Term{gpid(1), atom(""), atom("rex")}, tup(gpid(1), atom("features_request")))
	s.refused(v, Drop, ruleFeatures)
	greeting := tup(atom("$gen_cast"), tup(atom("init_connect"), tup(term.Int(8), term.Int(1)), guestNode))
	to := []term.Term{gpid(2), atom(""), atom("global_name_server")}
	v = s.guest(wire.OpRegSend, to, greeting)
	s.refused(v, Drop, "global")
	s.answers(v, wire.OpRegSend, []term.Term{hpid(1), atom(""), atom("global_name_server")}, tup(atom("$gen_cast"), tup(atom("in_sync"), hostNode, atom("true"))))
	if v = s.guest(wire.OpRegSend, to, greeting); len(v.Answer) != 0 {
		t.Error("in_sync was said twice")
	}
	v = s.j.FromHost(s.now, s.frame(wire.OpRegSend, []term.Term{hpid(2), atom(""), atom("global_name_server")}, greeting))
	s.refused(v, Drop, "global")
	s.answers(v, wire.OpRegSend, []term.Term{gpid(1), atom(""), atom("global_name_server")}, tup(atom("$gen_cast"), tup(atom("in_sync"), guestNode, atom("true"))))
	v = s.guest(wire.OpMonitor, []term.Term{gpid(1), atom("global_name_server"), gref(1)}, nil)
	s.answers(v, wire.OpPayloadMonitorExit, []term.Term{atom("global_name_server"), gpid(1), gref(1)}, atom("noproc"))
	if len(s.life.Recent) != 0 {
		t.Errorf("a nodeup left refusals behind: %v", s.life.Recent)
	}
}

func TestPubSubBothWays(t *testing.T) {
	s := newStage(t, granted())
	_, worker := s.pubsub()
	msg := forward("stats:updates", tup(atom("stats"), term.Map{{Key: atom("count"), Value: term.Int(1)}}), pubSubDispatcher)
	v := s.guest(wire.OpSend, []term.Term{atom(""), worker}, msg)
	s.passes(v, wire.OpSend, []term.Term{atom(""), hpid(51)}, msg)
	v = s.guest(wire.OpRegSend, []term.Term{gpid(4), atom(""), atom(adapter + "_2")}, msg)
	s.passes(v, wire.OpRegSend, []term.Term{gpid(4), atom(""), atom(adapter + "_2")}, msg)
	event := term.Map{
		{Key: atom("__struct__"), Value: atom("Elixir.Phoenix.Socket.Broadcast")}, {Key: atom("event"), Value: bin("new_msg")},
		{Key: atom("payload"), Value: term.Map{{Key: bin("body"), Value: list(bin("hi"), term.Float(1.5), atom("nil"))}}}, {Key: atom("topic"), Value: bin("room:1")},
	}
	msg = forward("room:1", event, channelDispatcher)
	s.passes(s.guest(wire.OpSend, []term.Term{atom(""), worker}, msg), wire.OpSend, []term.Term{atom(""), hpid(51)}, msg)

	if h := s.hostSays(gpid(61), forward("room:7", atom("hello"), pubSubDispatcher)); !term.Equal(h.message, forward("room:7", atom("hello"), pubSubDispatcher)) {
		t.Errorf("guest heard %s", term.Format(h.message))
	}
	for _, to := range [][]byte{
		s.frame(wire.OpSend, []term.Term{atom(""), gpid(61)}, forward("secrets", atom("x"), pubSubDispatcher)),
		s.frame(wire.OpRegSend, []term.Term{hpid(4), atom(""), atom(adapter)}, forward("secrets", atom("x"), pubSubDispatcher)),
	} {
		if v := s.j.FromHost(s.now, to); v.Action != Drop || v.Rule != ruleTopic {
			t.Errorf("another topic: action %d by rule %q", v.Action, v.Rule)
		}
	}
}

// TestPortsOfTheHost: they are shown as they are, since a guest can do nothing
// with one: no message with a port passes, and no signal is for one.
func TestPortsOfTheHost(t *testing.T) {
	s := newStage(t, granted())
	port := term.Port{Node: hostNode, ID: 5, Creation: 9}
	if h := s.hostSays(gpid(8), tup(atom("socket"), port)); !term.Equal(h.message, tup(atom("socket"), port)) {
		t.Errorf("guest heard %s", term.Format(h.message))
	}
	h := s.hostSays(gpid(8), tup(atom("$gen_call"), tup(hpid(3), alias(href(1))), port))
	tag := h.message.(term.Tuple)[1].(term.Tuple)[1].(term.List)
	s.refused(s.guest(wire.OpRegSend, []term.Term{gpid(8), atom(""), atom("inbox")}, list(port)), Drop, rulePort)
	s.refused(s.guest(wire.OpAliasSend, []term.Term{gpid(8), tag.Tail}, tup(tag, port)), Drop, rulePort)
	for op, rest := range map[wire.Op][]term.Term{
		wire.OpLink: {gpid(8), port}, wire.OpMonitor: {gpid(8), port, gref(1)}, wire.OpSend: {atom(""), port},
		wire.OpExit2: {gpid(8), port, atom("kill")}, wire.OpUnlinkID: {term.Int(1), gpid(8), port},
	} {
		var message term.Term
		if op == wire.OpSend {
			message = tup(atom("x"))
		}
		s.refused(s.guest(op, rest, message), Close, ruleMalformed)
	}
}

// TestTopicsOfOtherPubSubs: a topic that is granted of one PubSub is not heard
// through another one.
func TestTopicsOfOtherPubSubs(t *testing.T) {
	m := granted()
	m.PubSubs = append(m.PubSubs, policy.PubSub{Name: "Elixir.Own.PubSub", Topics: []string{"own"}})
	s := newStage(t, m)
	server, _ := s.pubsub() // gpid(61) is in the first one
	own := tup(atom("join"), gpid(60), atom("Elixir.Own.PubSub.Adapter"), gpid(62))
	s.passes(s.guest(wire.OpSend, []term.Term{atom(""), server}, own), wire.OpSend, []term.Term{atom(""), hpid(50)}, own)
	to := func(p term.Pid) func(string) []byte {
		return func(topic string) []byte {
			return s.frame(wire.OpSend, []term.Term{atom(""), p}, forward(topic, atom("x"), pubSubDispatcher))
		}
	}
	at := func(name string) func(string) []byte {
		return func(topic string) []byte {
			return s.frame(wire.OpRegSend, []term.Term{hpid(4), atom(""), atom(name)}, forward(topic, atom("x"), pubSubDispatcher))
		}
	}
	for name, tc := range map[string]struct {
		frame      func(string) []byte
		stats, own bool
	}{
		"a worker of the first":      {to(gpid(61)), true, false},
		"a worker of the second":     {to(gpid(62)), false, true},
		"a process in neither":       {to(gpid(63)), false, false},
		"the name of the first":      {at(adapter), true, false},
		"the name of the second's":   {at("Elixir.Own.PubSub.Adapter_2"), false, true},
		"a name that is no PubSub's": {at("stats"), false, false},
	} {
		for topic, heard := range map[string]bool{"stats:updates": tc.stats, "own": tc.own} {
			if v := s.j.FromHost(s.now, tc.frame(topic)); (v.Action == Pass) != heard || heard == (v.Rule == ruleTopic) {
				t.Errorf("%s to %s: action %d by rule %q", topic, name, v.Action, v.Rule)
			}
		}
	}
}

func TestProcessGroups(t *testing.T) {
	s := newStage(t, granted())
	server, _ := s.pubsub()
	to := []term.Term{atom(""), server}
	real := []term.Term{atom(""), hpid(50)}
	join := tup(atom("join"), gpid(60), atom(adapter+"_2"), list(gpid(62), gpid(63)))
	s.passes(s.guest(wire.OpSend, to, join), wire.OpSend, real, join)
	v := s.guest(wire.OpSend, to, tup(atom("leave"), gpid(60), gpid(62), list(atom(adapter+"_2"), atom("Elixir.Other"))))
	s.passes(v, wire.OpSend, real, tup(atom("leave"), gpid(60), gpid(62), list(atom(adapter+"_2"))))
	s.refused(s.guest(wire.OpSend, to, tup(atom("leave"), gpid(60), gpid(62), list(atom(adapter+"_2")))), Drop, ruleGroup)

	v = s.guest(wire.OpMonitor, []term.Term{gpid(60), server, gref(9)}, nil)
	s.passes(v, wire.OpMonitor, []term.Term{gpid(60), hpid(50), gref(9)}, nil)
	v = s.guest(wire.OpDemonitor, []term.Term{gpid(60), server, gref(9)}, nil)
	s.passes(v, wire.OpDemonitor, []term.Term{gpid(60), hpid(50), gref(9)}, nil)

	// The host's server ends: nobody knows the guest's groups any more.
	s.host(wire.OpPayloadMonitorExit, []term.Term{hpid(50), gpid(60), gref(9)}, atom("killed"))
	s.refused(s.guest(wire.OpSend, to, join), Drop, ruleProcess)
	h := s.host(wire.OpRegSend, []term.Term{hpid(70), atom(""), atom(pubSubScope)}, tup(atom("discover"), hpid(70)))
	to[1], real[1] = h.message.(term.Tuple)[1], hpid(70)
	s.refused(s.guest(wire.OpSend, to, tup(atom("leave"), gpid(60), gpid(61), list(atom(adapter)))), Drop, rulePG)
	again := syncOf(gpid(60), tup(atom(adapter), list(gpid(61))), tup(atom("Elixir.Other"), list(gpid(61))))
	s.passesIn(s.guest(wire.OpSend, to, again), ruleGroup, wire.OpSend, real, syncOf(gpid(60), tup(atom(adapter), list(gpid(61)))))
}

func TestProcessGroupsOfOTP28(t *testing.T) {
	s := newStage(t, granted())
	to := []term.Term{gpid(60), atom(""), atom("jobs")}
	v := s.guest(wire.OpRegSend, to, tup(atom("discover"), gpid(60), term.Int(1)))
	s.passes(v, wire.OpRegSend, to, tup(atom("discover"), gpid(60)))
}

func TestOperatorsRules(t *testing.T) {
	s := newStage(t, granted())
	me := gpid(5)
	to := []term.Term{me, atom(""), atom("stats")}
	monitor := []term.Term{me, atom("stats"), gref(1)}
	s.passes(s.guest(wire.OpMonitor, monitor, nil), wire.OpMonitor, monitor, nil)
	call := tup(atom("$gen_call"), tup(me, alias(gref(1))), tup(atom("get"), atom("count")))
	s.passes(s.guest(wire.OpRegSend, to, call), wire.OpRegSend, to, call)
	h := s.host(wire.OpAliasSend, []term.Term{hpid(3), gref(1)}, tup(alias(gref(1)), term.Int(7)))
	if !term.Equal(h.message, tup(alias(gref(1)), term.Int(7))) {
		t.Errorf("guest heard %s", term.Format(h.message))
	}
	s.passes(s.guest(wire.OpDemonitor, monitor, nil), wire.OpDemonitor, monitor, nil)
	cast := tup(atom("$gen_cast"), tup(atom("put"), term.Int(1)))
	s.passes(s.guest(wire.OpRegSend, to, cast), wire.OpRegSend, to, cast)
	s.passes(s.guest(wire.OpRegSend, to, cast), wire.OpRegSend, to, cast)
	s.refused(s.guest(wire.OpRegSend, to, cast), Drop, ruleRate)

	s.refused(s.guest(wire.OpRegSend, to, tup(atom("$gen_call"), tup(me, alias(gref(1))), tup(atom("get"), term.Int(1)))), Drop, ruleMessage)
	s.refused(s.guest(wire.OpRegSend, to, tup(atom("$gen_call"), tup(gpid(6), alias(gref(1))), tup(atom("get"), atom("count")))), Drop, ruleMessage)
	s.refused(s.guest(wire.OpRegSend, to, tup(atom("get"), atom("count"))), Drop, ruleMessage)
	inbox := []term.Term{me, atom(""), atom("inbox")}
	s.passes(s.guest(wire.OpRegSend, inbox, bin("hi")), wire.OpRegSend, inbox, bin("hi"))
	s.refused(s.guest(wire.OpRegSend, inbox, tup(atom("system"), tup(me, gref(1)), atom("get_state"))), Drop, ruleMessage)
}

func TestHostsTraceTokensEndHere(t *testing.T) {
	s := newStage(t, granted())
	token := tup(term.Int(1), term.Int(2), term.Int(3), hpid(3), term.Int(4))
	h := s.host(wire.OpRegSendTT, []term.Term{hpid(3), atom(""), atom("pulse"), token}, atom("hi"))
	if h.op != wire.OpRegSend || len(h.control) != 4 {
		t.Errorf("guest heard %s", term.Format(h.control))
	}
	h = s.host(wire.OpExit2TT, []term.Term{hpid(3), gpid(3), token, atom("stop")}, nil)
	if h.op != wire.OpExit2 || !term.Equal(h.control[3], atom("stop")) {
		t.Errorf("guest heard %s", term.Format(h.control))
	}
	h = s.host(wire.OpSendSender, []term.Term{hpid(3), gpid(3)}, atom("hi"))
	if h.op != wire.OpSend {
		t.Errorf("guest heard %s", term.Format(h.control))
	}
}
