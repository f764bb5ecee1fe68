package judge

import (
	"encoding/binary"
	"fmt"
	"testing"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/policy"
)

// attack is one way to harm a host VM that nobody stands before.
type attack struct {
	name   string
	action Action
	rule   string
	frame  func(s *stage, on *ground) []byte
}

// ground is what the guest was shown before it attacks, as it knows it.
type ground struct {
	server, worker, leader, caller term.Term
	tag                            term.Term
}

// prepare lets the host and the guest meet as they usually do: pg, PubSub, an
// rpc that discloses a group leader, a call under way.
func (s *stage) prepare() *ground {
	g := &ground{}
	g.server, g.worker = s.pubsub()
	_, g.caller, g.leader = s.rpc(atom("monitor"))
	h := s.hostSays(gpid(8), tup(atom("$gen_call"), tup(hpid(3), alias(href(1))), atom("get")))
	g.tag = h.message.(term.Tuple)[1].(term.Tuple)[1]
	return g
}

func fun() term.Fun {
	return term.Fun{Encoded: []byte{113, 119, 2, 'o', 's', 119, 3, 'c', 'm', 'd', 97, 1}}
}

// named is REG_SEND to a name from the guest.
func named(name string, message term.Term) func(*stage, *ground) []byte {
	return func(s *stage, _ *ground) []byte {
		return s.frame(wire.OpRegSend, []term.Term{gpid(1), atom(""), atom(name)}, message)
	}
}

// sent is SEND to a process that the guest was shown.
func sent(to func(*ground) term.Term, message term.Term) func(*stage, *ground) []byte {
	return func(s *stage, g *ground) []byte {
		return s.frame(wire.OpSend, []term.Term{atom(""), to(g)}, message)
	}
}

// signal is a control message without message.
func signal(op wire.Op, rest ...term.Term) func(*stage, *ground) []byte {
	return func(s *stage, _ *ground) []byte { return s.frame(op, rest, nil) }
}

func toServer(g *ground) term.Term { return g.server }
func toWorker(g *ground) term.Term { return g.worker }
func toLeader(g *ground) term.Term { return g.leader }
func toCaller(g *ground) term.Term { return g.caller }

func castOf(t term.Term) term.Tuple { return tup(atom("$gen_cast"), t) }

func callOf(t term.Term) term.Tuple {
	return tup(atom("$gen_call"), tup(gpid(1), gref(1)), t)
}

func broadcastOf(t term.Term) term.Tuple { return forward("stats:updates", t, pubSubDispatcher) }

