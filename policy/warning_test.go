package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/reconcile/app"
)

func TestWarnings(t *testing.T) {
	rules := Rules{Messages: map[app.Name]Messages{
		"pulse":   {Allow: []Allow{{To: "stats", Kind: Call}, {To: "rex", Kind: Cast, Message: "{get}"}, {To: "kernel_safe_sup", Kind: Call}}},
		"counter": {Allow: []Allow{{To: "Elixir.Demo.Supervisor", Kind: Info}}},
		"other":   {Allow: []Allow{{To: "inbox", Kind: Info}}},
	}}
	want := []string{
		"app counter is allowed info to Elixir.Demo.Supervisor, and none should be: by its name it is a supervisor, and who may send to one has the host VM",
		"app pulse is allowed cast to rex, and none should be: who may send to it has the host VM",
		"app pulse is allowed call to kernel_safe_sup, and none should be: by its name it is a supervisor, and who may send to one has the host VM",
	}
	if diff := cmp.Diff(want, rules.Warnings()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := (Rules{}).Warnings(); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestExplainWarns(t *testing.T) {
	rules := Rules{Messages: map[app.Name]Messages{"pulse": {Allow: []Allow{{To: "rex", Kind: Cast}}}}}
	const want = "true cast to rex: policy, any message; none should: who may send to it has the host VM"
	if got := strings.Join(text(rules.ExplainApp(guest(nil))), "\n"); !strings.Contains(got, want) {
		t.Errorf("%s\nwant %s", got, want)
	}
	e := rules.Messages["pulse"].Explain(Cast, "rex", parse(t, "x"))
	if !e.Allowed || !strings.HasSuffix(e.Why, ", and none should: who may send to it has the host VM") {
		t.Errorf("%+v", e)
	}
}
