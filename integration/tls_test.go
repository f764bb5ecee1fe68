//go:build integration

package integration

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/secure"
	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// legs restarts sandboxd with another value of the key distribution, "" for
// none.
func (w *world) legs(t *testing.T, value string) {
	t.Helper()
	o := stage.Options{Repo: w.gitops, HostNode: w.host.Name}
	if value != "" {
		terms, err := term.Parse([]byte(value + "."))
		must(t, err)
		o.Extra = []term.Term{term.Tuple{term.Atom("distribution"), terms[0]}}
	}
	w.daemon.Kill()
	d, err := w.StartDaemon(within(t, 20*time.Second), o)
	must(t, err)
	w.daemon = d
	must(t, d.Await(within(t, time.Minute), "the host has settled", func(h status.Host) bool { return h.HostUp && h.Commit != "" }))
}

// pulseOverTLS is a repository of pulse with ssl in its release.
func (w *world) pulseOverTLS(t *testing.T) *stage.Repo {
	t.Helper()
	r, err := w.NewRepo("pulse_tls", "../examples/apps/pulse")
	must(t, err)
	src, err := r.Read("src/pulse.app.src")
	must(t, err)
	with := bytes.Replace(src, []byte("[kernel, stdlib]"), []byte("[kernel, stdlib, ssl]"), 1)
	if bytes.Equal(with, src) {
		t.Fatal("pulse's applications were not found")
	}
	must(t, r.Write("src/pulse.app.src", with))
	must(t, r.Commit("Speak TLS"))
	must(t, r.Tag("v1.0.0"))
	return r
}

// TestTLS: a real guest in its container speaks TLS with the gateway, and the
// host VM too once it was issued a certificate; new certificates cost no link,
// private keys are where they belong alone, and an app whose release cannot
// speak TLS says so.
func TestTLS(t *testing.T) {
	w.start(t)
	w.push(t, nil)
	must(t, w.daemon.Await(within(t, time.Minute), "no app is left", func(h status.Host) bool { return len(h.Apps) == 0 }))
	w.legs(t, "[{guest, tls}]")
	defer w.plainAgain(t)
	pulse := strings.ReplaceAll(w.pulseConfig("pulse", "", 18085), w.pulse.URL(), w.pulseOverTLS(t).URL())
	w.push(t, map[string]string{"pulse": pulse, "counter": w.counterConfig("vm", "http_port => 18086")})
	must(t, w.daemon.Await(within(t, 3*time.Minute), "pulse is healthy over TLS, and counter cannot be", func(h status.Host) bool {
		return appOf(h, "pulse").Phase == status.Healthy && strings.Contains(appOf(h, "counter").Detail, "holds no application ssl")
	}))
	w.push(t, map[string]string{"pulse": pulse})
	w.speaksTLS(t)
	w.turnsCertificates(t)
	w.hostOverTLS(t)
	w.wantCheck(t, "host_connection", status.Fail, "dial "+w.host.Name, "both or neither of you speak TLS")
	w.legs(t, "[{guest, tls}, {host, tls}]")
	must(t, w.daemon.AwaitHealthy(within(t, time.Minute), "pulse"))
	w.wantWell(t, "host_cookie", "host_name", "host_nodes", "guest_cookie", "guest_link", "guest_ping", "applications")
	w.turnsCertificates(t)
	old := guestCookie(t, "pulse")
	_, err := w.Ctl("cookie", "rotate", "pulse")
	must(t, err)
	if guestCookie(t, "pulse") == old {
		t.Error("the cookie of a guest over TLS was not replaced")
	}
	relink(t, "pulse")
	waitForBeat(t, "pulse", "1.0.0")
	w.nowhere(t, w.privateKeys(t))
}

