package components_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/components"
)

// host answers the three calls that are made, and counts the writes.
type host struct {
	list    term.Term // nil: no such key
	missing string
	writes  int
	err     error
}

func (h *host) Call(_ context.Context, module, function string, args ...term.Term) (term.Term, error) {
	switch function {
	case "get_env":
		if h.list == nil {
			return term.Atom("undefined"), h.err
		}
		return term.Tuple{term.Atom("ok"), h.list}, h.err
	case "set_env":
		h.list = args[2]
		h.writes++
	case "unset_env":
		h.list = nil
		h.writes++
	case "ensure_loaded":
		if args[0] == term.Term(term.Atom(h.missing)) {
			return term.Tuple{term.Atom("error"), term.Atom("nofile")}, h.err
		}
		return term.Tuple{term.Atom("module"), args[0]}, h.err
	}
	return term.Atom("ok"), h.err
}

func shown(t *testing.T, name, list string) components.Shown {
	t.Helper()
	return components.Shown{App: app.Name(name), Node: name + "@myhost",
		Components: app.Components(map[string]term.Term{app.ComponentsKey: parse(t, list)})}
}

func parse(t *testing.T, text string) term.Term {
	t.Helper()
	terms, err := term.Parse([]byte(text + "."))
	if err != nil {
		t.Fatal(err)
	}
	return terms[0]
}

const (
	pulse   = `#{app => pulse, node => 'pulse@myhost', managed_by => sandboxd, id => beat, module => 'Elixir.Beat', title => <<"Beat">>}`
	counter = `#{app => counter, node => 'counter@myhost', managed_by => sandboxd, id => count, module => 'Elixir.Count'}`
	foreign = `#{id => clock, module => 'Elixir.Clock'}`
	odd     = `{something, else}`
)

func TestPublish(t *testing.T) {
	wantPulse := shown(t, "pulse", `[#{id => beat, module => 'Elixir.Beat', title => "Beat", managed_by => me}]`)
	wantCounter := shown(t, "counter", `[#{id => count, module => 'Elixir.Count'}]`)
	nothing := components.Shown{App: "pulse", Node: "pulse@myhost"}
	unknown := components.Shown{App: "pulse", Unknown: true}
	for name, tc := range map[string]struct {
		have   string
		all    []components.Shown
		want   string
		writes int
	}{
		"into nothing":                  {"", []components.Shown{wantPulse, wantCounter}, "[" + counter + "," + pulse + "]", 1},
		"what is there":                 {"[" + counter + "," + pulse + "]", []components.Shown{wantPulse, wantCounter}, "[" + counter + "," + pulse + "]", 0},
		"beside others":                 {"[" + foreign + "," + odd + "]", []components.Shown{wantPulse}, "[" + foreign + "," + odd + "," + pulse + "]", 1},
		"between others":                {"[" + foreign + "," + pulse + "," + odd + "]", []components.Shown{wantPulse}, "[" + foreign + "," + odd + "," + pulse + "]", 1},
		"an app shows nothing any more": {"[" + foreign + "," + pulse + "]", []components.Shown{nothing}, "[" + foreign + "]", 1},
		"an app is gone":                {"[" + pulse + "]", nil, "", 1},
		"nobody ever was":               {"", nil, "", 0},
		"an app is not known":           {"[" + pulse + "," + counter + "]", []components.Shown{unknown}, "[" + pulse + "]", 1},
		"changed":                       {"[" + strings.Replace(pulse, "Beat\">>", "Old\">>", 1) + "]", []components.Shown{wantPulse}, "[" + pulse + "]", 1},
		"others are left alone":         {odd + "", nil, odd, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := &host{}
			if tc.have != "" {
				h.list = parse(t, tc.have)
			}
			for range 2 { // the second time changes nothing
				if _, err := components.Publish(t.Context(), h, tc.all); err != nil {
					t.Fatal(err)
				}
			}
			if h.writes != tc.writes {
				t.Errorf("%d writes, want %d", h.writes, tc.writes)
			}
			switch {
			case tc.want == "" && h.list != nil:
				t.Errorf("%s is left", term.Format(h.list))
			case tc.want != "" && !term.Equal(h.list, parse(t, tc.want)):
				t.Errorf("got  %s\nwant %s", term.Format(h.list), tc.want)
			}
		})
	}
}

func TestStates(t *testing.T) {
	all := []components.Shown{
		shown(t, "pulse", `[#{id => beat, module => 'Elixir.Beat'}, #{id => clock, module => 'Elixir.Clock'}]`),
		shown(t, "counter", `[#{id => count, module => 'Elixir.Count'}]`),
	}
	id := func(name app.Name, id string) components.ID { return components.ID{App: name, ID: id} }
	h := &host{list: parse(t, "["+foreign+"]"), missing: "Elixir.Count"}
	got, err := components.Publish(t.Context(), h, all)
	want := map[components.ID]components.State{
		id("pulse", "beat"):    {Published: true, Loadable: true},
		id("pulse", "clock"):   {Loadable: true, Problem: "the host VM lists it by itself: remove it there, or give it another id"},
		id("counter", "count"): {Published: true, Problem: "the host VM cannot load Elixir.Count ({error,nofile}): add the app to its dependencies"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	h = &host{list: term.Int(7)}
	got, err = components.Publish(t.Context(), h, all[1:])
	if st := got[id("counter", "count")]; err != nil || st.Published || !strings.Contains(st.Problem, "is 7 and no list") || h.writes != 0 {
		t.Errorf("a host VM that holds something else: %v, %+v, %d writes", err, st, h.writes)
	}
	h = &host{err: errors.New("nodedown")}
	if _, err := components.Publish(t.Context(), h, all); err == nil || h.writes != 0 {
		t.Errorf("a host VM that is gone: %v, %d writes", err, h.writes)
	}
}
