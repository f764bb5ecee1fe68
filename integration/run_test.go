//go:build integration

package integration

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/git/gittest"
	"beamsandbox/reconcile/status"
)

// quiet empties the shared world, so that a test can have the names at the
// port mapper and the ports on loopback.
func quiet(t *testing.T) {
	t.Helper()
	if w.daemon == nil || !w.daemon.Running() {
		return
	}
	w.push(t, nil)
	must(t, w.daemon.Await(within(t, time.Minute), "the shared world is empty", func(h status.Host) bool {
		return len(h.Apps) == 0
	}))
}

// ownStage is a stage of a test's own, beside the shared one. Its root, with
// the images, is common to all that are made here. At the end nothing may be
// left of it.
func ownStage(t *testing.T, short string) *stage.Stage {
	t.Helper()
	quiet(t)
	s, err := stage.New(w.Bin, t.TempDir(), w.Path("own-root"), "/run/bs-"+short)
	must(t, err)
	s.Cookie = w.Cookie
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		nothingLeft(t, s)
	})
	return s
}

// nothingLeft waits until the machine is as it was but for the stage's caches
// and the shared world's host node.
func nothingLeft(t *testing.T, s *stage.Stage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second) // in cleanups, the test's own has ended
	defer cancel()
	if err := s.AwaitNothing(ctx, "epmd name demo_web"); err != nil { // that of the shared world's host node
		t.Error(err)
	}
}

// trial is sandboxctl run on a stage.
type trial struct {
	*stage.Stage
	t *testing.T
}

func (r trial) start(args ...string) *stage.Proc {
	r.t.Helper()
	must(r.t, os.RemoveAll(r.Path("run.log")))
	p, err := r.Start("run", exec.Command(filepath.Join(r.Bin, "sandboxctl"), r.arguments(args...)...))
	must(r.t, err)
	return p
}

func (r trial) arguments(args ...string) []string {
	return append([]string{"run", "--root", r.Root, "--run-dir", r.RunDir}, args...)
}

func (r trial) said(p *stage.Proc) string {
	r.t.Helper()
	b, err := os.ReadFile(p.Log)
	must(r.t, err)
	return string(b)
}

// says waits for text in what p prints.
func (r trial) says(p *stage.Proc, text string) {
	r.t.Helper()
	if err := stage.Until(within(r.t, 60*time.Second), "run says "+text, func() bool {
		return strings.Contains(r.said(p), text) || !p.Running()
	}); err != nil || !strings.Contains(r.said(p), text) {
		r.t.Fatalf("run did not say %q: %v\n%s", text, err, r.said(p))
	}
}

// ends waits for the end of p with the given exit code.
func (r trial) ends(p *stage.Proc, code int) {
	r.t.Helper()
	select {
	case <-p.Done():
	case <-within(r.t, 40*time.Second).Done():
		r.t.Fatalf("run does not end:\n%s", r.said(p))
	}
	if p.ExitCode() != code {
		r.t.Errorf("exit code %d, want %d:\n%s", p.ExitCode(), code, r.said(p))
	}
}

// gone checks that nothing is left of the trial, its run folder included.
func (r trial) gone() {
	r.t.Helper()
	nothingLeft(r.t, r.Stage)
	if _, err := os.Stat(r.RunDir); !os.IsNotExist(err) {
		r.t.Errorf("the run folder %s is still there: %v", r.RunDir, err)
	}
}

const pulsePort = "18099"

func answersHealth() bool {
	c := http.Client{Timeout: 10 * time.Second}
	res, err := c.Get("http://127.0.0.1:" + pulsePort + "/health")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return err == nil && res.StatusCode == http.StatusOK && strings.Contains(string(b), "ok")
}

// TestRunFolder: a folder becomes a healthy guest with every stage told, is
// reached on loopback, and Ctrl-C leaves nothing. A run that was killed is
// cleared up by the next one.
func TestRunFolder(t *testing.T) {
	r := trial{ownStage(t, "run"), t}
	dir := r.Path("pulse")
	must(t, os.CopyFS(dir, os.DirFS("../examples/apps/pulse")))
	flags := []string{dir, "--memory", "128", "--schedulers", "1", "--port", pulsePort, "--env", "interval=200"}

	p := r.start(flags...)
	r.says(p, "pulse is healthy: node "+r.Node("pulse"))
	for _, s := range []string{"image", "network", "gateway", "task", "joined", "verified", "healthy"} {
		if !regexp.MustCompile(`(?m)^  ` + s + ` +[0-9.]+(ms|s)`).MatchString(r.said(p)) {
			t.Errorf("stage %s is not told:\n%s", s, r.said(p))
		}
	}
	if !answersHealth() {
		t.Error("the guest does not answer on loopback")
	}
	r.refused(1, "another sandboxctl run uses "+r.RunDir, dir)
	p.Kill()

	p = r.start(flags...)
	r.says(p, "an earlier run was cut short")
	r.says(p, "pulse is healthy")
	must(t, syscall.Kill(p.Pid, syscall.SIGINT))
	r.ends(p, 0)
	r.says(p, "stopped; nothing but the build cache is left")
	r.gone()
}