// attacks are numbered as in the list that the gateway's design keeps of what
// an unfiltered host suffers from.
func attacks() []attack {
	mfa := tup(atom("cast"), atom("os"), atom("cmd"), list(term.String("id")), hpid(1))
	system := func(req string) term.Tuple { return tup(atom("system"), tup(gpid(1), gref(1)), atom(req)) }
	return append([]attack{
		{"01 spawn request", Drop, ruleSpawn, func(s *stage, _ *ground) []byte {
			return s.frame(wire.OpSpawnRequest, []term.Term{gref(1), gpid(1), gpid(1), tup(atom("os"), atom("cmd"), term.Int(1)), list()}, list(term.String("id")))
		}},
		{"02 rex by name", Drop, ruleName, named("rex", castOf(mfa))},
		{"02 rex by call", Drop, ruleName, named("rex", callOf(tup(atom("call"), atom("os"), atom("cmd"), list(), gpid(1))))},
		{"02 process by pid", Drop, ruleProcess, sent(toCaller, castOf(mfa))},
		{"02 process never shown", Drop, ruleProcess, func(s *stage, _ *ground) []byte {
			return s.frame(wire.OpSend, []term.Term{atom(""), hpid(3)}, castOf(mfa))
		}},
		{"03 relay by rex", Drop, ruleName, named("rex", tup(gpid(1), tup(atom("sbcast"), atom("init"), tup(atom("stop"), atom("stop")))))},
		{"03 relay by net_kernel", Drop, ruleName, named("net_kernel", tup(gpid(1), atom("registered_send"), atom("init"), tup(atom("stop"), atom("stop"))))},
		{"04 net_kernel spawns", Drop, ruleName, named("net_kernel", tup(atom("$gen_call"), tup(gpid(1), gref(1)), tup(atom("spawn"), atom("os"), atom("cmd"), list(), gpid(1))))},
		{"05 disconnect", Drop, ruleName, named("net_kernel", tup(atom("disconnect"), atom("third@vm")))},
		{"05 bad cookie", Drop, ruleName, named("net_kernel", tup(gpid(1), atom("badcookie"), atom("x"), atom("y")))},
		{"05 connect", Drop, ruleName, named("net_kernel", callOf(tup(atom("connect"), atom("normal"), atom("evil@vm"))))},
		{"06 supervisor", Drop, ruleName, named("kernel_sup", callOf(tup(atom("start_child"), tup(atom("x"), tup(atom("os"), atom("cmd"), list())))))},
		{"07 io server by name", Drop, ruleName, named("user", tup(atom("io_request"), gpid(1), gref(1), tup(atom("put_chars"), atom("unicode"), atom("os"), atom("cmd"), list(term.String("id")))))},
		{"07 get_until to a group leader", Drop, "", sent(toLeader, tup(atom("io_request"), gpid(1), gref(1), tup(atom("get_until"), atom("unicode"), atom("> "), atom("os"), atom("cmd"), list())))},
		{"07 function to a group leader", Drop, "", sent(toLeader, tup(atom("io_request"), gpid(1), gref(1), tup(atom("put_chars"), atom("unicode"), atom("os"), atom("cmd"), list(term.String("id")))))},
		{"07 other words to a group leader", Drop, ruleProcess, sent(toLeader, system("get_state"))},
		{"08 code server", Drop, ruleName, named("code_server", tup(atom("code_call"), gpid(1), tup(atom("load_binary"), atom("m"), bin("f"), bin("beam"))))},
		{"09 file server", Drop, ruleName, named("file_server_2", callOf(tup(atom("write_file"), bin("/tmp/x"), bin("y"))))},
		{"10 cookie", Drop, ruleName, named("auth", callOf(tup(atom("get_cookie"), atom("third@vm"))))},
		{"11 system message to a name", Drop, ruleName, named("application_controller", system("get_state"))},
		{"11 system message to a worker", Drop, ruleShape, sent(toWorker, system("terminate"))},
		{"11 system message to pg", Drop, rulePG, sent(toServer, system("get_state"))},
		{"12 init", Drop, ruleName, named("init", tup(atom("stop"), atom("stop")))},
		{"12 signal server", Drop, ruleName, named("erl_signal_server", tup(atom("notify"), atom("sigterm")))},
		{"13 application controller", Drop, ruleName, named("application_controller", callOf(tup(atom("stop_application"), atom("kernel"))))},
		{"14 global registrar", Drop, policy.RuleGlobal, named("global_name_server", callOf(tup(atom("registrar"), fun())))},
		{"15 exit to a guessed process", Drop, ruleExit, signal(wire.OpExit2, gpid(1), hpid(10), atom("kill"))},
		{"16 link", Drop, ruleLink, signal(wire.OpLink, gpid(1), hpid(10))},
		{"16 exit of a link never made", Drop, ruleLink, signal(wire.OpExit, gpid(1), hpid(10), atom("kill"))},
		{"17 group leader", Drop, ruleGroupLeader, signal(wire.OpGroupLeader, gpid(1), hpid(10))},
		{"17 group leader, forged", Close, ruleForged, signal(wire.OpGroupLeader, hpid(1), hpid(10))},
		{"18 monitor", Drop, ruleMonitor, signal(wire.OpMonitor, gpid(1), atom("init"), gref(1))},
		{"19 exit from a host process", Close, ruleForged, signal(wire.OpExit2, hpid(1), hpid(10), atom("kill"))},
		{"19 exit with payload from a host process", Close, ruleForged, func(s *stage, _ *ground) []byte {
			return s.frame(wire.OpPayloadExit2, []term.Term{hpid(1), hpid(10)}, atom("kill"))
		}},
		{"20 malformed token", Close, ruleToken, func(s *stage, g *ground) []byte {
			return s.frame(wire.OpSendTT, []term.Term{atom(""), g.caller, atom("x")}, atom("hi"))
		}},
	}, laterAttacks()...)
}

