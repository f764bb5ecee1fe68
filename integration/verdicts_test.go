//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/integration/stage"
	"beamsandbox/reconcile/status"
)

// strict is PulseMessages with a sink for anything, few atoms, and a quarantine
// after two links that had to be closed.
const strict = `#{pulse => #{groups => [#{scope => beamsandbox_demo, names => [pulse], message => {pulse, '$atom', '$string', '$integer'}}],
  allow => [#{to => verdict_sink, kind => info}], limits => #{atoms => 100, closes => 2}}}`

// TestVerdicts: what a guest used up and was refused is kept, can be read, and
// has consequences, over the end of every part.
func TestVerdicts(t *testing.T) {
	w.have(t, map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)})
	defer reconfigured(t, strict)()
	t.Run("atoms", atomsAreKept)
	t.Run("output", outputIsRedirected)
	t.Run("reading", refusalsCanBeRead)
	t.Run("quarantine", quarantineHolds)
}

// reconfigured restarts sandboxd with other rules for messages, until restore is
// called.
func reconfigured(t *testing.T, messages string) (restore func()) {
	t.Helper()
	use := func(m string) {
		w.daemon.Kill()
		must(t, w.WriteConfig(stage.Options{Repo: w.gitops, HostNode: w.host.Name, Messages: m}))
		restarted(t)
	}
	use(messages)
	must(t, w.daemon.AwaitHealthy(within(t, 40*time.Second), "pulse"))
	return func() {
		use("")
		w.have(t, map[string]string{"pulse": w.pulseConfig("pulse", "", 18085)})
	}
}

// restarted starts the sandboxd that was killed. It may not be over yet.
func restarted(t *testing.T) {
	t.Helper()
	d, err := w.RestartDaemon(within(t, 20*time.Second))
	if err != nil {
		log, _ := os.ReadFile(w.Path("sandboxd.log")) //nolint:errcheck // shown if there is one
		t.Fatalf("%v\n%s", err, log[max(0, len(log)-2000):])
	}
	w.daemon = d
}

// says runs Erlang code in pulse, past the gateway; H is the host VM.
func says(t *testing.T, code string) {
	t.Helper()
	g := w.guest(t, "pulse")
	defer g.Close()
	text := strings.ReplaceAll(code, "H}", fmt.Sprintf("'%s'}", w.host.Name))
	call(t, g, "erl_eval", "exprs", parsed(t, g, text+", ok."), term.List{})
}

// member is pulse as sandboxctl gateway has it.
func member(t *testing.T) (m status.Member) {
	t.Helper()
	out, err := w.Ctl("gateway", "pulse", "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &m)
	}
	must(t, err)
	return m
}

func awaitMember(t *testing.T, what string, ok func(status.Member) bool) status.Member {
	t.Helper()
	var last status.Member
	err := stage.Until(within(t, 40*time.Second), what, func() bool {
		out, err := w.Ctl("gateway", "pulse", "-o", "json")
		last = status.Member{}
		return err == nil && json.Unmarshal([]byte(out), &last) == nil && ok(last)
	})
	if err != nil {
		t.Fatalf("%v: %+v", err, last)
	}
	return last
}

// atomsAreKept: the budget goes on where it was when gateway and daemon come
// back, and when both were killed.
func atomsAreKept(t *testing.T) {
	brings := func(from, n int) {
		says(t, fmt.Sprintf(`{verdict_sink, H} ! [list_to_atom("verdict_" ++ integer_to_list(I)) || I <- lists:seq(%d, %d)]`, from, from+n-1))
	}
	first := member(t)
	if first.AtomBudget != 100 || first.Atoms > 40 {
		t.Fatalf("pulse begins with %d atoms of %d", first.Atoms, first.AtomBudget)
	}
	brings(1, 50)
	used := awaitMember(t, "the atoms are counted", func(m status.Member) bool { return m.Atoms >= 50 }).Atoms
	must(t, stage.Until(within(t, time.Minute), "the atoms are kept", func() bool {
		b, err := os.ReadFile(w.Path("root", "records", "pulse"))
		return err == nil && strings.Contains(string(b), "verdict_50")
	}))
	for _, kill := range []struct {
		what   string
		daemon bool
	}{{"the gateway", false}, {"the gateway and the daemon", true}} {
		pid, err := stage.PidOf("sandbox-gateway", w.RunDir)
		must(t, err)
		if kill.daemon {
			w.daemon.Kill()
		}
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		if kill.daemon {
			restarted(t)
		}
		if m := awaitMember(t, "pulse is linked after the end of "+kill.what, func(m status.Member) bool { return m.Up }); m.Atoms < used {
			t.Errorf("after the end of %s %d atoms are known of, %d were used", kill.what, m.Atoms, used)
		}
	}
	before := member(t)
	brings(51, 50) // which no longer fit
	after := awaitMember(t, "atoms are refused", func(m status.Member) bool { return m.Refused["atoms"] > before.Refused["atoms"] })
	if after.Atoms > 100 {
		t.Errorf("%d atoms came in", after.Atoms)
	}
	brings(1, 50) // which the host VM has
	if m := member(t); m.Refused["atoms"] != after.Refused["atoms"] {
		t.Errorf("atoms that were paid for are refused: %v", m.Refused)
	}
}

