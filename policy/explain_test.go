package policy

import (
	"fmt"
	"strings"
	"testing"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"

	"github.com/google/go-cmp/cmp"
)

func TestExplainBroadcast(t *testing.T) {
	m := Messages{PubSubs: []PubSub{{Name: "P", Topics: []string{"stats", "room:*"}}, {Name: "Q"}}}
	for _, tc := range []struct {
		mode          Mode
		pubsub, topic string
		allowed       bool
		why           string
	}{
		{Enforce, "P", "stats", true, "topic stats of P is shared"},
		{Enforce, "P", "room:1", true, "topic room:* of P is shared"},
		{Enforce, "P", "room", false, "topic room is none of those shared of P: stats, room:*"},
		{Enforce, "Q", "stats", false, "of Q: none"},
		{Enforce, "R", "stats", false, "the PubSub R is not shared"},
		{Audit, "R", "stats", true, "mode audit lets it pass and counts it"},
		{Trusted, "R", "stats", true, "not judged"},
	} {
		m.Mode = tc.mode
		if got := m.ExplainBroadcast(tc.pubsub, tc.topic); got.Allowed != tc.allowed || !strings.Contains(got.Why, tc.why) {
			t.Errorf("%s %s %s: %+v", tc.mode, tc.pubsub, tc.topic, got)
		}
	}
}

// text is reasons as one reads them.
func text(all []Reason) []string {
	var out []string
	for _, r := range all {
		out = append(out, fmt.Sprintf("%v %s: %s", r.Allowed, r.What, r.Why))
	}
	return out
}

func TestExplainApp(t *testing.T) {
	rules := Rules{MaxMemory: 512, Messages: map[app.Name]Messages{"pulse": {
		PubSubs: []PubSub{{Name: "P", Topics: []string{"x"}}},
		Groups:  []Groups{{Scope: "jobs", Names: []string{"workers"}, Message: "{done,'_'}"}},
		Allow:   []Allow{{To: "stats", Kind: Call, Message: "get", Rate: 5}},
		Limits:  Limits{Atoms: -1},
	}}}
	spec := guest(func(s *app.Spec) {
		s.VM.MemoryLimit = 256
		s.Health = &app.Health{Type: app.HealthTCP, Port: 8080}
		s.Env = map[string]term.Term{"liveview_components": parse(t, "[#{pubsub => 'P', topic => a}]")}
	})
	want := []string{
		"true 256 MB of memory: vm_config.memory_limit of its app.config, within max_memory 512 of policy",
		"true all CPUs of the machine: its app.config sets no vm_config.scheduler_limit, and policy no max_schedulers",
		"true 1024 tasks, 65536 open files, 64 MB in /tmp: what every guest of this host gets",
		"true port 4369 (epmd): every guest's, from the host alone",
		"true port 8080 (health): declared in its app.config; also at 127.0.0.1 of the host",
		"true port 9100 (distribution): every guest's, from the host alone",
		"false connections of its own: the firewall lets no guest connect anywhere but to its own port mapper and the host VM's stand-in",
		"true mode enforce: what no rule allows does not pass",
		"true answers to the host VM: once each: results of calls, ends of what the host VM watches or linked, output under its group leader",
		"true broadcasts through P: topics x, a, dispatched by Elixir.Phoenix.PubSub: its own liveview_components and policy",
		"true groups workers of pg scope jobs: policy; it may send {done,'_'} to their members on the host VM",
		"true call to stats: policy, messages like get, at most 5 a second",
		"true messages of 8388608 bytes and 200000 terms, 2000 of them and 16777216 bytes a second, any number of new atoms in its life, 256 monitors, 10000 rights of a kind, 6 handshakes a minute: policy, and defaults",
		"false anything else to the host VM: no rule of policy allows it",
	}
	if d := cmp.Diff(want, text(rules.ExplainApp(spec))); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for name, tc := range map[string]struct {
		rules Rules
		spec  app.Spec
		want  string
	}{
		"refused":  {rules, guest(nil), "false to run: grant pulse: no vm_config.memory_limit breaks rule max_memory: at most 512 MB"},
		"embedded": {rules, guest(func(s *app.Spec) { s.Isolation = app.Embedded }), "true everything: isolation embedded: it runs inside the host VM, behind no walls; isolation vm makes it a guest"},
		"audit":    {Rules{Messages: map[app.Name]Messages{"pulse": {Mode: Audit}}}, guest(nil), "true mode audit: policy: what would be refused passes and is counted"},
		"trusted":  {Rules{Messages: map[app.Name]Messages{"pulse": {Mode: Trusted}}}, guest(nil), "true anything else to the host VM: no rule of policy allows it; mode trusted lets it pass"},
	} {
		if got := strings.Join(text(tc.rules.ExplainApp(tc.spec)), "\n"); !strings.Contains(got, tc.want) {
			t.Errorf("%s:\n%s\nwant %s", name, got, tc.want)
		}
	}
}

func TestLimitsHaveBounds(t *testing.T) {
	for text, want := range map[string]string{
		"#{limits => #{atoms => 65536, closes => 64, handshakes => 100}}": "",
		"#{limits => #{closes => -1, atoms => -1}}":                       "",
		"#{limits => #{atoms => 65537}}":                                  "atoms: expected a number up to 65536",
		"#{limits => #{closes => 65}}":                                    "closes: expected a number up to 64",
	} {
		if _, err := ParseMessages(parse(t, text)); (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
