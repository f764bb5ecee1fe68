//go:build integration

package integration

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/epmd"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

// place is a stage of one test about bad surroundings: its own host node,
// repository and sandboxd.
type place struct {
	*stage.Stage
	t      *testing.T
	alive  string // the host node's name before the @
	host   *stage.Host
	gitops *stage.Repo
	daemon *stage.Daemon
}

// newPlace makes the folders and the repository; nothing runs yet.
func newPlace(t *testing.T, short string) *place {
	t.Helper()
	p := &place{Stage: ownStage(t, short), t: t, alive: "bs_" + short}
	from := p.Path("empty")
	must(t, errors.Join(os.MkdirAll(from+"/apps", 0o755), os.WriteFile(from+"/apps/.keep", nil, 0o644)))
	var err error
	p.gitops, err = p.NewRepo("gitops", from)
	must(t, err)
	return p
}

// up starts the host VM.
func (p *place) up() {
	p.t.Helper()
	var err error
	p.host, err = p.StartHost(within(p.t, 2*time.Minute), p.alive)
	must(p.t, err)
	p.t.Cleanup(func() { p.host.Stop() }) //nolint:errcheck // the stage reports what it cannot end
}

func (p *place) options() stage.Options {
	return stage.Options{Repo: p.gitops, HostNode: p.Node(p.alive)}
}

// serve starts sandboxd.
func (p *place) serve() {
	p.t.Helper()
	must(p.t, p.WriteConfig(p.options()))
	p.restart()
}

func (p *place) restart() {
	p.t.Helper()
	var err error
	p.daemon, err = p.RestartDaemon(within(p.t, 2*time.Minute))
	must(p.t, err)
}

// ask commits that exactly these apps are wanted, name to app.config.
func (p *place) ask(apps map[string]string) {
	p.t.Helper()
	for _, n := range []string{"pulse", "counter"} {
		text, wanted := apps[n]
		if !wanted {
			must(p.t, p.gitops.Write("apps/"+n, nil))
			continue
		}
		must(p.t, p.gitops.Write("apps/"+n+"/app.config", []byte(text)))
	}
	must(p.t, p.gitops.Commit("Ask for other apps"))
}

func (p *place) sync() {
	p.t.Helper()
	must(p.t, p.daemon.Sync(p.t.Context()))
}

func (p *place) pulse(port int) string     { return w.pulseConfig("pulse", "memory_limit => 128", port) }
func (p *place) counter(env string) string { return w.counterConfig("vm", env) }

// shows waits until a line of sandboxctl status holds all of parts.
func (p *place) shows(parts ...string) {
	p.t.Helper()
	last := ""
	err := stage.Until(within(p.t, 2*time.Minute), fmt.Sprintf("a line of status holds %q", parts), func() bool {
		out, err := p.Ctl("status")
		last = fmt.Sprint(out, err)
		for l := range strings.Lines(out) {
			if holdsAll(l, parts) {
				return true
			}
		}
		return false
	})
	if err != nil {
		p.t.Fatalf("%v:\n%s", err, last)
	}
}

func holdsAll(line string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(line, part) {
			return false
		}
	}
	return true
}

// healthy waits until exactly these apps are healthy and nothing is wrong.
func (p *place) healthy(names ...string) {
	p.t.Helper()
	ctx := within(p.t, 3*time.Minute)
	must(p.t, p.daemon.AwaitHealthy(ctx, names...))
	must(p.t, p.daemon.Await(ctx, "nothing is wrong any more", func(h status.Host) bool {
		for _, a := range h.Apps {
			if a.Reason != "" {
				return false
			}
		}
		return h.Error == "" && h.Settled
	}))
}

func (p *place) pid(name string) uint32 { return p.daemon.App(p.t.Context(), name).Pid }

// same checks that a guest was not touched.
func (p *place) same(name string, pid uint32) {
	p.t.Helper()
	if now := p.pid(name); now != pid || pid == 0 {
		p.t.Errorf("%s was started again: pid %d, then %d", name, pid, now)
	}
}