// speaksTLS checks that the guest's leg is what it is said to be.
func (w *world) speaksTLS(t *testing.T) {
	t.Helper()
	waitForBeat(t, "pulse", "1.0.0")
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", w.daemon.App(t.Context(), "pulse").Pid))
	must(t, err)
	if !bytes.Contains(b, []byte("inet_tls")) {
		t.Errorf("the guest was started with %q", b)
	}
	if err := opens(t, w.Node("pulse"), guestAddr(t, "pulse"), guestCookie(t, "pulse")); err == nil {
		t.Error("the guest's door opens without TLS")
	}
}

// turnsCertificates replaces every certificate under the link.
func (w *world) turnsCertificates(t *testing.T) {
	t.Helper()
	path := filepath.Join(w.Root, "tls", "guests", "pulse.pem")
	before, err := os.ReadFile(path)
	must(t, err)
	changed := len(changes(t))
	out, err := w.Ctl("tls", "rotate", "--all")
	must(t, err)
	after, err := os.ReadFile(path)
	must(t, err)
	inside, err := os.ReadFile(filepath.Join(w.RunDir, "guests", "pulse", "run", "tls", "node.pem"))
	must(t, err)
	if bytes.Equal(before, after) || !bytes.Equal(after, inside) {
		t.Errorf("certificate replaced: %v, given to the guest: %v\n%s", !bytes.Equal(before, after), bytes.Equal(after, inside), out)
	}
	waitForBeat(t, "pulse", "1.0.0")
	if c := changes(t)[changed:]; len(c) > 0 {
		t.Errorf("the host VM saw %v", c)
	}
}

// hostOverTLS starts the host VM again with a certificate of ours, as an
// operator would.
func (w *world) hostOverTLS(t *testing.T) {
	t.Helper()
	dir, own := w.Path("host-tls"), w.Path("stage-tls")
	out, err := w.Ctl("tls", "issue", w.host.Name, "--dir", dir)
	must(t, err)
	_, err = w.Ctl("tls", "issue", w.Node("stage_demo_web"), "--dir", own)
	must(t, err)
	if _, err := w.Ctl("tls", "issue", w.host.Name, "--dir", dir); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("files were written over: %v", err)
	}
	var args []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "-") {
			args = append(args, strings.Fields(line)...)
		}
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(own, name))
		must(t, err)
		return string(b)
	}
	id := secure.Identity{CA: read("ca.pem"), Cert: read("node.pem"), Key: app.NewSecret(read("node.pem"))}
	must(t, w.host.Stop())
	w.Secure = func(ctx context.Context, conn net.Conn) (net.Conn, error) {
		return id.Client(ctx, conn, secure.Peer{What: "host VM", Node: w.Node("demo_web")})
	}
	host, err := w.StartHostOn(within(t, 20*time.Second), "demo_web", append([]string{"erl"}, args...), nil)
	must(t, err)
	w.host = host
}

// plainAgain leaves the world as the other tests expect it.
func (w *world) plainAgain(t *testing.T) {
	t.Helper()
	w.push(t, nil)
	must(t, w.daemon.Await(within(t, time.Minute), "no app is left", func(h status.Host) bool { return len(h.Apps) == 0 }))
	if w.Secure != nil {
		must(t, w.host.Stop())
		w.Secure = nil
		host, err := w.StartHost(within(t, 20*time.Second), "demo_web")
		must(t, err)
		w.host = host
	}
	w.legs(t, "")
}

// privateKeys are parts of the keys that are in force.
func (w *world) privateKeys(t *testing.T) []string {
	t.Helper()
	var parts []string
	must(t, filepath.WalkDir(filepath.Join(w.Root, "tls"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".pem" {
			return err
		}
		b, err := os.ReadFile(path)
		_, key, found := strings.Cut(string(b), "-----BEGIN PRIVATE KEY-----\n")
		if !found {
			t.Errorf("%s holds no key", path)
		}
		lines := strings.Split(key, "\n")
		parts = append(parts, lines[1]) // the first is the same for all
		return err
	}))
	if len(parts) < 6 {
		t.Errorf("%d keys: three authorities and three certificates were expected", len(parts))
	}
	return parts
}
