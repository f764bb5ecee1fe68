//go:build integration

package integration

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/control"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// two guests, for walls between them.
func (w *world) twoGuests(t *testing.T) {
	t.Helper()
	w.haveBeside(t, map[string]string{
		"pulse":   w.pulseConfig("pulse", "", 18085),
		"counter": w.counterConfig("vm", "http_port => 18086"),
	})
}

// TestFromInsideNothingAnswers: a guest reaches the gateway's two sockets on
// its own loopback and nothing else, and the counters say what it tried.
func TestFromInsideNothingAnswers(t *testing.T) {
	w.twoGuests(t)
	g := w.guest(t, "pulse")
	before := w.daemon.App(t.Context(), "pulse").Drops
	for _, target := range append(w.hostAddresses(t),
		w.daemon.App(t.Context(), "counter").Address, "192.0.2.1", "169.254.169.254", "224.0.0.1") {
		for _, port := range []int{22, 53, 80, 443, 4369, 9100, 18085, 18086} {
			if connects(t, g, target, port) {
				t.Errorf("the guest reached %s port %d", target, port)
			}
		}
	}
	sendUDP(t, g, "192.0.2.1", 53)
	got := loopbackListeners(t, w.daemon.App(t.Context(), "pulse").Pid)
	if want := []string{"127.0.0.1:4369", "127.0.0.1:9100"}; !slices.Equal(got, want) {
		t.Errorf("sockets on the guest's loopback: %v, want the port mapper view and the host's stand-in: %v", got, want)
	}
	must(t, w.daemon.Await(within(t, time.Minute), "the drops are counted", func(h status.Host) bool {
		return total(appOf(h, "pulse").Drops) > total(before)
	}))
	t.Logf("drops: %v", w.daemon.App(t.Context(), "pulse").Drops)
}

// hostAddresses are those of the machine that a guest could try, its own
// loopback apart.
func (w *world) hostAddresses(t *testing.T) []string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	must(t, err)
	var out []string
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		must(t, err)
		if p.Addr().Is4() && !p.Addr().IsLoopback() {
			out = append(out, p.Addr().String())
		}
	}
	if len(out) < 2 {
		t.Fatalf("the host has %v: the veths' host ends must be among them", out)
	}
	return out
}

// connects asks the guest to connect; 300 ms is long for a veth.
func connects(t *testing.T, g *control.Node, addr string, port int) bool {
	t.Helper()
	v := call(t, g, "gen_tcp", "connect", term.String(addr), term.Int(port), term.List{}, term.Int(300))
	answer, _ := v.(term.Tuple)
	return len(answer) == 2 && answer[0] == term.Term(term.Atom("ok"))
}

func sendUDP(t *testing.T, g *control.Node, addr string, port int) {
	t.Helper()
	v := call(t, g, "erl_eval", "exprs", parsed(t, g, fmt.Sprintf(
		`{ok, S} = gen_udp:open(0), R = gen_udp:send(S, %q, %d, "x"), gen_udp:close(S), R.`, addr, port)), term.List{})
	t.Logf("udp to %s: %s", addr, term.Format(v))
}

// parsed makes Erlang expressions inside the guest.
func parsed(t *testing.T, g *control.Node, text string) term.Term {
	t.Helper()
	tokens, _ := call(t, g, "erl_scan", "string", term.String(text)).(term.Tuple)
	exprs, _ := call(t, g, "erl_parse", "parse_exprs", tokens[1]).(term.Tuple)
	return exprs[1]
}