func laterAttacks() []attack {
	third := term.Pid{Node: "third@vm", ID: 1, Creation: 1}
	old := term.Pid{Node: guestNode, ID: 1, Creation: 6}
	return append([]attack{
		{"21 sender of a third node", Close, ruleForged, func(s *stage, _ *ground) []byte {
			return s.frame(wire.OpRegSend, []term.Term{third, atom(""), atom("inbox")}, atom("hi"))
		}},
		{"21 sender of an earlier guest", Close, ruleForged, func(s *stage, _ *ground) []byte {
			return s.frame(wire.OpRegSend, []term.Term{old, atom(""), atom("inbox")}, atom("hi"))
		}},
		{"22 atoms in a message", Drop, ruleAtoms, named("inbox", manyAtoms(3000))},
		{"22 atom as a name", Drop, ruleMonitor, signal(wire.OpMonitor, gpid(1), atom("never_seen"), gref(1))},
		{"23 exports", Drop, ruleFun, named("inbox", list(fun(), fun()))},
		{"24 list of nils", Drop, ruleNodes, named("inbox", nils(300_000))},
		{"24 announced size", Close, ruleMalformed, func(s *stage, _ *ground) []byte {
			b := s.frame(wire.OpRegSend, []term.Term{gpid(1), atom(""), atom("inbox")}, atom("x"))
			return binary.BigEndian.AppendUint32(append(b[:len(b)-3], 108), 1<<30)
		}},
		{"25 processes of other creations", Drop, ruleForeign, named("inbox", list(third, third))},
		{"25 processes never shown", Drop, ruleUnknown, named("inbox", list(hpid(3000)))},
		{"26 junk to a scope", Drop, rulePG, named(pubSubScope, atom("junk"))},
		{"26 junk to the server", Drop, rulePG, sent(toServer, tup(atom("junk"), term.Int(1)))},
		{"26 malformed sync", Drop, rulePG, sent(toServer, castOf(tup(atom("sync"), gpid(60), atom("x"))))},
		{"26 group twice in a sync", Drop, rulePG, sent(toServer, syncOf(gpid(60), tup(atom(adapter), list(gpid(1))), tup(atom(adapter), list(gpid(1)))))},
		{"26 leave of a group not joined", Drop, ruleGroup, sent(toServer, tup(atom("leave"), gpid(60), gpid(61), list(atom(adapter+"_2"))))},
		{"26 leave of a process not in it", Drop, ruleGroup, sent(toServer, tup(atom("leave"), gpid(60), gpid(99), list(atom(adapter))))},
		{"26 join of an improper list", Drop, rulePG, sent(toServer, tup(atom("join"), gpid(60), atom(adapter), term.List{Elems: []term.Term{gpid(1)}, Tail: gpid(2)}))},
		{"26 join before discovery", Drop, rulePG, sent(toServer, tup(atom("join"), gpid(77), atom(adapter), gpid(1)))},
		{"27 topic of no binary", Drop, ruleTopic, sent(toWorker, tup(atom("forward_to_local"), atom("stats"), atom("x"), atom(pubSubDispatcher)))},
		{"27 unknown dispatcher", Drop, ruleDispatcher, sent(toWorker, forward("stats:updates", atom("x"), "os"))},
		{"27 another topic", Drop, ruleTopic, sent(toWorker, forward("users_socket:1", atom("x"), pubSubDispatcher))},
	}, broadcastAttacks()...)
}

