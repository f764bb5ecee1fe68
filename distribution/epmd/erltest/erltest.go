// Package erltest runs real BEAMs and port mappers for the tests that need
// them. Each is of one test alone: private ports, ended by process with the
// test, and a machine without Erlang fails the test.
package erltest

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
)

// Cookie is what Start gives its nodes.
const Cookie = "erltest-cookie"

// EPMD runs a stock port mapper on a free port of 127.0.0.1.
func EPMD(t testing.TB) netip.AddrPort {
	t.Helper()
	addr := FreePort(t)
	EPMDAt(t, addr)
	return addr
}

// EPMDAt runs a stock port mapper at addr; stop ends it before the test does.
func EPMDAt(t testing.TB, addr netip.AddrPort) (stop func()) {
	t.Helper()
	port := strconv.Itoa(int(addr.Port()))
	cmd := exec.Command("epmd", "-address", addr.Addr().String(), "-port", port, "-d", "-d")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := run(t, cmd, out)
	p.until("entering the main select() loop")
	p.discard()
	return p.kill
}

// AskEPMD runs the stock tool's own client against the port mapper at addr and
// returns what it says.
func AskEPMD(t testing.TB, addr netip.AddrPort, args ...string) string {
	t.Helper()
	cmd := exec.Command("epmd", append([]string{"-port", strconv.Itoa(int(addr.Port()))}, args...)...)
	out, _ := cmd.CombinedOutput() // a refusal is a non-zero exit
	return string(out)
}

// FreePort is an address on 127.0.0.1 where nothing listens.
func FreePort(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return netip.MustParseAddrPort(ln.Addr().String())
}

// Erl is a running BEAM.
type Erl struct {
	Node string // "name@myhost"
	p    *process
	in   io.Writer
}

// evalLoop reads one line of expressions at a time and prints their value on
// one line.
const evalLoop = `F = fun F() -> case io:get_line("") of
  eof -> halt();
  L -> {ok, T, _} = erl_scan:string(L), {ok, E} = erl_parse:parse_exprs(T),
       V = try {value, X, _} = erl_eval:exprs(E, []), X catch C:R -> {caught, C, R} end,
       io:format(user, "=> ~0p~n", [V]), F() end end, io:format("ready~n"), F().`

// Start runs `erl -sname name` with Cookie and args, registered at the port
// mapper at epmd, and returns once it takes expressions.
func Start(t testing.TB, epmd netip.AddrPort, name string, args ...string) *Erl {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ = strings.Cut(host, ".")
	node := name + "@" + host
	base := []string{"-noshell", "-sname", node, "-setcookie", Cookie, "-start_epmd", "false"}
	cmd := exec.Command("erl", append(append(base, args...), "-eval", evalLoop)...)
	port := strconv.Itoa(int(epmd.Port()))
	cmd.Env = append(os.Environ(), "ERL_EPMD_PORT="+port, "HOME="+t.TempDir(), "ERL_CRASH_DUMP_SECONDS=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	e := &Erl{Node: node, p: run(t, cmd, out), in: in}
	e.p.until("ready")
	return e
}

// Eval runs expressions, which end with a dot, and returns the last one's
// value as text; an exception is {caught,Class,Reason}.
func (e *Erl) Eval(expressions string) string {
	e.p.t.Helper()
	line := strings.ReplaceAll(expressions, "\n", " ") + "\n"
	if _, err := io.WriteString(e.in, line); err != nil {
		e.p.t.Fatalf("%s does not take expressions: %v", e.Node, err)
	}
	return e.p.until("=> ")
}

// Kill ends the BEAM at once, as kill -9 does.
func (e *Erl) Kill() { e.p.kill() }

// process is a program that this test started.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
	out *bufio.Scanner
}

func run(t testing.TB, cmd *exec.Cmd, out io.Reader) *process {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v; install Debian's erlang-base", cmd.Args[0], err)
	}
	p := &process{t: t, cmd: cmd, out: bufio.NewScanner(out)}
	t.Cleanup(p.kill)
	return p
}

// kill ends the process and reaps it; it may be called again.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// until reads output up to a line that holds mark and returns what follows.
func (p *process) until(mark string) string {
	p.t.Helper()
	for p.out.Scan() {
		if _, rest, ok := strings.Cut(p.out.Text(), mark); ok {
			return rest
		}
	}
	p.t.Fatalf("%s ended before it said %q: %v", p.cmd.Args[0], mark, p.out.Err())
	return ""
}

// discard reads further output away, so that the process never waits for us.
func (p *process) discard() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p.out.Scan() {
		}
	}()
	p.t.Cleanup(func() { p.kill(); <-done })
}