// loopbackListeners reads which sockets listen on the loopback of a process's
// namespace alone, in order. pulse itself listens on every address.
func loopbackListeners(t *testing.T, pid uint32) []string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	must(t, err)
	var out []string
	for _, l := range strings.Split(string(b), "\n")[1:] {
		f := strings.Fields(l)
		if len(f) < 4 || f[3] != "0A" { // TCP_LISTEN, proc(5)
			continue
		}
		addr, hex, _ := strings.Cut(f[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		must(t, err)
		if addr == "0100007F" {
			out = append(out, fmt.Sprintf("127.0.0.1:%d", port))
		}
	}
	slices.Sort(out)
	return out
}

// TestFromHostOnlyDeclaredPortsAnswer scans the guest from the host.
func TestFromHostOnlyDeclaredPortsAnswer(t *testing.T) {
	w.twoGuests(t)
	g := w.guest(t, "pulse")
	// Something listens inside on a port that nobody declared.
	listening := call(t, g, "erl_eval", "exprs", parsed(t, g, `spawn(fun() -> {ok, _} = gen_tcp:listen(7777, []), receive stop -> ok end end), timer:sleep(200), ok.`), term.List{})
	t.Logf("listen inside: %s", term.Format(listening))
	guest := w.daemon.App(t.Context(), "pulse").Address
	open := []int{}
	for _, port := range []int{1, 22, 80, 443, 4369, 4370, 7777, 8085, 9099, 9100, 9101, 18085, 18086} {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(guest, strconv.Itoa(port)), 300*time.Millisecond)
		if err == nil {
			c.Close()
			open = append(open, port)
		}
	}
	for _, port := range open {
		if !slices.Contains([]int{4369, 9100, 18085}, port) {
			t.Errorf("port %d of the guest answers the host", port)
		}
	}
	if !slices.Contains(open, 9100) || !slices.Contains(open, 18085) {
		t.Errorf("open ports %v: distribution and the declared port must answer", open)
	}
	c, err := net.DialTimeout("tcp", "127.0.0.1:18085", 30*time.Second)
	if err != nil {
		t.Errorf("the declared port is not on the host's loopback: %v", err)
	} else {
		c.Close()
	}
}

// TestFromBesideNothingAnswers: another namespace with a link to the host
// reaches no guest.
func TestFromBesideNothingAnswers(t *testing.T) {
	w.twoGuests(t)
	guest := w.daemon.App(t.Context(), "pulse").Address
	beside := newBeside(t)
	if !beside.reachesHost() {
		t.Fatal("the namespace beside cannot even reach the host: this test would prove nothing")
	}
	for _, port := range []int{4369, 9100, 18085} {
		if beside.connects(guest, port) {
			t.Errorf("a namespace beside the guest reached its port %d", port)
		}
	}
}

// TestKernelWalls reads what the kernel says of the guest's process.
func TestKernelWalls(t *testing.T) {
	w.twoGuests(t)
	pid := w.daemon.App(t.Context(), "pulse").Pid
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for _, want := range []string{"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(b), want+"\n") {
			t.Errorf("/proc/%d/status lacks %q", pid, want)
		}
	}
	uids, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid))
	must(t, err)
	if f := strings.Fields(string(uids)); len(f) != 3 || f[1] == "0" {
		t.Errorf("uid_map = %q: the guest must have a range of its own", uids)
	}
	g := w.guest(t, "pulse")
	for _, path := range []string{"/bin/sh", "/usr/bin/epmd", "/sys/kernel", "/dev/kmsg", "/proc/kcore"} {
		v, _ := call(t, g, "file", "read_file", term.String(path)).(term.Tuple)
		if len(v) != 2 || v[0] != term.Term(term.Atom("error")) {
			if bin, _ := v[1].(term.Binary); len(bin) > 0 {
				t.Errorf("the guest can read %s", path)
			}
		}
	}
	for _, path := range []string{"/x", "/app/x", "/etc/x", "/proc/sys/kernel/core_pattern"} {
		if v := call(t, g, "file", "write_file", term.String(path), term.Binary("x")); v == term.Term(term.Atom("ok")) {
			t.Errorf("the guest can write %s", path)
		}
	}
	v, err := g.Call(within(t, 10*time.Second), "os", "cmd", term.String("echo out"))
	if err == nil && strings.Contains(term.Format(v), "out") {
		t.Errorf("os:cmd in the guest = %s: there must be no shell", term.Format(v))
	}
}

func appOf(h status.Host, name string) status.App {
	for _, a := range h.Apps {
		if a.Name == name {
			return a
		}
	}
	return status.App{}
}

func total(m map[string]uint64) uint64 {
	var n uint64
	for _, v := range m {
		n += v
	}
	return n
}
