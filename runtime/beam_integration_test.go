//go:build integration

package runtime_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime"
)

// namespace makes a network namespace with a loopback and a port mapper that
// accepts every name; its path.
func namespace(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "net")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	type result struct {
		l   net.Listener
		err error
	}
	made := make(chan result)
	go func() { // the thread is not unlocked: it dies with its namespace
		goruntime.LockOSThread()
		l, err := inNamespace(path)
		made <- result{l, err}
	}()
	r := <-made
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() {
		r.l.Close()
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	go serveNames(r.l)
	return path
}

func inNamespace(path string) (net.Listener, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, ""); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var req [40]byte // struct ifreq: netdevice(7)
	copy(req[:], "lo")
	binary.NativeEndian.PutUint16(req[16:], unix.IFF_UP|unix.IFF_RUNNING)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return nil, errno
	}
	return net.Listen("tcp", "127.0.0.1:4369")
}

// serveNames answers ALIVE2_REQ (erl_dist_protocol, "Register a Node in EPMD").
func serveNames(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			var size [2]byte
			if _, err := io.ReadFull(c, size[:]); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(size[:]))); err != nil {
				return
			}
			if _, err := c.Write([]byte{118, 0, 0, 0, 0, 9}); err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, c) // the name is held while the guest lives
		}()
	}
}

func beam(name, eval string) runtime.Config {
	c := guest(name)
	c.Image = beamImage
	c.VM.ExtraArgs = []string{"-eval", eval}
	return c
}

func TestBEAMGuest(t *testing.T) {
	r := newRoom(t)
	c := beam("pulse", `application:load({application, pulse, [{vsn, "1"}]}), io:format("node ~p cookie ~p env ~p level ~p schedulers ~w hidden ~p~n", [node(), erlang:get_cookie(),
		application:get_all_env(pulse), element(2, application:get_env(kernel, logger_level)),
		{erlang:system_info(schedulers), erlang:system_info(dirty_io_schedulers)}, init:get_argument(hidden)]),
		{ok, L} = file:list_dir("/app/releases/1"), io:format("done ~p~n", [lists:sort(L)]).`)
	c.NetNS, c.Node, c.DistPort, c.Guest = namespace(t), "pulse@vm", 9100, netip.MustParseAddr("127.0.0.1")
	c.Cookie = app.NewSecret("beam-guest-cookie")
	c.VM.SchedulerLimit, c.VM.MemoryLimit = 1, 128
	c.Env = map[string]term.Term{"http_port": term.Int(8085)}
	began := time.Now()
	task := r.ensure(c)
	started := time.Since(began)
	text := r.waitLog("pulse", "done ")
	t.Logf("started in %v, evaluated after %v", started, time.Since(began))
	for _, want := range []string{
		"node pulse@vm", "cookie 'beam-guest-cookie'", "{http_port,8085}", "level info", "schedulers {1,4}", "hidden error",
		`["start.boot","sys.config","vm.args"]`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, file := range []string{"cmdline", "environ"} {
		if strings.Contains(procFile(t, task.Pid, file), "beam-guest-cookie") {
			t.Errorf("the cookie is in %s", file)
		}
	}
	if used, err := r.Memory(t.Context(), "pulse"); err != nil || used > 64<<20 {
		t.Errorf("memory %d, %v", used, err)
	} else {
		t.Logf("memory %.1f MB", float64(used)/(1<<20))
	}
	events := r.events()
	if err := r.Signal(t.Context(), "pulse", syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if ev := r.next(events); ev.Exit.Status != 0 || ev.Exit.OOMKilled {
		t.Errorf("after SIGTERM: %+v", ev)
	}
}

func TestBEAMOutOfMemory(t *testing.T) {
	r := newRoom(t)
	events := r.events()
	c := beam("hog", `X = binary:copy(<<1>>, 200 bsl 20), io:format("~p~n", [byte_size(X)]).`)
	c.VM.MemoryLimit = 64
	r.ensure(c)
	if ev := r.next(events); !ev.Exit.OOMKilled {
		t.Errorf("200 MB of 64: %+v\n%s", ev, r.waitLog("hog", ""))
	}
}

func TestBEAMSpins(t *testing.T) {
	r := newRoom(t)
	c := beam("spin", `F = fun F() -> F() end, [spawn(F) || _ <- lists:seq(1, 4)], io:format("spinning~n").`)
	c.VM.SchedulerLimit = 1
	r.ensure(c)
	r.waitLog("spin", "spinning")
	began, from := time.Now(), r.cpu("spin")
	<-time.After(2 * time.Second) // what is measured is a rate
	if used := (r.cpu("spin") - from).Seconds() / time.Since(began).Seconds(); used > 1.1 {
		t.Errorf("used %.2f CPUs, want at most 1.1", used)
	}
}

func TestBEAMJob(t *testing.T) {
	r := newRoom(t)
	c, out := job("beam")
	c.Image = beamImage
	c.Args = []string{
		"/app/erts-1/bin/erlexec", "-noinput", "-boot", "/app/releases/1/start",
		"-eval", `io:format("built by ~p~n", [os:getenv("HOME")]), halt(4).`,
	}
	c.Env = []string{"ROOTDIR=/app", "BINDIR=/app/erts-1/bin", "EMU=beam", "PROGNAME=erl", "HOME=/tmp"}
	if exit, err := r.RunJob(t.Context(), c); err != nil || exit != 4 || !strings.Contains(out.String(), `built by "/tmp"`) {
		t.Errorf("exit %d, %v, output %q", exit, err, out)
	}
}