// outputIsRedirected: what the host VM has a guest write goes to the guest's
// own log, and nothing in it is obeyed by a terminal.
func outputIsRedirected(t *testing.T) {
	guest := term.Atom(w.Node("pulse"))
	host := func(module, function string, args ...term.Term) {
		mustHost(t, "rpc", "call", guest, term.Atom(module), term.Atom(function), term.List{Elems: args})
	}
	host("io", "format", term.String("redirected ~p and \x1b[31m~ts~n"), term.List{Elems: []term.Term{term.Atom("term"), term.String("red")}})
	host("logger", "error", term.String("logged ~p"), term.List{Elems: []term.Term{term.Int(42)}})
	last := ""
	err := stage.Until(within(t, time.Minute), "the output is in pulse's log", func() bool {
		last, _ = w.Ctl("logs", "pulse") //nolint:errcheck // tried again
		return strings.Contains(last, `redirected term and \x1b[31mred`) && strings.Contains(last, "[error] logged 42")
	})
	if err != nil {
		t.Errorf("%v:\n%s", err, last)
	}
}

// refusalsCanBeRead: each command shows what it should of one refusal.
func refusalsCanBeRead(t *testing.T) {
	events, err := w.daemon.Follow(within(t, 30*time.Second))
	must(t, err)
	before := member(t)
	says(t, `{init, H} ! {stop, "verdict"}`)
	awaitMember(t, "the refusal is counted", func(m status.Member) bool { return m.Refused["name"] > before.Refused["name"] })
	for e := range events {
		if e.Kind == "node_refused" && strings.Contains(e.Text, "refused: ") {
			break
		}
	}
	if t.Context().Err() != nil {
		t.Error("no event tells of it")
	}
	for _, tc := range []struct {
		args, want string
	}{
		{"gateway", "enforce  up"},
		{"gateway pulse", `guest's REG_SEND to init, rule name: {stop,"verdict"}`},
		{"describe pulse", `guest's REG_SEND to init, rule name: {stop,"verdict"}`},
		{"describe pulse", "all MB of memory of the machine"},
		{"describe pulse", "node_refused"},
		{"policy explain pulse", "yes  info to verdict_sink"},
		{"policy explain pulse info verdict_sink hello", "allowed by the rule for info to verdict_sink"},
		{"policy explain pulse call init stop", "no rule allows messages to init, and none should"},
	} {
		out, err := w.Ctl(strings.Fields(tc.args)...)
		if err != nil || !strings.Contains(out, tc.want) {
			t.Errorf("%s does not show %q: %v\n%s", tc.args, tc.want, err, out)
		}
	}
	if m := member(t); m.Mode != "enforce" || len(m.Rights) == 0 || m.Since.IsZero() {
		t.Errorf("pulse is %+v", m)
	}
}

// quarantineHolds: a guest that goes on sending what no guest may is stopped
// for good, whatever restarts, until somebody lifts that.
func quarantineHolds(t *testing.T) {
	// A trace token makes erts itself send a form that closes the link.
	offend := `seq_trace:set_token(send, true), {verdict_sink, H} ! hello, seq_trace:set_token([])`
	says(t, offend)
	first := awaitMember(t, "the link is closed", func(m status.Member) bool { return m.Closed == 1 })
	if first.Refused["trace-token"] == 0 || first.Quarantine != nil {
		t.Fatalf("after the first: %+v", first)
	}
	awaitMember(t, "the guest is let in again", func(m status.Member) bool { return m.Up })
	says(t, offend)
	barred := func(when string) {
		t.Helper()
		must(t, w.daemon.Await(within(t, 30*time.Second), "pulse is quarantined "+when, func(h status.Host) bool {
			a := appOf(h, "pulse")
			return a.Phase == status.Quarantined && a.Pid == 0 && a.Quarantine != nil && a.Quarantine.Rule == "trace-token"
		}))
		for _, p := range []string{"status", "plan", "gateway", "describe pulse"} {
			out, err := w.Ctl(strings.Fields(p)...)
			if err != nil || !strings.Contains(out, "quarantined") {
				t.Errorf("%s, sandboxctl %s says %v\n%s", when, p, err, out)
			}
		}
		if names, err := w.names(t); err != nil || strings.Contains(names, "name pulse at") {
			t.Errorf("%s, its name is held: %v\n%s", when, err, names)
		}
	}
	barred("at once")
	must(t, w.daemon.Sync(t.Context()))
	w.daemon.Kill()
	pid, err := stage.PidOf("sandbox-gateway", w.RunDir)
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	restarted(t)
	barred("after daemon and gateway were killed")
	if out, err := w.Ctl("logs", "pulse"); err != nil || out == "" {
		t.Errorf("its log is lost: %v", err)
	}
	out, err := w.Ctl("quarantine", "lift", "pulse")
	must(t, err)
	if !strings.Contains(out, "pulse is started again") {
		t.Errorf("lift says %q", out)
	}
	must(t, w.daemon.AwaitHealthy(within(t, 40*time.Second), "pulse"))
	waitForBeat(t, "pulse", "1.0.0")
	if m := member(t); m.Quarantine != nil || m.Refused["trace-token"] < 2 || m.Atoms < 50 {
		t.Errorf("after it was lifted: %+v", m)
	}
	if _, err := w.Ctl("quarantine", "lift", "pulse"); err == nil || !strings.Contains(err.Error(), "pulse is not quarantined") {
		t.Errorf("lifted twice: %v", err)
	}
}

// names is what the machine's port mapper lists.
func (w *world) names(t *testing.T) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "epmd", "-names").Output()
	return string(out), err
}
