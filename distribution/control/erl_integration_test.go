//go:build integration

package control

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"beamsandbox/reconcile/app"
)

const testCookie = "control-test-cookie"

// startEPMD runs a stock port mapper of this test alone.
func startEPMD(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(ln.Addr().String())
	ln.Close()
	cmd := exec.Command("epmd", "-address", "127.0.0.1", "-port", strconv.Itoa(int(addr.Port())), "-d", "-d")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	run(t, cmd)
	waitLine(t, stderr, "entering the main select() loop")
	return addr
}

// erl is a running BEAM of this test, which takes Erlang expressions on its
// standard input and answers each with one line.
type erl struct {
	t    testing.TB
	node string
	epmd netip.AddrPort
	cmd  *exec.Cmd
	in   io.Writer
	out  *bufio.Scanner
}

// evalLoop reads one expression a line and prints its value on one line.
const evalLoop = `F = fun F() -> case io:get_line("") of
  eof -> halt();
  L -> {ok, T, _} = erl_scan:string(L), {ok, E} = erl_parse:parse_exprs(T),
       V = try {value, X, _} = erl_eval:exprs(E, []), X catch C:R -> {caught, C, R} end,
       io:format("=> ~0p~n", [V]), F() end end, io:format("ready~n"), F().`

// startErl runs `erl -sname name` against the port mapper at epmd.
func startErl(t testing.TB, epmd netip.AddrPort, name string, args ...string) *erl {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ = strings.Cut(host, ".")
	base := []string{"-noshell", "-sname", name + "@" + host, "-setcookie", testCookie, "-start_epmd", "false"}
	cmd := exec.Command("erl", append(append(base, args...), "-eval", evalLoop)...)
	cmd.Env = append(os.Environ(), "ERL_EPMD_PORT="+strconv.Itoa(int(epmd.Port())), "HOME="+t.TempDir(), "ERL_CRASH_DUMP_SECONDS=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	run(t, cmd)
	e := &erl{t: t, node: name + "@" + host, epmd: epmd, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	e.line("ready")
	return e
}

// eval runs expressions, which end with a dot, and returns the value as text.
func (e *erl) eval(expr string) string {
	e.t.Helper()
	if _, err := io.WriteString(e.in, expr+"\n"); err != nil {
		e.t.Fatal(err)
	}
	return e.line("=> ")
}

// line reads up to a line of that beginning and returns its rest.
func (e *erl) line(begin string) string {
	e.t.Helper()
	for e.out.Scan() {
		if rest, ok := strings.CutPrefix(e.out.Text(), begin); ok {
			return rest
		}
	}
	e.t.Fatalf("%s ended before it said %q: %v", e.node, begin, e.out.Err())
	return ""
}

func (e *erl) config(name string) Config {
	return Config{Name: name, Cookie: app.NewSecret(testCookie), Peer: e.node, EPMD: e.epmd}
}

// run starts cmd and ends it with the test.
func run(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

func waitLine(t testing.TB, r io.Reader, want string) {
	t.Helper()
	s := bufio.NewScanner(r)
	for s.Scan() {
		if strings.Contains(s.Text(), want) {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return
		}
	}
	t.Fatalf("output ended before %q", want)
}
