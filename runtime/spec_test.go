package runtime

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func pulse() Config {
	return Config{
		Name: "pulse", Digest: "d", Image: "i", Hostname: "myhost", Node: "pulse@myhost",
		Release: Release{Name: "pulse", Version: "1.0.0", ERTS: "13.1.5", Root: "/app"},
		Guest:   netip.MustParseAddr("10.231.0.1"), DistPort: 9100,
		VM:     app.VMConfig{MemoryLimit: 512, SchedulerLimit: 2, ExtraArgs: []string{"+P", "131072"}},
		Env:    map[string]term.Term{"http_port": term.Int(8080), "greeting": term.Binary("hi")},
		Cookie: app.NewSecret("very-secret"),
	}
}

func testWalls() walls {
	c, has := pulse(), releaseFiles{sysConfig: true, vmArgs: true}
	return walls{
		args: command(c, 8, has), env: environment(c, has), dir: "/", hostname: "myhost", netNS: "/run/x/netns/pulse",
		cgroup: "/beamsandbox/pulse", uidBase: 231072000, userNS: true, memory: 512 << 20, memSwap: true, cpus: 2,
		pids: 1024, files: 65536, tmpBytes: 64 << 20, mounts: stateDir("/run/x/guests/pulse").etcMounts(),
	}
}

func TestSpecGolden(t *testing.T) {
	unified := testWalls()
	unified.unified = true
	single := testWalls()
	single.userNS, single.memory, single.cpus, single.netNS = false, 0, 0, ""
	for name, w := range map[string]walls{"guest-v1": testWalls(), "guest-v2": unified, "guest-single-user": single} {
		s := w.spec()
		s.Linux.Seccomp = nil // containerd's list changes with the kernel; see TestSyscalls
		got, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSpecsDoNotShareMemory(t *testing.T) {
	a, b := testWalls().spec(), testWalls().spec()
	a.Linux.MaskedPaths[0], a.Process.Args[0], a.Linux.Namespaces[0].Path = "x", "x", "x"
	if diff := cmp.Diff(b, testWalls().spec()); diff != "" {
		t.Errorf("a change of one specification reached another:\n%s", diff)
	}
}

func TestSyscalls(t *testing.T) {
	profile := testWalls().spec().Linux.Seccomp
	if profile.DefaultAction != specs.ActErrno {
		t.Fatalf("default action %s", profile.DefaultAction)
	}
	allowed := map[string]bool{}
	var families []uint64
	for _, rule := range profile.Syscalls {
		for _, name := range rule.Names {
			if rule.Action == specs.ActAllow {
				allowed[name] = true
			}
			if name == "socket" {
				families = append(families, rule.Args[0].Value)
			}
		}
	}
	for _, name := range refused {
		if allowed[name] {
			t.Errorf("%s is allowed", name)
		}
	}
	for _, name := range []string{"mount", "unshare", "setns", "init_module", "kexec_load", "reboot", "pivot_root", "open_by_handle_at"} {
		if allowed[name] {
			t.Errorf("%s is allowed", name)
		}
	}
	for _, name := range []string{"read", "mmap", "epoll_wait", "timerfd_create", "futex", "clone3", "execve"} {
		if !allowed[name] && name != "clone3" {
			t.Errorf("%s is refused", name)
		}
	}
	if want := []uint64{1, 2, 10, 16}; !slices.Equal(families, want) {
		t.Errorf("socket families %v, want %v", families, want)
	}
}

func TestCommandHoldsNoSecret(t *testing.T) {
	c := pulse()
	for _, word := range slices.Concat(command(c, 2, releaseFiles{}), environment(c, releaseFiles{})) {
		if strings.Contains(word, "very-secret") {
			t.Errorf("the cookie is in %q", word)
		}
	}
}

func TestCommand(t *testing.T) {
	joined := func(c Config, has releaseFiles) string { return strings.Join(command(c, 8, has), " ") }
	bare := pulse()
	bare.Node, bare.VM = "", app.VMConfig{}
	for name, tt := range map[string]struct {
		got       string
		has, hasn []string
	}{
		"everything": {
			joined(pulse(), releaseFiles{sysConfig: true, vmArgs: true}),
			[]string{
				"/app/erts-13.1.5/bin/erlexec -noinput -boot /app/releases/1.0.0/start ", "-boot_var ERTS_LIB_DIR /app/lib",
				"-args_file /app/releases/1.0.0/vm.args -config /app/releases/1.0.0/sys -config /run/beamsandbox/env -mode interactive",
				"+S 2:2 +SDcpu 2:2 +SDio 4", "-sname pulse@myhost -start_epmd false",
				"-kernel inet_dist_listen_min 9100 -kernel inet_dist_listen_max 9100", "inet_dist_use_interface {10,231,0,1} +P 131072",
			}, []string{"setcookie"},
		},
		"neither node, limits nor files": {
			joined(bare, releaseFiles{}), []string{"-config /run/beamsandbox/env", "+S 8:8"},
			[]string{"-sname", "inet_dist", "-args_file", "/sys"},
		},
	} {
		for _, want := range tt.has {
			if !strings.Contains(tt.got, want) {
				t.Errorf("%s: no %q in %s", name, want, tt.got)
			}
		}
		for _, not := range tt.hasn {
			if strings.Contains(tt.got, not) {
				t.Errorf("%s: %q in %s", name, not, tt.got)
			}
		}
	}
}

func TestEnvConfigReadsBack(t *testing.T) {
	for name, tt := range map[string]struct {
		env  map[string]term.Term
		want term.Term
	}{
		"empty": {nil, term.List{}},
		"some": {pulse().Env, term.List{Elems: []term.Term{term.Tuple{term.Atom("pulse"), term.List{Elems: []term.Term{
			term.Tuple{term.Atom("greeting"), term.Binary("hi")}, term.Tuple{term.Atom("http_port"), term.Int(8080)},
		}}}}}},
	} {
		got, err := term.Parse(envConfig("pulse", tt.env))
		if err != nil || len(got) != 1 || !term.Equal(got[0], tt.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestGuestFiles(t *testing.T) {
	for _, f := range guestFiles(pulse()) {
		secret := strings.Contains(string(f.data), "very-secret")
		if secret != (f.path == "home/.erlang.cookie") || secret && !f.owned {
			t.Errorf("%s: holds the cookie: %v, readable by its owner alone: %v", f.path, secret, f.owned)
		}
	}
}