func broadcastAttacks() []attack {
	var all []attack
	for i, t := range []term.Term{
		tup(atom("system"), tup(gpid(1), gref(1)), atom("get_state")),
		tup(atom("$gen_call"), tup(gpid(1), gref(1)), atom("x")),
		tup(atom("$gen_cast"), atom("x")),
		tup(atom("EXIT"), gpid(1), atom("kill")),
		tup(atom("DOWN"), gref(1), atom("process"), gpid(1), atom("kill")),
		tup(atom("io_request"), gpid(1), gref(1), atom("x")),
		tup(atom("phoenix"), atom("send_update"), tup(atom("m"), term.Int(1), term.Map{})),
		tup(atom("wrapped"), tup(atom("$gen_call"), tup(gpid(1), gref(1)), atom("x"))),
		tup(atom("forward_to_local"), bin("x"), atom("x"), atom("x")),
		term.Map{{Key: atom("__struct__"), Value: atom("Elixir.Phoenix.Socket.Message")}, {Key: atom("event"), Value: bin("phx_leave")}},
		term.Map{{Key: atom("__struct__"), Value: atom("Elixir.Phoenix.Socket.Broadcast")}, {Key: atom("event"), Value: bin("disconnect")}},
	} {
		all = append(all, attack{fmt.Sprintf("28 inside a broadcast, %d", i), Drop, ruleShape, sent(toWorker, broadcastOf(t))})
	}
	all = append(all, attack{"28 answer inside a broadcast", Drop, ruleShape, func(s *stage, g *ground) []byte {
		return s.frame(wire.OpSend, []term.Term{atom(""), g.worker}, broadcastOf(tup(g.tag, atom("stolen"))))
	}})
	for i, payload := range []term.Term{
		term.Map{{Key: bin("a"), Value: tup(term.Int(1))}},
		term.Map{{Key: bin("a"), Value: gpid(1)}},
		term.Map{{Key: bin("a"), Value: bin("\xff")}},
		term.Map{{Key: bin("a"), Value: term.List{Elems: []term.Term{term.Int(1)}, Tail: term.Int(2)}}},
		term.Map{{Key: bin("a"), Value: term.Map{{Key: atom("__struct__"), Value: atom("Elixir.Range")}}}},
		atom("no_map"),
	} {
		all = append(all, attack{fmt.Sprintf("29 payload for clients, %d", i), Drop, ruleShape, sent(toWorker, channelBroadcast("room:1", "new", payload))})
	}
	return append(all, attack{"29 end of a socket", Drop, ruleShape, sent(toWorker, channelBroadcast("room:1", "disconnect", term.Map{}))},
		attack{"29 topic inside differs", Drop, ruleShape, sent(toWorker, forward("room:1", socketBroadcast("room:2", "new", term.Map{}), channelDispatcher))},
		attack{"30 group of another app", Drop, ruleGroup, sent(toServer, tup(atom("join"), gpid(60), atom("Elixir.Other.Adapter"), gpid(1)))},
		attack{"30 process of another node", Drop, ruleForeign, sent(toServer, tup(atom("join"), gpid(60), atom(adapter), term.Pid{Node: "third@vm"}))},
		attack{"30 process of the host", Drop, rulePG, func(s *stage, g *ground) []byte {
			return s.frame(wire.OpSend, []term.Term{atom(""), g.server}, tup(atom("join"), gpid(60), atom(adapter), g.worker))
		}},
		attack{"31 logger", Drop, ruleLogger, named("logger_proxy", tup(atom("log"), fun()))},
		attack{"31 timer", Drop, ruleName, named("timer_server", callOf(tup(atom("apply_after"), term.Int(1), fun())))},
		attack{"32 answer to no spawn", Drop, ruleSpawnReply, signal(wire.OpSpawnReply, href(99), hpid(3), term.Int(0), gpid(1))},
		attack{"32 news of no monitor", Drop, ruleDown, func(s *stage, _ *ground) []byte {
			return s.frame(wire.OpPayloadMonitorExit, []term.Term{gpid(1), hpid(3), href(99)}, atom("kill"))
		}},
		attack{"32 answer to no call", Drop, ruleReply, func(s *stage, _ *ground) []byte {
			return s.frame(wire.OpAliasSend, []term.Term{gpid(1), href(99)}, tup(atom("system"), atom("x")))
		}},
		attack{"33 distribution header", Close, ruleMalformed, func(*stage, *ground) []byte { return []byte{131, 68, 0, 104, 1, 97, 1} }},
		attack{"33 compressed", Close, ruleTag, func(s *stage, _ *ground) []byte {
			b := s.frame(wire.OpRegSend, []term.Term{gpid(1), atom(""), atom("inbox")}, atom("x"))
			return append(b[:len(b)-3], 80, 0, 0, 0, 3, 1, 2, 3)
		}},
		attack{"33 alternate signal", Close, ruleOpcode, func(s *stage, _ *ground) []byte {
			return s.frame(wire.OpAlternateActionSend, []term.Term{term.Int(4), gpid(1), hpid(1)}, atom("x"))
		}},
		attack{"33 old unlink", Close, ruleOpcode, signal(wire.OpUnlink, gpid(1), hpid(1))},
		attack{"33 unlink of number 0", Close, ruleMalformed, signal(wire.OpUnlinkID, term.Int(0), gpid(1), hpid(1))},
		attack{"33 acknowledged unlink of number 0", Close, ruleMalformed, signal(wire.OpUnlinkIDAck, term.Int(0), gpid(1), hpid(1))},
		attack{"33 unlink of a negative number", Close, ruleMalformed, signal(wire.OpUnlinkID, term.Int(-1), gpid(1), hpid(1))},
		attack{"33 trailing bytes", Close, ruleMalformed, func(s *stage, _ *ground) []byte {
			return append(s.frame(wire.OpLink, []term.Term{gpid(1), hpid(1)}, nil), 106)
		}},
	)
}

