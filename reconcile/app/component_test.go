package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
