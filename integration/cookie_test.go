//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/control"
	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/integration/stage"
	"beamsandbox/netns"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// guestAddr is where a guest accepts distribution.
func guestAddr(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	addr, err := netip.ParseAddr(w.daemon.App(t.Context(), name).Address)
	must(t, err)
	return netip.AddrPortFrom(addr, policy.DistributionPort)
}

// opens dials a node with a cookie: nil, or why not.
func opens(t *testing.T, peer string, at netip.AddrPort, cookie string) error {
	t.Helper()
	n, err := control.Dial(within(t, 10*time.Second), control.Config{
		Name: w.Node("thief"), Cookie: app.NewSecret(cookie), Peer: peer, Addr: at})
	if err == nil {
		n.Close()
	}
	return err
}

func guestCookie(t *testing.T, name string) string {
	t.Helper()
	c, err := w.GuestCookie(name)
	must(t, err)
	return c
}

// wantOnly checks that a node knows the cookie now and not the one it was.
func wantOnly(t *testing.T, peer string, at netip.AddrPort, was, now string) {
	t.Helper()
	if err := opens(t, peer, at, now); was == now || err != nil {
		t.Errorf("%s with its cookie (new: %v): %v", peer, was != now, err)
	}
	if err := opens(t, peer, at, was); !errors.Is(err, wire.ErrCookie) {
		t.Errorf("%s with its old cookie: %v", peer, err)
	}
}

// relink has the host VM drop a guest and waits until it is back.
func relink(t *testing.T, name string) {
	t.Helper()
	before := len(changes(t))
	mustHost(t, "erlang", "disconnect_node", term.Atom(w.Node(name)))
	must(t, stage.Until(within(t, 20*time.Second), "the host VM has seen "+name+" go and come", func() bool {
		return len(changes(t)) >= before+2
	}))
	must(t, w.daemon.Await(within(t, 20*time.Second), name+" is linked again", func(h status.Host) bool {
		return appOf(h, name).Linked && appOf(h, name).Phase == status.Healthy
	}))
}

// rotateCluster replaces the cluster's cookie, and tells the stage of it.
func rotateCluster(t *testing.T) (was, now string) {
	t.Helper()
	was = w.Cookie
	out, err := w.Ctl("cookie", "rotate", "--cluster")
	must(t, err)
	w.learnCookie(t)
	if strings.Contains(out, was) || strings.Contains(out, w.Cookie) {
		t.Error("sandboxctl printed a cookie")
	}
	return was, w.Cookie
}

// learnCookie reads which cookie the cluster has after a rotation.
func (w *world) learnCookie(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.Root, "cookie"))
	must(t, err)
	w.Cookie, _, _ = strings.Cut(string(b), "\n")
}

// beside starts another node of the host VM's cluster and connects them.
func (w *world) beside(t *testing.T) *stage.Host {
	t.Helper()
	other, err := w.StartHost(within(t, 20*time.Second), "other_web")
	must(t, err)
	if got := mustHost(t, "net_kernel", "connect_node", term.Atom(other.Name)); got != term.Term(term.Atom("true")) {
		t.Fatalf("the host VM does not connect to %s: %s", other.Name, term.Format(got))
	}
	return other
}

func hostAddr(t *testing.T) netip.AddrPort { return registered(t, "demo_web") }

// registered is where the machine's port mapper says that a node listens.
func registered(t *testing.T, alive string) netip.AddrPort {
	t.Helper()
	info, err := epmd.Lookup(t.Context(), netip.MustParseAddrPort(stage.EPMD), alive)
	must(t, err)
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), info.Port)
}

