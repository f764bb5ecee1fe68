//go:build integration

package doctor

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/control"
	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/epmd/erltest"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// nobody is a gateway without members.
type nobody struct{}

func (nobody) Call(context.Context, app.Name, string, string, ...term.Term) (term.Term, error) {
	return nil, net.ErrClosed
}
func (nobody) List(context.Context) ([]distribution.Node, error) { return nil, nil }

// look examines the host VM doctor_host that is registered at a port mapper.
func look(t *testing.T, mapper netip.AddrPort, cookie string) map[string]status.Check {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	short, _, _ := strings.Cut(name, ".")
	host := control.NewHost(control.Config{Name: "doctor_test@" + short, Cookie: app.NewSecret(cookie), Peer: "doctor_host@" + short,
		EPMD: mapper, Wait: time.Second})
	defer host.Close()
	checks := map[string]status.Check{}
	for _, c := range Check(t.Context(), Config{
		Status: status.Host{HostNode: "doctor_host@" + short}, Hostname: short, EPMD: mapper, Host: host, Guests: nobody{},
	}, "") {
		checks[c.Name] = c
	}
	return checks
}

func want(t *testing.T, checks map[string]status.Check, name string, v status.Verdict, found, cure string) {
	t.Helper()
	c := checks[name]
	if c.Verdict != v || !strings.Contains(c.Found, found) || !strings.Contains(c.Cure, cure) || (v == status.OK) != (c.Cure == "") {
		t.Errorf("%s: %+v\nwant %s, found %q, cure %q", name, c, v, found, cure)
	}
}

// TestHostVM: a host VM that is well, and then each thing that can be wrong
// with its name, its cookie and its port mapper.
func TestHostVM(t *testing.T) {
	mapper := erltest.FreePort(t)
	want(t, look(t, mapper, erltest.Cookie), "host_registered", status.Fail, "no port mapper listens there", "see check epmd")
	erltest.EPMDAt(t, mapper)
	checks := look(t, mapper, erltest.Cookie)
	want(t, checks, "host_registered", status.Fail, "knows no doctor_host", "start the host VM with -sname doctor_host")
	if _, asked := checks["host_cookie"]; asked {
		t.Error("a host VM that is not there was asked for its cookie")
	}

	stop := start(t, mapper, "doctor_host")
	checks = look(t, mapper, erltest.Cookie)
	for _, name := range []string{"host_registered", "host_cookie", "host_name", "host_nodes", "host_telemetry"} {
		want(t, checks, name, status.OK, "", "")
	}
	want(t, checks, "host_registered", status.OK, "beam.smp (pid ", "")
	checks = look(t, mapper, "another-cookie")
	want(t, checks, "host_cookie", status.Fail, "cookies differ", "bc_gitops.cookie")
	if strings.Contains(checks["host_cookie"].Found, "another-cookie") {
		t.Error("a cookie is printed")
	}
	stop()

	start(t, mapper, "doctor_host@elsewhere")
	checks = look(t, mapper, erltest.Cookie)
	want(t, checks, "host_name", status.Fail, "doctor_host@elsewhere", "without a host of its own")
}

// start starts a node and waits until it is registered.
func start(t *testing.T, mapper netip.AddrPort, sname string) (stop func()) {
	t.Helper()
	cmd := exec.Command("erl", "-noinput", "-sname", sname, "-setcookie", erltest.Cookie, "-start_epmd", "false")
	cmd.Env = append(os.Environ(), "ERL_EPMD_PORT="+strconv.Itoa(int(mapper.Port())), "HOME="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(stop)
	alive, _, _ := strings.Cut(sname, "@")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := epmd.Lookup(t.Context(), mapper, alive); err == nil {
			return stop
		}
		if time.Now().After(end) {
			t.Fatalf("%s is not registered within 20 s", sname)
		}
	}
}
