package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"beamsandbox/distribution/term"
)

const component = `#{id => vm_stats, module => 'Elixir.DemoUptimeWeb.StatsComponent', title => <<"BEAM Stats">>,
  description => "Real-time", pubsub => 'Elixir.DemoUptime.PubSub', topic => "stats:updates", update_assign => stats,
  size => 2}`

func withComponents(list string) string {
	return `#{name => a, version => <<"1">>, source => #{type => hex}, isolation => vm, env => #{liveview_components => ` + list + `}}.`
}

func TestComponents(t *testing.T) {
	want := []Component{{
		ID: "vm_stats", Module: "Elixir.DemoUptimeWeb.StatsComponent", Title: "BEAM Stats", Description: "Real-time",
		PubSub: "Elixir.DemoUptime.PubSub", Topic: "stats:updates", UpdateAssign: "stats",
	}}
	spec, err := Parse([]byte(withComponents("["+component+"]")), Erlang, "f")
	if err != nil {
		t.Fatal(err)
	}
	got := Components(spec.Env)
	written := term.Format(got[0].Term)
	got[0].Term = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, part := range []string{`title => <<"BEAM Stats">>`, `description => <<"Real-time">>`, `topic => <<"stats:updates">>`,
		`pubsub => 'Elixir.DemoUptime.PubSub'`, "size => 2"} {
		if !strings.Contains(written, part) {
			t.Errorf("%s lacks %s", written, part)
		}
	}
	// YAML has no atoms: the same component comes out.
	yaml := "name: a\nversion: '1'\nsource: {type: hex}\nisolation: vm\nenv:\n  liveview_components:\n" +
		"  - {id: vm_stats, module: Elixir.DemoUptimeWeb.StatsComponent, title: BEAM Stats, description: Real-time,\n" +
		"     pubsub: Elixir.DemoUptime.PubSub, topic: 'stats:updates', update_assign: stats, size: 2}\n"
	spec, err = Parse([]byte(yaml), YAML, "f")
	if err != nil {
		t.Fatal(err)
	}
	if got := Components(spec.Env); len(got) != 1 || term.Format(got[0].Term) != written {
		t.Errorf("from YAML: %+v, want %s", got, written)
	}
	if got := Components(nil); got != nil {
		t.Errorf("without env: %+v", got)
	}
}

func TestComponentErrors(t *testing.T) {
	with := func(old, new string) string { return "[" + strings.Replace(component, old, new, 1) + "]" }
	for list, want := range map[string]string{
		"atom":                                                    "env.liveview_components: expected a list of maps with id and module, found atom",
		"[atom]":                                                  "env.liveview_components[0]: expected a map with id and module, found atom",
		with("id => vm_stats", "id => 1"):                         "env.liveview_components[0].id: expected an atom",
		with("module => ", "modul => "):                           "env.liveview_components[0].module: expected an atom, found nothing",
		with(`<<"BEAM Stats">>`, "7"):                             "env.liveview_components[0].title: expected a text",
		with(`"Real-time"`, "#{}"):                                "env.liveview_components[0].description: expected a text",
		with(`"stats:updates"`, `""`):                             "env.liveview_components[0].topic: expected a text",
		with(`"stats:updates"`, `"*"`):                            "env.liveview_components[0].topic: expected the text of one topic, found \"*\"; the operator's policy may grant every topic that begins so",
		with(`"stats:updates"`, `<<"stats:*">>`):                  "env.liveview_components[0].topic: expected the text of one topic",
		with(`topic => "stats:updates",`, ""):                     "env.liveview_components[0].topic: expected a topic of the PubSub, found nothing",
		with("pubsub => ", "pub => "):                             "env.liveview_components[0].pubsub: expected the PubSub of the topic, found nothing",
		with("update_assign => stats", "update_assign => {a}"):    "env.liveview_components[0].update_assign: expected an atom",
		"[" + component + "," + component + "]":                   "env.liveview_components[1].id: expected an id of its own",
		"[" + strings.Repeat(component+",", 64) + component + "]": "env.liveview_components: expected at most 64 components",
	} {
		_, err := Parse([]byte(withComponents(list)), Erlang, "f")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s\ngot  %v\nwant %s", list, fmt.Sprint(err), want)
		}
	}
}

