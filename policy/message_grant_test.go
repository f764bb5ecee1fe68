package policy

import (
	"testing"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"

	"github.com/google/go-cmp/cmp"
)

func TestGrantMessages(t *testing.T) {
	rules := Rules{Messages: map[app.Name]Messages{"pulse": {Mode: Audit, PubSubs: []PubSub{{Name: "P", Topics: []string{"x"}, Pool: 2}}}}}
	for name, tc := range map[string]struct {
		app        string
		components string
		want       Messages
	}{
		"nothing":              {"counter", "[]", Messages{}},
		"components alone":     {"counter", "[#{pubsub => 'P', topic => a}]", Messages{PubSubs: []PubSub{{Name: "P", Topics: []string{"a"}}}}},
		"operator alone":       {"pulse", "[]", rules.Messages["pulse"]},
		"one PubSub of both":   {"pulse", "[#{pubsub => 'P', topic => a}]", Messages{Mode: Audit, PubSubs: []PubSub{{Name: "P", Topics: []string{"x", "a"}, Pool: 2}}}},
		"topics that are none": {"counter", "[#{pubsub => 'P', topic => '*'}, #{pubsub => 'P', topic => <<\"a*\">>}, #{pubsub => 'P', topic => b}]", Messages{PubSubs: []PubSub{{Name: "P", Topics: []string{"b"}}}}},
		"nothing but prefixes": {"counter", "[#{pubsub => 'P', topic => <<\"*\">>}]", Messages{}},
		"no PubSub":            {"counter", "[#{pubsub => undefined, topic => a}]", Messages{}},
		"another PubSub's own": {"pulse", "[#{pubsub => 'Q', topic => a}]", Messages{Mode: Audit, PubSubs: []PubSub{{Name: "P", Topics: []string{"x"}, Pool: 2}, {Name: "Q", Topics: []string{"a"}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := guest(func(s *app.Spec) {
				s.Name = app.Name(tc.app)
				s.Env = map[string]term.Term{"liveview_components": parse(t, tc.components)}
			})
			g, err := rules.Grant(spec)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, g.Messages); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff([]string{"x"}, rules.Messages["pulse"].PubSubs[0].Topics); diff != "" {
		t.Errorf("the operator's rules were changed (-want +got)\n%s", diff)
	}
}

func TestShares(t *testing.T) {
	rules := Rules{Messages: map[app.Name]Messages{"pulse": {PubSubs: []PubSub{{Name: "P"}}}, "counter": {Mode: Audit}}}
	for name, want := range map[app.Name]bool{"pulse": true, "counter": false, "other": false} {
		if got := rules.Shares(name, "P"); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if rules.Shares("pulse", "Q") {
		t.Error("a PubSub that is not named is shared")
	}
}

func TestParseApps(t *testing.T) {
	got, err := ParseApps(parse(t, `[{pulse, #{mode => audit}}, {counter, []}]`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[app.Name]Messages{"pulse": {Mode: Audit}, "counter": {}}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, text := range []string{"x", "#{1 => #{}}", "#{pulse => #{mode => off}}", "#{pulse => x}"} {
		if _, err := ParseApps(parse(t, text)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}
