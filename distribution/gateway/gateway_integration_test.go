//go:build integration

package gateway

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/policy"
)

func TestGuestIsAMemberOfTheCluster(t *testing.T) {
	s := newStage(t)
	g := s.member("gwpulse").boot()
	if got := s.onHost("nodes()"); got != "[]" {
		t.Fatalf("host sees %s before it connected", got)
	}
	g.join()
	s.eventually("host's nodes", "["+g.node+"]", func() string { return s.onHost("nodes()") })
	s.eventually("guest's nodes", "["+"gwhost@"+s.short+"]", func() string { return g.on("nodes()") })
	for _, code := range []string{
		"net_adm:ping('%s')",
		"case rpc:call('%s', erlang, node, []) of '%[1]s' -> pong end",
		"case erpc:call('%s', erlang, node, []) of '%[1]s' -> pong end",
		"case gen_server:call({application_controller, '%s'}, which_applications) of [_|_] -> pong end",
		"case byte_size(rpc:call('%s', binary, copy, [<<7>>, 5000000])) of 5000000 -> pong end",
		"case rpc:call('%s', erlang, byte_size, [binary:copy(<<7>>, 5000000)]) of 5000000 -> pong end",
		"P = spawn_link('%s', timer, sleep, [60000]), unlink(P), R = monitor(process, P), exit(P, kill), receive {'DOWN', R, _, _, killed} -> pong end",
	} {
		code = fmt.Sprintf(code, g.node)
		if got := s.onHost(code); got != "pong" {
			t.Errorf("host: %s = %s", code, got)
		}
	}
	if got := g.on("net_adm:ping('gwhost@" + s.short + "')"); got != "pong" {
		t.Errorf("guest pings host: %s", got)
	}
	if guest, host := g.on("erlang:get_cookie()"), s.onHost("erlang:get_cookie()"); guest == host {
		t.Errorf("guest's cookie is the host's: %s", guest)
	}
	if n := g.status(); !n.Up || !n.Registered || n.Error != "" {
		t.Errorf("node is %+v, want it registered and up", n)
	}
}

func TestGuestSpeaksToAProcessGroupOfTheHost(t *testing.T) {
	s := newStage(t)
	g := s.member("gwpg")
	g.member.Messages.Groups = []policy.Groups{{Scope: "pg", Names: []string{"room"}, Message: "{hello, '$atom'}"}}
	s.set(g.member)
	g.boot().join()
	s.onHost("P = spawn(fun() -> pg:start_link(), pg:join(room, self()), register(sink, self()), receive {hello, X} -> register(got, spawn(fun() -> timer:sleep(60000) end)), X end end), timer:sleep(50), is_pid(P)")
	g.on("{ok, P} = pg:start_link(), unlink(P), ok")
	s.eventually("guest's view of the group", "1", func() string { return g.on("length(pg:get_members(room))") })
	g.on("[P ! {hello, from_guest} || P <- pg:get_members(room)], ok")
	s.eventually("message at the host", "true", func() string { return s.onHost("is_pid(whereis(got))") })
}

func TestLinkComesBack(t *testing.T) {
	s := newStage(t)
	g := s.member("gwback").boot().join()
	s.onHost("gwt:watch()")
	events, stop := s.server.feed.follow()
	defer stop()

	s.onHost("erlang:disconnect_node('" + g.node + "')")
	s.await(events, "down", g.name)
	g.join()
	s.await(events, "up", g.name)

	g.on("erlang:disconnect_node('gwhost@" + s.short + "')")
	s.await(events, "down", g.name)
	if got := g.on("net_kernel:connect_node('gwhost@" + s.short + "')"); got != "true" {
		t.Fatalf("guest cannot connect to host: %s; %+v", got, g.status())
	}
	s.await(events, "up", g.name)

	g.beam.kill()
	s.eventually("host's nodes after kill -9", "[]", func() string { return s.onHost("nodes()") })
	if got := s.onHost("net_kernel:connect_node('" + g.node + "')"); got != "false" {
		t.Errorf("host connects to a guest that is gone: %s", got)
	}
	if n := g.status(); n.Up || n.Registered {
		t.Errorf("node is %+v, want it neither registered nor up", n)
	}
	g.boot().join()
	s.eventually("host's nodes again", "["+g.node+"]", func() string { return s.onHost("nodes()") })
	up, down := "{nodeup,"+g.node+"}", "{nodedown,"+g.node+"}"
	want := "[" + strings.Join([]string{down, up, down, up, down, up}, ",") + "]"
	s.eventually("what the host saw", want, func() string { return strings.ReplaceAll(s.onHost("gwt:seen()"), " ", "") })
}

