package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/reconcile/status"
)

// verdicts is a daemon with guests that misbehave.
type verdicts struct {
	fakeDaemon
	lifted string
	asked  status.Question
}

// members are one guest in every mode; the last is quarantined.
func members() []status.Member {
	return []status.Member{
		{App: "counter", Node: "counter@myhost", Mode: "audit", Up: true, Since: time.Now().Add(-90 * time.Second), Atoms: 3, AtomBudget: -1},
		{App: "pulse", Node: "pulse@myhost", Mode: "enforce", Up: true, Registered: true, Since: time.Now().Add(-50 * time.Hour), Atoms: 17, AtomBudget: 2000,
			Refused: map[string]uint64{"name": 12, "reply": 1}, Rights: map[string]int{"monitor": 2, "pg-peer": 1}, Closed: 1, NextTry: at,
			Refusals: []status.Refusal{{At: at, Rule: "name", Op: "REG_SEND", To: "init", Message: "{stop,\"\x1b[2J\"}"}}},
		{App: "sick", Node: "sick@myhost", Mode: "enforce", AtomBudget: 2000, Error: "guest does not run",
			Quarantine: &status.Quarantine{At: at, Rule: "forged", Closed: 5}},
	}
}

func (d *verdicts) Gateway(context.Context) ([]status.Member, error) { return members(), nil }

func (d *verdicts) Lift(_ context.Context, app string) error {
	if app != "sick" {
		return errors.New(app + " is not quarantined")
	}
	d.lifted = app
	return nil
}

func (d *verdicts) Describe(_ context.Context, app string) (status.Description, error) {
	m := members()[1]
	return status.Description{
		App: busyHost().Apps[2], Spec: []status.Field{{Key: "version", Value: "1.1.0"}, {Key: "env.greeting", Value: "<<\"\x1b\">>"}},
		Grants: []status.Reason{{What: "port 9100", Allowed: true, Why: "every guest's"}}, Gateway: &m,
		Events:  []status.Event{{At: at, Kind: "phase", Text: "healthy"}},
		Exits:   []status.Event{{At: at, Kind: "exit", Text: "the guest ended with status 1"}},
		Failure: &status.Failure{Count: 2, Reason: "exit_status_1", Detail: "it ended", NextRetry: at},
	}, nil
}

func (d *verdicts) Explain(_ context.Context, app string, q status.Question) ([]status.Reason, error) {
	d.asked = q
	return []status.Reason{{What: "call to stats", Allowed: true, Why: "policy"}, {What: "anything else", Why: "no rule of policy allows it"}}, nil
}

// words is text with the columns' padding taken out.
func words(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
	}
	return strings.Join(lines, "\n")
}

func TestGatewayCommand(t *testing.T) {
	d := &verdicts{}
	socket := serveFake(t, d)
	for _, tc := range []struct {
		args string
		want []string
	}{
		{"gateway", []string{
			"counter  counter@myhost  audit    up           1m   3, no limit  0",
			"pulse    pulse@myhost    enforce  up           2d   17 of 2000   13       rule name refused 12",
			"sick     sick@myhost     enforce  quarantined  -    0 of 2000    0        since 2026-03-01T12:00:00Z: 5 links had to be closed within ten minutes, last for breaking rule forged; 'sandboxctl quarantine lift sick' lets it run again",
			"messages of counter: AUDIT: what the rules refuse passes, and is counted",
		}},
		{"gateway pulse", []string{"right         monitor 2", "links closed  1 within ten minutes", "let in again  2026-03-01T12:00:00Z", "refused       name 12",
			`guest's REG_SEND to init, rule name: {stop,"\x1b[2J"}`, "atoms         17 of 2000"}},
		{"gateway sick", []string{"quarantine    since", "problem       guest does not run"}},
		{"gateway counter", []string{"mode          audit  AUDIT: what"}},
		{"describe pulse", []string{"phase      healthy", "\nasks for\n", `  env.greeting  <<"\x1b">>`, "\nmay have\n  yes  port 9100  every guest's", "\ngateway\n",
			"\nfailing\n", "  times in a row  2", "\nends\n  2026-03-01T12:00:00Z  exit  the guest ended", "\nevents\n  2026-03-01T12:00:00Z  phase  healthy"}},
		{"policy explain pulse", []string{"yes  call to stats  policy", "no  anything else   no rule of policy allows it"}},
		{"quarantine lift sick", []string{"sick is started again"}},
	} {
		code, out, diagnostics := ctl(t, append([]string{"--socket", socket}, strings.Fields(tc.args)...)...)
		if code != 0 {
			t.Errorf("%s: code %d, %s", tc.args, code, diagnostics)
		}
		for _, want := range tc.want {
			if !strings.Contains(words(out), words(want)) {
				t.Errorf("%s lacks %q:\n%s", tc.args, want, out)
			}
		}
	}
	if d.lifted != "sick" {
		t.Errorf("lifted %q", d.lifted)
	}
}

func TestGatewayCommandAsJSON(t *testing.T) {
	socket := serveFake(t, &verdicts{})
	var all []status.Member
	_, out, _ := ctl(t, "--socket", socket, "gateway", "-o", "json")
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 3 || all[2].Quarantine == nil {
		t.Errorf("%v\n%s", err, out)
	}
	var one status.Member
	_, out, _ = ctl(t, "--socket", socket, "gateway", "pulse", "-o", "json")
	if err := json.Unmarshal([]byte(out), &one); err != nil || one.Refused["name"] != 12 {
		t.Errorf("%v\n%s", err, out)
	}
	var description status.Description
	_, out, _ = ctl(t, "--socket", socket, "describe", "pulse", "-o", "json")
	if err := json.Unmarshal([]byte(out), &description); err != nil || description.Gateway == nil || len(description.Exits) != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	var reasons []status.Reason
	_, out, _ = ctl(t, "--socket", socket, "policy", "explain", "pulse", "-o", "json")
	if err := json.Unmarshal([]byte(out), &reasons); err != nil || len(reasons) != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestVerdictCommandsRefuse(t *testing.T) {
	d := &verdicts{}
	socket := serveFake(t, d)
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"gateway nobody":                    {exitFailed, "the gateway has no guest nobody"},
		"quarantine lift pulse":             {exitFailed, "pulse is not quarantined"},
		"quarantine lift":                   {exitUsage, "accepts 1 arg"},
		"policy explain":                    {exitUsage, "arg"},
		"policy explain pulse shout x":      {exitUsage, `"shout" is no kind of message`},
		"policy explain pulse call":         {exitUsage, "name what the call goes to"},
		"describe":                          {exitUsage, "accepts 1 arg"},
		"gateway pulse -o yaml":             {exitUsage, "choose table or json"},
		"policy explain pulse call a b c d": {exitUsage, "arg"},
	} {
		code, _, diagnostics := ctl(t, append([]string{"--socket", socket}, strings.Fields(args)...)...)
		if code != want.code || !strings.Contains(diagnostics, want.text) {
			t.Errorf("%s: code %d, %s", args, code, diagnostics)
		}
	}
	ctl(t, "--socket", socket, "policy", "explain", "pulse", "call", "stats", "{get, uptime}")
	if diff := cmp.Diff(status.Question{Kind: "call", To: "stats", Message: "{get, uptime}"}, d.asked); diff != "" {
		t.Errorf("asked (-want +got)\n%s", diff)
	}
}
