//go:build integration

package wire

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

// startEPMD runs a stock port mapper of this test alone.
func startEPMD(t *testing.T) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(ln.Addr().String())
	ln.Close()
	cmd := exec.Command("epmd", "-address", "127.0.0.1", "-port", strconv.Itoa(int(addr.Port())), "-d", "-d")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	run(t, cmd, out, "entering the main select() loop")
	return addr
}

// startErl runs expressions in a BEAM of this test and returns at its first
// "ready", or at once when the expressions do not print that.
func startErl(t *testing.T, epmd netip.AddrPort, name, cookie, expr string) {
	t.Helper()
	cmd := exec.Command("erl", "-noinput", "-sname", name+"@vm", "-setcookie", cookie, "-start_epmd", "false", "-eval", expr)
	cmd.Env = append(os.Environ(), "ERL_EPMD_PORT="+strconv.Itoa(int(epmd.Port())), "HOME="+t.TempDir(), "ERL_CRASH_DUMP_SECONDS=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	ready := ""
	if strings.Contains(expr, "ready") {
		ready = "ready"
	}
	run(t, cmd, out, ready)
}

// run starts cmd, ends it with the test, and waits for a line of out that
// contains ready.
func run(t *testing.T, cmd *exec.Cmd, out io.Reader, ready string) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 64)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- s.Text():
			default: // nobody waits for later ones
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range lines {
		}
		_ = cmd.Wait()
	})
	for ready != "" {
		line, ok := <-lines
		if !ok {
			t.Fatalf("%s ended before it said %q", cmd.Args[0], ready)
		}
		if strings.Contains(line, ready) {
			return
		}
	}
}