// TestCookieRotation: traffic runs and the host VM monitors its guests while
// every cookie is replaced; no link is lost, links that are lost later come
// back, and the old cookies open nothing.
func TestCookieRotation(t *testing.T) {
	w.twoGuests(t)
	changed, first := len(changes(t)), guestCookie(t, "pulse")
	_, err := w.Ctl("cookie", "rotate", "pulse")
	must(t, err)
	second, counter := guestCookie(t, "pulse"), guestCookie(t, "counter")
	wantOnly(t, w.Node("pulse"), guestAddr(t, "pulse"), first, second)
	out, err := w.Ctl("cookie", "rotate", "--all")
	must(t, err)
	third := guestCookie(t, "pulse")
	wantOnly(t, w.Node("pulse"), guestAddr(t, "pulse"), second, third)
	wantOnly(t, w.Node("counter"), guestAddr(t, "counter"), counter, guestCookie(t, "counter"))
	other := w.beside(t)
	was, now := rotateCluster(t)
	wantOnly(t, w.host.Name, hostAddr(t), was, now)
	wantOnly(t, other.Name, registered(t, "other_web"), was, now)
	must(t, other.Stop())
	must(t, stage.Until(within(t, time.Minute), "the other node is gone", func() bool { return len(changes(t)) >= changed+2 }))
	if c := changes(t)[changed:]; !slices.Equal(c, []string{"{nodeup," + other.Name + "}", "{nodedown," + other.Name + "}"}) {
		t.Errorf("the host VM saw %v", c)
	}
	changed = len(changes(t))
	waitForBeat(t, "pulse", "1.0.0")
	if c := changes(t)[changed:]; len(c) > 0 {
		t.Errorf("the host VM saw %v", c)
	}
	secrets := []string{first, second, third, counter, guestCookie(t, "counter"), was, now}
	if slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(out, s) }) {
		t.Error("sandboxctl printed a cookie")
	}
	relink(t, "pulse")
	relink(t, "counter")
	waitForBeat(t, "pulse", "1.0.0")
	w.nowhere(t, secrets)
	for _, file := range []string{"cookie", "cookies/pulse"} {
		info, err := os.Stat(filepath.Join(w.Root, file))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
	// The host VM's own file was written for its next start.
	b, err := os.ReadFile(w.Path("host-demo_web", ".erlang.cookie"))
	if err != nil || strings.TrimSpace(string(b)) != now {
		t.Errorf("the host VM's file holds another cookie (%v)", err)
	}
}

// nowhere checks that secrets are in no process's arguments or environment, no
// log, no label and no container's specification.
func (w *world) nowhere(t *testing.T, secrets []string) {
	t.Helper()
	holds := func(path string) bool {
		b, err := os.ReadFile(path)
		return err == nil && slices.ContainsFunc(secrets, func(s string) bool { return bytes.Contains(b, []byte(s)) })
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	looked := 0
	for _, p := range procs {
		for _, path := range []string{p, filepath.Join(filepath.Dir(p), "environ")} {
			if holds(path) {
				t.Errorf("%s holds a cookie", path)
			}
		}
	}
	for _, root := range []string{w.Dir, w.RunDir, filepath.Join(w.Root, "logs"), filepath.Join(w.Root, "history"),
		filepath.Join(w.Root, "containerd", "io.containerd.metadata.v1.bolt")} {
		must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			private := slices.Contains([]string{".erlang.cookie", "sandboxd.config", "node.pem"}, filepath.Base(path)) ||
				strings.HasPrefix(path, filepath.Join(w.Root, "cookie")) || strings.HasPrefix(path, filepath.Join(w.Root, "tls"))
			if err != nil || !d.Type().IsRegular() || private {
				return nil
			}
			looked++
			if holds(path) {
				t.Errorf("%s holds a cookie", path)
			}
			return nil
		}))
	}
	if looked < 10 {
		t.Errorf("only %d files were looked at: this proves nothing", looked)
	}
}

// TestCookieRotationCutShort kills sandboxd while one of those whom it tells
// does not listen. Whoever has heard of the new cookie by then, the next
// sandboxd finishes, and no link is lost.
func TestCookieRotationCutShort(t *testing.T) {
	w.twoGuests(t)
	gateway, err := stage.PidOf("sandbox-gateway", w.RunDir)
	must(t, err)
	for _, tc := range []struct {
		name string
		deaf int
		args []string
	}{
		{"guest asleep", int(w.daemon.App(t.Context(), "pulse").Pid), []string{"pulse"}},
		{"gateway asleep", gateway, []string{"pulse"}},
		{"gateway asleep, cluster", gateway, []string{"--cluster"}},
	} {
		t.Run(tc.name, func(t *testing.T) { w.cutShort(t, tc.deaf, tc.args...) })
	}
}