// shows is a guest with a component of that PubSub, or of none.
func shows(name, pubsub, more string) *fstest.MapFile {
	if pubsub == "" {
		return minimal(name, more)
	}
	return minimal(name, `, env => #{liveview_components =>
  [#{id => x, module => m, pubsub => '`+pubsub+`', topic => "t"}]}`+more)
}

// TestPubSubsOfOthers: a guest is let into another app's PubSub by the
// operator, not by its own components.
func TestPubSubsOfOthers(t *testing.T) {
	const uptime = "Elixir.DemoUptime.PubSub"
	const asked = ":2:38: env.liveview_components[0].pubsub: expected a PubSub of the app's own, found "
	const hint = "; the operator's policy may share it (messages, pubsubs)"
	embedded := func(f *fstest.MapFile) *fstest.MapFile {
		return file(strings.Replace(string(f.Data), "isolation => vm", "isolation => embedded", 1))
	}
	for name, tc := range map[string]struct {
		tree   fstest.MapFS
		shared []Name
		broken map[string]string
	}{
		"its own":                 {fstest.MapFS{"apps/demo_uptime/app.config": shows("demo_uptime", uptime, "")}, nil, nil},
		"somebody else's":         {fstest.MapFS{"apps/a/app.config": shows("a", uptime, ""), "apps/b/app.config": minimal("b", "")}, nil, nil},
		"one each":                {fstest.MapFS{"apps/a/app.config": shows("a", "Elixir.A.PubSub", ""), "apps/b/app.config": shows("b", "Elixir.B.PubSub", "")}, nil, nil},
		"the name begins another": {fstest.MapFS{"apps/a/app.config": shows("a", uptime, ""), "apps/demo/app.config": minimal("demo", "")}, nil, nil},
		"another app's by name": {fstest.MapFS{"apps/a/app.config": shows("a", uptime, ""), "apps/demo_uptime/app.config": minimal("demo_uptime", "")}, nil,
			map[string]string{"a": "apps/a/app.config" + asked + "'" + uptime + "', which is demo_uptime's" + hint}},
		"another app's by name, which shows it": {fstest.MapFS{"apps/a/app.config": shows("a", uptime, ""), "apps/demo_uptime/app.config": shows("demo_uptime", uptime, "")}, nil,
			map[string]string{"a": "apps/a/app.config" + asked + "'" + uptime + "', which is demo_uptime's" + hint}},
		"two of one": {fstest.MapFS{"apps/a/app.config": shows("a", "P", ""), "apps/b/app.config": shows("b", "P", "")}, nil, map[string]string{
			"a": "apps/a/app.config" + asked + "'P', which is b's too" + hint,
			"b": "apps/b/app.config" + asked + "'P', which is a's too" + hint}},
		"shared with both":      {fstest.MapFS{"apps/a/app.config": shows("a", "P", ""), "apps/b/app.config": shows("b", "P", "")}, []Name{"a", "b"}, nil},
		"shared with the other": {fstest.MapFS{"apps/a/app.config": shows("a", "P", ""), "apps/b/app.config": shows("b", "P", "")}, []Name{"b"}, nil},
		"shared by name":        {fstest.MapFS{"apps/a/app.config": shows("a", uptime, ""), "apps/demo_uptime/app.config": minimal("demo_uptime", "")}, []Name{"a"}, nil},
		"inside the host VM":    {fstest.MapFS{"apps/a/app.config": embedded(shows("a", "P", "")), "apps/b/app.config": embedded(shows("b", "P", ""))}, nil, nil},
		"of one inside the host VM": {fstest.MapFS{"apps/a/app.config": embedded(shows("a", "P", "")), "apps/b/app.config": shows("b", "P", "")}, nil,
			map[string]string{"b": "apps/b/app.config" + asked + "'P', which is a's too" + hint}},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Load(tc.tree, "apps", LoadOptions{Shared: func(name Name, _ string) bool { return slices.Contains(tc.shared, name) }})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for dir, e := range set.Broken {
				got[dir] = e.Error()
			}
			if diff := cmp.Diff(tc.broken, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if set, _ := Load(tc.tree, "apps", LoadOptions{}); len(set.Broken) > 0 {
				t.Errorf("without a policy: %v", set.Broken)
			}
		})
	}
}
