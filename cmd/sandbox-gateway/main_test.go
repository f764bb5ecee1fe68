package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if os.Getenv("SANDBOX_GATEWAY_CONFINED") != "" {
		os.Exit(confined())
	}
	os.Exit(m.Run())
}

// confined is a process of its own, for what confine takes cannot be given
// back: it says what still works.
func confined() int {
	if err := confine(); err != nil {
		fmt.Println("confine:", err)
		return 1
	}
	for _, try := range []struct {
		what    string
		err     error
		allowed bool
	}{
		{"open a file", errOf(os.Open("/etc/hostname")), false},
		{"run a program", exec.Command("/proc/self/exe").Run(), false},
		{"exec", syscall.Exec("/bin/true", []string{"true"}, nil), false},
		{"open a unix socket", errOf(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)), false},
		{"open a netlink socket", errOf(unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, 0)), false},
		{"map executable memory", errOf(unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)), false},
		{"trace a process", unix.PtraceAttach(1), false},
		{"enter a namespace", unix.Unshare(unix.CLONE_NEWUSER), false},
		{"signal a process", unix.Kill(os.Getppid(), 0), false},
		{"work on", work(), true},
	} {
		if (try.err == nil) != try.allowed {
			fmt.Printf("%s: %v\n", try.what, try.err)
			return 1
		}
	}
	return 0
}

func errOf(_ any, err error) error { return err }

// work does what a gateway does: it carries bytes over TCP in many goroutines
// and uses timers and memory.
func work() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = c.Write(make([]byte, 1<<20)) }()
		}
	}()
	done := make(chan error)
	for range 50 {
		go func() { done <- fetch(ln.Addr().String()) }()
	}
	var all error
	for range 50 {
		all = errors.Join(all, <-done)
	}
	return all
}

func fetch(addr string) error {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	buf, n := make([]byte, 1<<16), 0
	for n < 1<<20 {
		k, err := c.Read(buf)
		if err != nil {
			return err
		}
		n += k
	}
	return nil
}

func TestConfinedProcessWorksOnAndCanDoNothingElse(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "SANDBOX_GATEWAY_CONFINED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestParse(t *testing.T) {
	cfg, inherit, err := parse([]string{"-epmd", "127.0.0.1:4370", "-listen", "127.0.0.1,127.0.1.1", "-controller", "5"})
	if err != nil || cfg.EPMD.Port() != 4370 || len(cfg.Listen) != 2 || cfg.Listen[1] != netip.MustParseAddr("127.0.1.1") || cfg.Controller != 5 || inherit {
		t.Errorf("parse: %+v, %v, %v", cfg, inherit, err)
	}
	if _, inherit, err := parse([]string{"-inherit"}); err != nil || !inherit {
		t.Errorf("parse -inherit: %v, %v", inherit, err)
	}
	for want, args := range map[string][]string{
		"read -epmd":            {"-epmd", "nowhere"},
		"read -listen":          {"-listen", "127.0.0.1,"},
		"unexpected argument":   {"serve"},
		"flag provided but not": {"-cookie", "x"},
	} {
		if _, _, err := parse(args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parse %v: %v, want %q", args, err, want)
		}
	}
}