func (w *world) cutShort(t *testing.T, deaf int, args ...string) {
	t.Helper()
	changed, was, cluster := len(changes(t)), guestCookie(t, "pulse"), w.Cookie
	next := filepath.Join(w.Root, "cookies", "pulse.next")
	if args[0] == "--cluster" {
		next = filepath.Join(w.Root, "cookie.next")
	}
	there := func() bool { _, err := os.Stat(next); return err == nil }
	must(t, syscall.Kill(deaf, syscall.SIGSTOP))
	asleep := true
	wake := func() {
		if asleep {
			must(t, syscall.Kill(deaf, syscall.SIGCONT))
		}
		asleep = false
	}
	defer wake()
	go w.Ctl(append([]string{"cookie", "rotate"}, args...)...) //nolint:errcheck // it is cut short
	must(t, stage.Until(within(t, 30*time.Second), "the rotation is under way", there))
	w.daemon.Kill()
	wake()
	if !there() {
		t.Error("the rotation was through before it was cut")
	}
	d, err := w.RestartDaemon(within(t, 20*time.Second))
	must(t, err)
	w.daemon = d
	must(t, stage.Until(within(t, 20*time.Second), "the rotation is finished", func() bool { return !there() }))
	must(t, d.AwaitHealthy(within(t, 30*time.Second), "pulse", "counter"))
	if c := changes(t)[changed:]; len(c) > 0 {
		t.Errorf("the host VM saw %v", c)
	}
	if args[0] == "--cluster" {
		w.learnCookie(t)
		wantOnly(t, w.host.Name, hostAddr(t), cluster, w.Cookie)
	} else {
		wantOnly(t, w.Node("pulse"), guestAddr(t, "pulse"), was, guestCookie(t, "pulse"))
	}
	relink(t, "pulse")
}

// TestLeakedGuestCookie: who has counter's cookie gets into counter, and
// nowhere else: not the host VM, not another guest, and not past the gateway
// in anybody's name.
func TestLeakedGuestCookie(t *testing.T) {
	w.twoGuests(t)
	leaked := guestCookie(t, "counter")
	must(t, opens(t, w.Node("counter"), guestAddr(t, "counter"), leaked))
	pulse := guestAddr(t, "pulse")
	// Without sandboxd nobody makes links again that the host VM drops: where
	// one stands, the gateway refuses another whatever it proves.
	w.daemon.Kill()
	defer func() {
		d, err := w.RestartDaemon(within(t, 20*time.Second))
		must(t, err)
		w.daemon = d
		must(t, d.AwaitHealthy(within(t, 30*time.Second), "pulse", "counter"))
		waitForBeat(t, "pulse", "1.0.0")
	}()
	mustHost(t, "erlang", "disconnect_node", term.Atom(w.Node("pulse")))
	mustHost(t, "erlang", "disconnect_node", term.Atom(w.Node("counter")))
	for what, err := range map[string]error{
		"the host VM":                 opens(t, w.host.Name, hostAddr(t), leaked),
		"another guest":               opens(t, w.Node("pulse"), pulse, leaked),
		"the gateway as the host VM":  presents(t, w.host.Name, registered(t, "pulse"), leaked),
		"its own door as the host VM": presents(t, w.host.Name, registered(t, "counter"), leaked),
	} {
		if !errors.Is(err, wire.ErrCookie) {
			t.Errorf("%s: %v", what, err)
		}
	}
	inside := filepath.Join(w.RunDir, "netns", "counter")
	var err error
	must(t, netns.Do(inside, func() error {
		err = presents(t, w.Node("pulse"), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), policy.DistributionPort), leaked)
		return nil
	}))
	if err == nil || !strings.Contains(err.Error(), "not_allowed") {
		t.Errorf("as pulse, from inside counter: %v", err)
	}
}

// presents dials as a node that has a name of somebody else's.
func presents(t *testing.T, name string, at netip.AddrPort, cookie string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	self := wire.Identity{Name: name, Flags: wire.OwnFlags | wire.Published, Creation: 4}
	_, err = wire.Dial(c, self, app.NewSecret(cookie), 1)
	return err
}