func TestGuestsWithDefaultsStayConnected(t *testing.T) {
	s := newStage(t)
	a, b := s.member("gwone").boot().join(), s.member("gwtwo").boot().join()
	s.onHost("gwt:watch()")
	for name, code := range map[string]string{
		"sync":          "global:sync()",
		"register_name": "global:register_name(gwname, whereis(gwt))",
		"set_lock":      "global:set_lock({gwlock, self()})",
		"trans":         "global:trans({gwtrans, self()}, fun() -> done end)",
	} {
		if got := s.onHost(code); got == "" || strings.Contains(got, "error") {
			t.Errorf("host: global %s gives %s", name, got)
		}
	}
	for _, g := range []*guest{a, b} {
		if got := g.on("global:sync()"); got != "ok" {
			t.Errorf("%s: global:sync gives %s", g.name, got)
		}
		if got := g.on("global:register_name(gwname, whereis(init))"); got != "yes" {
			t.Errorf("%s: global:register_name gives %s", g.name, got)
		}
		if got := g.on("nodes()"); got != "[gwhost@"+s.short+"]" {
			t.Errorf("%s sees %s", g.name, got)
		}
	}
	// Overlapping partitions are found out when a guest dies, and for a while
	// after the second one joined.
	b.beam.kill()
	s.eventually("host's nodes", "["+a.node+"]", func() string { return s.onHost("nodes()") })
	b.boot().join()
	rest(t.Context(), 22*time.Second)
	want := "[{nodedown," + b.node + "},{nodeup," + b.node + "}]"
	if got := strings.ReplaceAll(s.onHost("gwt:seen()"), " ", ""); got != want {
		t.Errorf("host saw %s, want %s", got, want)
	}
	if n := a.status(); n.Refused["global"] == 0 || n.Refused["malformed"] != 0 {
		t.Errorf("refused counters are %v", n.Refused)
	}
}

func TestWrongCookieIsRefused(t *testing.T) {
	s := newStage(t)
	g := s.member("gwwrong")
	wrong := *g
	wrong.member.Cookie = "something-else"
	wrong.boot()
	events, stop := s.server.feed.follow()
	defer stop()
	if got := s.onHost("net_kernel:connect_node('" + g.node + "')"); got != "false" {
		t.Errorf("host connects to a guest of another cookie: %s", got)
	}
	if ev := s.await(events, "link_error", g.name); !strings.Contains(ev.Detail, "cookies differ") || !strings.Contains(ev.Detail, g.node) {
		t.Errorf("event says %q", ev.Detail)
	}
	if n := g.status(); n.Up || !strings.Contains(n.Error, "cookies differ") {
		t.Errorf("node is %+v", n)
	}
}

func TestWrongClusterCookieIsRefused(t *testing.T) {
	s := newStage(t)
	g := s.member("gwcluster")
	g.member.HostCookie = "stale"
	s.set(g.member)
	g.boot()
	if got := s.onHost("net_kernel:connect_node('" + g.node + "')"); got != "false" {
		t.Errorf("host connects: %s", got)
	}
	if n := g.status(); n.Up || !strings.Contains(n.Error, "host VM gwhost@") || !strings.Contains(n.Error, "cookies differ") {
		t.Errorf("node is %+v", n)
	}
	g.member.HostCookie = clusterCookie
	s.set(g.member)
	g.join()
}

// countCrossings has a node's net_kernel count who dials it while it dials him:
// it tells the accepting process then that a connection is pending.
const countCrossings = `register(crossings, spawn(fun() -> erlang:trace(whereis(net_kernel), true, [send]),
	(fun F(N) -> receive
		{trace, _, send, {_, {accept_pending, S}}, _} when S =:= ok_pending; S =:= nok_pending -> F(N + 1);
		{count, P} -> P ! {crossings, N}, F(N);
		_ -> F(N)
	end end)(0) end))`

// dialsAt has a node dial another one at a time that both agreed on.
func dialsAt(at time.Time, node string) string {
	return fmt.Sprintf(`(fun W() -> erlang:system_time(microsecond) >= %d orelse begin erlang:yield(), W() end end)(),
		net_kernel:connect_node('%s')`, at.UnixMicro(), node)
}

func TestNodesThatDialAtOnce(t *testing.T) {
	s := newStage(t)
	g := s.member("gwmeet").boot().join()
	s.onHost(countCrossings)
	g.on(countCrossings)
	for i := range 40 {
		s.onHost("erlang:disconnect_node('" + g.node + "')")
		at := time.Now().Add(20 * time.Millisecond)
		done := make(chan string, 1)
		go func() { done <- g.on(dialsAt(at, "gwhost@"+s.short)) }()
		host := s.onHost(dialsAt(at, g.node))
		if guest := <-done; host != "true" || guest != "true" {
			t.Fatalf("round %d: host %s, guest %s; %+v", i, host, guest, g.status())
		}
		if got := s.onHost("net_adm:ping('" + g.node + "')"); got != "pong" {
			t.Fatalf("round %d: ping gives %s", i, got)
		}
	}
	const count = "crossings ! {count, self()}, receive {crossings, N} -> N end"
	host, guest := s.onHost(count), g.on(count)
	if host == "0" && guest == "0" {
		t.Error("no two connections crossed")
	}
	t.Logf("crossings: %s were found out by the host, %s by the guest", host, guest)
}