// TestRunKeep: a git URL, over ssh, becomes a guest that outlives the command,
// and even its sandboxd, until --stop.
func TestRunKeep(t *testing.T) {
	r := trial{ownStage(t, "keep"), t}
	repo, err := r.NewRepo("pulse", "../examples/apps/pulse")
	must(t, err)
	server, err := gittest.ServeSSH()
	must(t, err)
	t.Cleanup(func() { server.Close() })
	key, known := r.Path("id"), r.Path("known_hosts")
	must(t, errors.Join(os.WriteFile(key, server.Key, 0o600), os.WriteFile(known, server.KnownHosts, 0o600)))
	url := "ssh://git@" + server.Addr + repo.Dir
	r.refused(1, "no file "+r.Path("none"), url, "--ssh-key", r.Path("none"), "--known-hosts", known)
	p := r.start(url, "--keep", "--port", pulsePort, "--ssh-key", key, "--known-hosts", known)
	r.says(p, "it goes on")
	r.ends(p, 0)
	if !answersHealth() {
		t.Error("the kept guest does not answer on loopback")
	}
	r.refused(1, "a guest kept by an earlier run is there", repo.URL())
	daemon, err := stage.PidOf("sandboxd", r.RunDir)
	must(t, err)
	must(t, syscall.Kill(daemon, syscall.SIGKILL))
	p = r.start("--stop")
	r.ends(p, 0)
	r.gone()
	r.refused(1, "no kept guest", "--stop")
}

// refused checks that run says one line, with that exit code.
func (r trial) refused(code int, want string, args ...string) {
	r.t.Helper()
	cmd := exec.Command(filepath.Join(r.Bin, "sandboxctl"), r.arguments(args...)...)
	out, err := cmd.CombinedOutput()
	said := strings.TrimSpace(string(out))
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code ||
		!strings.Contains(said, want) || strings.Contains(said, "\n") {
		r.t.Errorf("run %v: %v\n%s\nwant exit code %d and one line with %q", args, err, said, code, want)
	}
}

// TestRunRefusals: what cannot be run is said on one line, and nothing is left
// or touched.
func TestRunRefusals(t *testing.T) {
	r := trial{ownStage(t, "no"), t}
	empty, two, broken := r.Path("empty"), r.Path("two"), r.Path("broken")
	for path, text := range map[string]string{
		empty + "/README.md":                "nothing",
		two + "/apps/a/src/a.app.src":       `{application, a, [{vsn, "1"}]}.`,
		two + "/apps/b/src/b.app.src":       `{application, b, [{vsn, "1"}]}.`,
		broken + "/src/broken.app.src":      `{application, broken, [`,
		r.Path("foreign") + "/precious.txt": "mine",
	} {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	pulse, err := filepath.Abs("../examples/apps/pulse")
	must(t, err)
	tests := []struct {
		code int
		want string
		args []string
	}{
		{1, "no src/*.app.src: run takes a rebar3 project", []string{empty}},
		{2, "is neither a folder nor a git URL", []string{r.Path("nowhere")}},
		{2, "is neither a folder nor a git URL", []string{empty + "/README.md"}},
		{1, "2 applications; choose one with --name", []string{two}},
		{1, "no application c there", []string{two, "--name", "c"}},
		{1, "src/broken.app.src:1:", []string{broken}},
		{2, "expected key=value", []string{pulse, "--env", "novalue"}},
		{2, "--ref goes with a git URL", []string{pulse, "--ref", "main"}},
		{2, "run takes one folder or git URL", nil},
		{2, "unknown flag: --memry", []string{pulse, "--memry", "1"}},
		{1, "is not a git repository", []string{"file://" + empty}},
		{1, "it is not empty: choose another --run-dir", []string{pulse, "--run-dir", r.Path("foreign")}},
	}
	for _, tt := range tests {
		r.refused(tt.code, tt.want, tt.args...)
	}
	if b, err := os.ReadFile(r.Path("foreign", "precious.txt")); err != nil || string(b) != "mine" {
		t.Errorf("a foreign file in a run folder: %q, %v", b, err)
	}
	r.gone()
}

// TestRunBadLimit: what only sandboxd can refuse is said on one line too.
func TestRunBadLimit(t *testing.T) {
	r := trial{ownStage(t, "lim"), t}
	p := r.start("../examples/apps/pulse", "--schedulers", "-1")
	r.ends(p, 1)
	r.says(p, "vm_config.scheduler_limit: expected an integer of CPUs from 1 to 1024, found -1")
	r.gone()
}