// ownBin gives the stage a folder of programs of its own, so that one can be
// taken away.
func (p *place) ownBin() {
	p.t.Helper()
	dir := p.Path("bin")
	must(p.t, os.MkdirAll(dir, 0o755))
	entries, err := os.ReadDir(p.Bin)
	must(p.t, err)
	for _, e := range entries {
		from, to := filepath.Join(p.Bin, e.Name()), filepath.Join(dir, e.Name())
		if e.Name() == "sandboxd" { // it looks for the others beside its real place
			b, err := os.ReadFile(from)
			must(p.t, errors.Join(err, os.WriteFile(to, b, 0o755)))
			continue
		}
		must(p.t, os.Symlink(from, to))
	}
	p.Bin = dir
}

// without takes a program away and returns what brings it back.
func (p *place) without(program string) (back func()) {
	p.t.Helper()
	path := filepath.Join(p.Bin, program)
	must(p.t, os.Rename(path, path+".away"))
	return func() { must(p.t, os.Rename(path+".away", path)) }
}

// TestSurroundingsHostVM: a host VM that is not there yet is named, guests run
// without it and join when it comes; a wrong cookie is named too.
func TestSurroundingsHostVM(t *testing.T) {
	p := newPlace(t, "host")
	p.ask(map[string]string{"counter": p.counter("")})
	p.serve()
	p.shows("host ", p.Node(p.alive), "no node of that name is registered")
	p.shows("counter", "joining", "waits for the host VM")
	pid := p.pid("counter")
	p.up()
	p.healthy("counter")
	p.same("counter", pid)

	must(t, p.daemon.Stop(20*time.Second))
	right := p.Cookie
	p.Cookie = "WRONGWRONGWRONG"
	p.serve()
	p.shows("host ", p.Node(p.alive), "cookie")
	p.same("counter", pid)
	if out, err := p.Ctl("status"); err != nil || strings.Contains(out, p.Cookie) || strings.Contains(out, right) {
		t.Errorf("status shows a cookie, or fails: %v\n%s", err, out)
	}
	must(t, p.daemon.Stop(20*time.Second))
	p.Cookie = right
	p.serve()
	p.healthy("counter")
	p.same("counter", pid)
}

// TestSurroundingsTaken: somebody else's socket on an app's port, and somebody
// else's node under an app's name, are named; once they are gone all is well.
func TestSurroundingsTaken(t *testing.T) {
	p := newPlace(t, "taken")
	p.up()
	const port = 18101
	foreign, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	defer foreign.Close()
	name, err := epmd.Register(t.Context(), netip.MustParseAddrPort(stage.EPMD), epmd.Registration{Name: "counter", Port: 9})
	must(t, err)
	defer name.Close()
	p.ask(map[string]string{"pulse": p.pulse(port), "counter": p.counter("http_port => 18102")})
	p.serve()
	p.shows("pulse", fmt.Sprintf("port %d of 127.0.0.1 is taken by another process", port))
	p.shows("counter", "stop the node that calls itself counter on this machine")
	pulse, counter := p.pid("pulse"), p.pid("counter")
	must(t, foreign.Close())
	name.Close()
	p.healthy("pulse", "counter")
	p.same("pulse", pulse)
	p.same("counter", counter)
	must(t, stage.Until(within(t, time.Minute), "pulse answers on loopback", func() bool {
		return get(fmt.Sprintf("http://127.0.0.1:%d/health", port)) == "ok"
	}))
}

// get is the body of an answer 200, or "".
func get(url string) string {
	c := http.Client{Timeout: 10 * time.Second}
	res, err := c.Get(url)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// TestSurroundingsContainerdKilled: guests do not notice, and the next deploy
// works.
func TestSurroundingsContainerdKilled(t *testing.T) {
	p := newPlace(t, "ctrd")
	p.up()
	p.ask(map[string]string{"counter": p.counter("")})
	p.serve()
	p.healthy("counter")
	guest := p.pid("counter")
	old, err := stage.PidOf("containerd", p.RunDir)
	must(t, err)
	must(t, syscall.Kill(old, syscall.SIGKILL))
	p.ask(map[string]string{"counter": p.counter(""), "pulse": p.pulse(18103)})
	p.sync()
	p.healthy("counter", "pulse")
	p.same("counter", guest)
	if now, err := stage.PidOf("containerd", p.RunDir); err != nil || now == old {
		t.Errorf("containerd: pid %d, then %d, %v", old, now, err)
	}
}