func TestNameComesBackWithThePortMapper(t *testing.T) {
	s := newStage(t)
	foreign, err := epmd.Register(t.Context(), s.epmd, epmd.Registration{Name: "gwname", Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	g := s.member("gwname")
	events, stop := s.server.feed.follow()
	defer stop()
	port := fmt.Sprint(g.member.Guest.Port())
	s.beam(g.name, g.member.Cookie, g.member.EPMD.Port(), "-kernel", "inet_dist_listen_min", port, "inet_dist_listen_max", port)
	if ev := s.await(events, "link_error", g.name); !strings.Contains(ev.Detail, "name is held by another node") {
		t.Errorf("event says %q", ev.Detail)
	}
	if n := g.status(); n.Registered || !strings.Contains(n.Error, "gwname") {
		t.Errorf("node is %+v", n)
	}
	foreign.Close()
	s.await(events, "registered", g.name)
	g.join()

	s.mapper.kill()
	s.eventually("port mapper's absence", "true", func() string { return fmt.Sprint(strings.Contains(g.status().Error, "no port mapper")) })
	if n := g.status(); !n.Up {
		t.Errorf("link ended with the port mapper: %+v", n)
	}
	s.startMapper()
	s.eventually("name at the port mapper", "true", func() string {
		info, err := epmd.Lookup(t.Context(), s.epmd, "gwname")
		return fmt.Sprint(err == nil && info.Port == g.status().Port)
	})
}

func TestFrozenGuestIsGoneAndOthersStay(t *testing.T) {
	s := newStage(t)
	s.server.cfg.Tick = 16 * time.Second
	frozen, other := s.member("gwfrozen"), s.member("gwother")
	frozen.args = []string{"-kernel", "net_ticktime", "16"}
	other.args = frozen.args
	s.onHost("net_kernel:set_net_ticktime(16)")
	frozen.boot().join()
	other.boot().join()
	events, stop := s.server.feed.follow()
	defer stop()
	// Its kernel still takes bytes for a while, then the gateway's writes stall.
	if err := frozen.beam.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.onHost("spawn(fun() -> [{sink, '" + frozen.node + "'} ! binary:copy(<<1>>, 1000000) || _ <- lists:seq(1, 30)] end), ok")
	// A write that stalls would hold the other guest up until the link is given up.
	pings, until := 0, time.Now().Add(time.Minute)
	for ended := false; !ended; pings++ {
		if got := s.onHost("net_adm:ping('" + other.node + "')"); got != "pong" || time.Now().After(until) {
			t.Fatalf("other guest: ping %d gives %s, and the frozen one is not given up", pings, got)
		}
		select {
		case ev := <-events:
			ended = ev.Kind == "down" && ev.Name == frozen.name
			if ended && ev.Detail != errSlow.Error() {
				t.Errorf("event says %q", ev.Detail)
			}
		default:
		}
	}
	if pings < 20 {
		t.Errorf("the other guest answered %d pings until the frozen one was given up", pings)
	}
	s.eventually("host's nodes", "["+other.node+"]", func() string { return s.onHost("nodes()") })
}

// BenchmarkRoundTrip compares rpc from the host VM to a guest with rpc to a
// node that it reaches directly.
func BenchmarkRoundTrip(b *testing.B) {
	s := newStage(b)
	g, trusted := s.member("gwbench").boot().join(), s.member("gwtrusted")
	trusted.member.Messages.Mode = policy.Trusted
	s.set(trusted.member)
	trusted.boot().join()
	s.beam("gwdirect", clusterCookie, s.epmd.Port())
	direct := "gwdirect@" + s.short
	s.eventually("direct node", "pong", func() string { return s.onHost("net_adm:ping('" + direct + "')") })
	for name, node := range map[string]string{"enforce": g.node, "trusted": trusted.node, "direct": direct} {
		b.Run(name+"/rpc", func(b *testing.B) {
			s.onHost(fmt.Sprintf("F = fun F(0) -> ok; F(N) -> '%s' = rpc:call('%[1]s', erlang, node, []), F(N-1) end, F(%d)", node, b.N))
		})
		for _, size := range []int{100, 1000, 64_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/send_%d", name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				s.onHost(fmt.Sprintf("B = binary:copy(<<7>>, %d), [{nobody, '%s'} ! B || _ <- lists:seq(1, %d)], '%[2]s' = rpc:call('%[2]s', erlang, node, [])", size, node, b.N))
			})
		}
		b.Run(name+"/5MB", func(b *testing.B) {
			b.SetBytes(5_000_000)
			s.onHost(fmt.Sprintf("B = binary:copy(<<7>>, 5000000), F = fun F(0) -> ok; F(N) -> 5000000 = rpc:call('%s', erlang, byte_size, [B]), F(N-1) end, F(%d)", node, b.N))
		})
	}
}
