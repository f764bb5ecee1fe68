//go:build integration

package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/reconcile/status"
)

// childConfig holds the Config of a process of this test that runs in
// namespaces of its own and prints what it finds.
const childConfig = "MACHINE_TEST_CONFIG"

func TestMain(m *testing.M) {
	config := os.Getenv(childConfig)
	if config == "" {
		os.Exit(m.Run())
	}
	var c Config
	err := json.Unmarshal([]byte(config), &c)
	if err == nil {
		host, _ := os.Hostname()
		c.Hostname, _, _ = strings.Cut(host, ".")
		err = json.NewEncoder(os.Stdout).Encode(Check(context.Background(), c))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// whole is a machine on which everything is as it should be.
func whole(t *testing.T) Config {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("namespaces are made and mounts are changed: run this test as root")
	}
	bin, err := filepath.Abs("../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := Config{Root: filepath.Join(dir, "root"), RunDir: "/run/beamsandbox-doctor-test", Bin: bin, EPMD: netip.MustParseAddrPort("127.0.0.1:4369")}
	t.Cleanup(func() { os.RemoveAll(c.RunDir) })
	for _, d := range []string{c.Root, c.RunDir, filepath.Join(c.Root, "cookies")} {
		if err := os.MkdirAll(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// in runs Check in new namespaces after the shell has broken something there.
func in(t *testing.T, c Config, namespaces uintptr, shell string) []status.Check {
	t.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-ec", shell+"\nexec ${RUN:-} \"$0\"", os.Args[0])
	cmd.Env = append(os.Environ(), childConfig+"="+string(config), "DIR="+t.TempDir(), "ROOT="+c.Root, "BIN="+c.Bin, "RUNDIR="+c.RunDir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if namespaces&syscall.CLONE_NEWUSER != 0 {
		id := []syscall.SysProcIDMap{{Size: 1}}
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = id, id
	}
	var diagnostics bytes.Buffer
	cmd.Stderr = &diagnostics
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &diagnostics)
	}
	var checks []status.Check
	if err := json.Unmarshal(out, &checks); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return checks
}

func find(t *testing.T, all []status.Check, name string) status.Check {
	t.Helper()
	for _, c := range all {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no check %s in %+v", name, all)
	return status.Check{}
}

// alone keeps what is mounted to the child.
const alone = "mount --make-rprivate /\n"

// TestBroken breaks one thing after the other for real. Each check is well
// before and says afterwards what was found and what to do.
func TestBroken(t *testing.T) {
	well := in(t, whole(t), 0, ":")
	for _, test := range []struct {
		name, check string
		namespaces  uintptr
		shell       string
		verdict     status.Verdict
		found, cure string
	}{
		{"an old kernel", "kernel", 0, "RUN='setarch --uname-2.6'",
			status.Fail, "Linux 2.6", "upgrade to 5.16"},
		{"no user namespaces", "user_namespaces", syscall.CLONE_NEWUSER, "echo 0 > /proc/sys/user/max_user_namespaces",
			status.Warn, "none may be made", "sysctl -w user.max_user_namespaces"},
		{"no seccomp", "seccomp", syscall.CLONE_NEWNS, alone + "mount --bind /dev/null /proc/sys/kernel/seccomp/actions_avail",
			status.Fail, "no seccomp", "CONFIG_SECCOMP_FILTER"},
		{"no overlayfs", "overlayfs", syscall.CLONE_NEWNS, alone + "mount --bind /dev/null /proc/filesystems",
			status.Warn, "has none", "modprobe overlay"},
		{"no right to nftables", "nftables", 0, "RUN='setpriv --inh-caps -net_admin --bounding-set -net_admin'",
			status.Fail, "not permitted", "CAP_NET_ADMIN"},
		{"no cgroups", "cgroups", syscall.CLONE_NEWNS, alone + "mount -t tmpfs none /sys/fs/cgroup",
			status.Fail, "without memory, cpu, pids", "enable it"},
		{"cgroups read-only", "cgroups", syscall.CLONE_NEWNS, alone + "grep ' cgroup2\\? ' /proc/mounts | while read -r _ d _; do mount -o remount,bind,ro $d; done",
			status.Fail, "may not be written", "mounted for writing"},
		{"a program is missing", "programs", syscall.CLONE_NEWNS, alone + "cd $DIR; for f in sandbox-gateway containerd containerd-shim-runc-v2; do : > $f; chmod 755 $f; done; mount --bind $DIR $BIN",
			status.Fail, ": no runc", "make install"},
		{"an old runc", "runc", syscall.CLONE_NEWNS, alone + "printf '#!/bin/sh\\necho runc version 1.1.5+ds1\\n' > $DIR/runc; chmod 755 $DIR/runc; mount --bind $DIR/runc $BIN/runc",
			status.Fail, "1.1.5", "upgrade it to 1.2.8"},
		{"a containerd that does not run", "containerd", syscall.CLONE_NEWNS, alone + "printf '#!/bin/sh\\nexit 127\\n' > $DIR/c; chmod 755 $DIR/c; mount --bind $DIR/c $BIN/containerd",
			status.Fail, "does not run", "make install"},
		{"no Erlang", "erlang", 0, "PATH=/nowhere; export PATH",
			status.Warn, "no erl on PATH", "install Erlang/OTP"},
		{"others write to root", "root_rights", syscall.CLONE_NEWNS, alone + "mount -t tmpfs -o mode=777 none $ROOT",
			status.Fail, "0777", "chmod go-w"},
		{"root is another's", "root_rights", syscall.CLONE_NEWNS, alone + "mount -t tmpfs -o uid=1000 none $ROOT",
			status.Fail, "belongs to user 1000", "chown root"},
		{"a cookie that all can read", "cookie_files", syscall.CLONE_NEWNS, alone + "mount -t tmpfs none $ROOT; mkdir $ROOT/cookies; echo x > $ROOT/cookies/pulse; chmod 644 $ROOT/cookies/pulse",
			status.Fail, "pulse has mode 0644", "chmod 600"},
		{"a full disk", "disk_space", syscall.CLONE_NEWNS, alone + "mount -t tmpfs -o size=8m none $ROOT",
			status.Fail, "8 MB free", "sandboxctl image prune"},
		{"few inodes", "disk_space", syscall.CLONE_NEWNS, alone + "mount -t tmpfs -o size=64g,nr_inodes=100 none $ROOT; i=0; while [ $i -lt 98 ]; do : > $ROOT/$i; i=$((i+1)); done",
			status.Fail, "inodes free", "sandboxctl image prune"},
		{"others write to run_dir", "run_dir_rights", syscall.CLONE_NEWNS, alone + "mount -t tmpfs -o mode=1777 none $RUNDIR",
			status.Fail, "mode 0777", "chmod go-w"},
		{"a name that does not resolve", "hostname", syscall.CLONE_NEWUTS, "hostname nobody-knows-it",
			status.Fail, "nobody-knows-it does not resolve", "add '127.0.1.1 nobody-knows-it' to /etc/hosts"},
		{"a name of another machine", "hostname", syscall.CLONE_NEWNS, alone + "echo \"192.0.2.7 $(hostname)\" > $DIR/hosts; mount --bind $DIR/hosts /etc/hosts",
			status.Fail, "192.0.2.7, which is not this machine", "/etc/hosts"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if c := find(t, well, test.check); c.Verdict != status.OK || c.Cure != "" {
				t.Fatalf("before anything was broken: %+v", c)
			}
			c := find(t, in(t, whole(t), test.namespaces, test.shell), test.check)
			if c.Verdict != test.verdict || !strings.Contains(c.Found, test.found) || !strings.Contains(c.Cure, test.cure) {
				t.Errorf("%+v\nwant %s, found %q, cure %q", c, test.verdict, test.found, test.cure)
			}
		})
	}
}

// TestPortMapper: none, a real one, and somebody else in its place.
func TestPortMapper(t *testing.T) {
	c := whole(t)
	c.EPMD = freePort(t)
	want := func(v status.Verdict, found, cure string) {
		t.Helper()
		got := c.epmd(t.Context())
		if got.Verdict != v || !strings.Contains(got.Found, found) || !strings.Contains(got.Cure, cure) {
			t.Errorf("%+v\nwant %s, found %q, cure %q", got, v, found, cure)
		}
	}
	want(status.Fail, "nothing listens", "epmd -daemon")
	cmd := exec.Command("epmd", "-address", "127.0.0.1", "-port", fmt.Sprint(c.EPMD.Port()))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { _, err := epmd.Names(t.Context(), c.EPMD); return err == nil })
	want(status.OK, fmt.Sprintf("epmd (pid %d) answers", cmd.Process.Pid), "")
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	l, err := net.Listen("tcp", c.EPMD.String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			conn.Close()
		}
	}()
	want(status.Fail, fmt.Sprintf("(pid %d) holds port", os.Getpid()), "stop it, then run 'epmd -daemon'")
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("not within 10 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