func socketBroadcast(topic, event string, payload term.Term) term.Map {
	return term.Map{
		{Key: atom("__struct__"), Value: atom("Elixir.Phoenix.Socket.Broadcast")}, {Key: atom("event"), Value: bin(event)},
		{Key: atom("payload"), Value: payload}, {Key: atom("topic"), Value: bin(topic)},
	}
}

func channelBroadcast(topic, event string, payload term.Term) term.Tuple {
	return forward(topic, socketBroadcast(topic, event, payload), channelDispatcher)
}

func manyAtoms(n int) term.List {
	var l term.List
	for i := range n {
		l.Elems = append(l.Elems, atom(fmt.Sprintf("made_up_%d", i)))
	}
	return l
}

func nils(n int) term.List {
	var l term.List
	for range n {
		l.Elems = append(l.Elems, term.List{})
	}
	return l
}

func TestAttacks(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			s := newStage(t, granted())
			v := s.j.FromGuest(s.now, a.frame(s, s.prepare()))
			s.refused(v, a.action, a.rule)
			if a.rule != "" && s.life.Refusals[a.rule] != 1 {
				t.Errorf("counted %v", s.life.Refusals)
			}
			if len(s.life.Atoms) > 2 {
				t.Errorf("%d atoms reached the host", len(s.life.Atoms))
			}
		})
	}
}

func TestAttacksPassWhereTheGuestIsTrusted(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			frame := a.frame(newStage(t, granted()), newStage(t, granted()).prepare())
			m := granted()
			m.Mode = policy.Trusted
			v := newStage(t, m).j.FromGuest(newStage(t, m).now, frame)
			if a.rule == policy.RuleGlobal {
				return // global is cut in every mode
			}
			if v.Action != Pass || len(v.Forward) != 1 || string(v.Forward[0].Head) != string(frame) {
				t.Errorf("action %d by rule %q", v.Action, v.Rule)
			}
		})
	}
}

// TestGroupsOfOthersAreTakenOutOfASync: the rest goes on, without them, and that
// is counted; in audit all of it goes on, and the same is reported.
func TestGroupsOfOthersAreTakenOutOfASync(t *testing.T) {
	own, others := tup(atom(adapter), list(gpid(61))), tup(atom("Elixir.Other.Adapter"), list(gpid(62)))
	for mode, want := range map[policy.Mode]term.Tuple{policy.Enforce: syncOf(gpid(60), own), policy.Audit: syncOf(gpid(60), others, own)} {
		m := granted()
		m.Mode = mode
		s := newStage(t, m)
		server := s.prepare().server
		v := s.guest(wire.OpSend, []term.Term{atom(""), server}, syncOf(gpid(60), others, own))
		if v.Action != Pass || v.Rule != ruleGroup || s.life.Refusals[ruleGroup] != 1 {
			t.Fatalf("%s: action %d by rule %q, counted %v", mode, v.Action, v.Rule, s.life.Refusals)
		}
		s.same(v.Forward[0], wire.OpSend, []term.Term{atom(""), hpid(50)}, want)
		v = s.guest(wire.OpSend, []term.Term{atom(""), server}, syncOf(gpid(60), own))
		if v.Action != Pass || v.Rule != "" {
			t.Errorf("%s: a sync of its own group: action %d by rule %q", mode, v.Action, v.Rule)
		}
	}
}

func TestAuditReportsAndPasses(t *testing.T) {
	m := granted()
	m.Mode = policy.Audit
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			s := newStage(t, m)
			frame := a.frame(s, s.prepare())
			v := s.j.FromGuest(s.now, append([]byte{}, frame...))
			if a.rule == policy.RuleGlobal {
				return
			}
			if v.Action != Pass || len(v.Forward) != 1 || string(v.Forward[0].Head) != string(frame) || len(v.Answer) != 0 {
				t.Fatalf("action %d by rule %q", v.Action, v.Rule)
			}
			// A process that was never shown is one that it may name here.
			if v.Rule != a.rule && a.rule != ruleUnknown {
				t.Errorf("reported rule %q, want %q", v.Rule, a.rule)
			}
		})
	}
}
