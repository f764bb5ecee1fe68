package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/distribution/term"
)

func parse(t testing.TB, text string) term.Term {
	t.Helper()
	terms, err := term.Parse([]byte(text + " ."))
	if err != nil || len(terms) != 1 {
		t.Fatalf("parse %s: %v", text, err)
	}
	return terms[0]
}

func TestPatternMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, term string
		want          bool
	}{
		{"", "anything", true},
		{"'_'", "{1,2}", true},
		{"get", "get", true},
		{"get", "put", false},
		{"{get, '$atom'}", "{get, count}", true},
		{"{get, '$atom'}", "{get, 1}", false},
		{"{get, '$atom'}", "{get, a, b}", false},
		{"'$integer'", "7", true},
		{"'$integer'", "7.0", false},
		{"'$number'", "7.0", true},
		{"'$string'", `"text"`, true},
		{"'$string'", "[a]", false},
		{"'$list'", "[a]", true},
		{"'$list'", "[a|b]", false},
		{"'$map'", "#{}", true},
		{"'$tuple'", "{}", true},
		{"{'$integer', 1, 10}", "10", true},
		{"{'$integer', 1, 10}", "11", false},
		{"{'$binary', 3}", `<<"abc">>`, true},
		{"{'$binary', 3}", `<<"abcd">>`, false},
		{"{'$list', '$integer'}", "[1, 2]", true},
		{"{'$list', '$integer'}", "[1, a]", false},
		{"{'$oneof', [a, {b, '_'}]}", "{b, 1}", true},
		{"{'$oneof', [a, {b, '_'}]}", "c", false},
		{"#{a => '$integer'}", "#{a => 1}", true},
		{"#{a => '$integer'}", "#{a => 1, b => 2}", false},
		{"#{a => '$integer', '_' => '_'}", "#{a => 1, b => 2}", true},
		{"#{a => '$integer'}", "#{}", false},
		{"[a|'_']", "[a|b]", true},
		{"[a|'_']", "[a]", false},
		{`<<"x">>`, `<<"x">>`, true},
	} {
		p, err := ParsePattern(tc.pattern)
		if err != nil {
			t.Errorf("%s: %v", tc.pattern, err)
			continue
		}
		if got := p.Match(parse(t, tc.term)); got != tc.want {
			t.Errorf("%s matches %s: %v", tc.pattern, tc.term, got)
		}
	}
}

func TestParsePatternRefuses(t *testing.T) {
	for _, text := range []string{"'$int'", "{'$integer', 1}", "{'$binary'}", "{'$oneof', []}", "{'$oneof', [a|b]}", "{a, '$what'}", "#{a => '$what'}", "[a|'$what']", "{", "a. b"} {
		if _, err := ParsePattern(text); err == nil {
			t.Errorf("%s is a pattern", text)
		}
	}
}

func TestParseMessages(t *testing.T) {
	got, err := ParseMessages(parse(t, `#{mode => audit,
		pubsubs => [#{name => 'Elixir.Demo.PubSub', topics => [<<"stats:*">>, "x"], dispatchers => ['Elixir.D'], pool => 2}],
		groups => [#{scope => jobs, names => [workers], message => {done, '$integer'}}],
		allow => [#{to => stats, kind => call, message => {get, '_'}, rate => 100}],
		limits => #{messages => 500, atoms => -1}}`))
	want := Messages{
		Mode:    Audit,
		PubSubs: []PubSub{{Name: "Elixir.Demo.PubSub", Topics: []string{"stats:*", "x"}, Dispatchers: []string{"Elixir.D"}, Pool: 2}},
		Groups:  []Groups{{Scope: "jobs", Names: []string{"workers"}, Message: "{done,'$integer'}"}},
		Allow:   []Allow{{To: "stats", Kind: Call, Message: "{get,'_'}", Rate: 100}},
		Limits:  Limits{Messages: 500, Atoms: -1},
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, text := range []string{
		"x", "#{mod => enforce}", "#{mode => off}", "#{allow => [#{to => x}]}", "#{allow => [#{to => x, kind => shout}]}", "#{pubsubs => [#{}]}",
		"#{groups => [#{names => [a]}]}", "#{groups => [#{scope => s, message => '$x'}]}", "#{limits => #{atoms => many}}", "#{allow => [#{to => x, kind => info, message => '$x'}]}", "#{pubsubs => x}",
	} {
		if _, err := ParseMessages(parse(t, text)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func TestDefaults(t *testing.T) {
	env := map[string]term.Term{"liveview_components": parse(t, `[
		#{id => a, module => m, pubsub => 'Elixir.P', topic => <<"a">>},
		[{id, b}, {pubsub, 'Elixir.P'}, {topic, <<"b">>}],
		#{id => c, module => m}, x]`)}
	want := []PubSub{{Name: "Elixir.P", Topics: []string{"a", "b"}}}
	if diff := cmp.Diff(want, Defaults(env)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := Defaults(nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestExplain(t *testing.T) {
	m := Messages{Allow: []Allow{{To: "stats", Kind: Call, Message: "{get, '$atom'}"}}}
	for _, tc := range []struct {
		mode    Mode
		kind    Kind
		to, req string
		want    Explanation
	}{
		{Enforce, Call, "stats", "{get, a}", Explanation{true, &m.Allow[0], "allowed by the rule for call to stats with pattern {get,'$atom'}"}},
		{Enforce, Call, "stats", "{get, 1}", Explanation{false, nil, "the message does not match {get,'$atom'}"}},
		{Enforce, Cast, "stats", "{get, a}", Explanation{false, nil, "no rule allows messages of kind cast to stats"}},
		{Enforce, Info, "init", "stop", Explanation{false, nil, "no rule allows messages to init, and none should: who may send to it has the host VM"}},
		{Enforce, Info, "mine", "stop", Explanation{false, nil, "no rule allows messages to mine"}},
		{Audit, Info, "mine", "stop", Explanation{true, nil, "no rule allows messages to mine; mode audit lets it pass and counts it"}},
		{Trusted, Cast, "global_name_server", "x", Explanation{false, nil, "global's traffic never crosses: the gateway answers it itself, in every mode"}},
		{Trusted, Info, "init", "stop", Explanation{true, nil, "the guest is trusted: its messages are not judged"}},
	} {
		m.Mode = tc.mode
		if diff := cmp.Diff(tc.want, m.Explain(tc.kind, tc.to, parse(t, tc.req))); diff != "" {
			t.Errorf("%s %s %s (-want +got)\n%s", tc.kind, tc.to, tc.req, diff)
		}
	}
}

// FuzzPattern: a pattern is its printed form, and one without types and holes
// matches the term that it is.
func FuzzPattern(f *testing.F) {
	f.Add("{get, '$atom'}", "{get, a}.")
	f.Add("{'$oneof', [#{a => '_'}, {'$list', {'$integer', 1, 2}}]}", "[1]. #{a => 1.5}.")
	f.Add("#{'_' => 1, \"text\" => [<<1:3>>|'$tuple']}", "#{\"text\" => [<<1:3>>|{}]}.")
	f.Add("{'$binary', 3}", "<<\"abc\">>. <<\"abcd\">>.")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			return
		}
		again, err := ParsePattern(p.String())
		if err != nil {
			t.Fatalf("%q is printed as %q: %v", pattern, p, err)
		}
		terms, _ := term.Parse([]byte(text))
		for _, v := range append(terms, p.t) {
			if p.Match(v) != again.Match(v) {
				t.Errorf("%s and its printed form differ about %s", p, term.Format(v))
			}
		}
		if ground(p.t) && !p.Match(p.t) {
			t.Errorf("%s does not match itself", p)
		}
	})
}

// ground says that a pattern has no types and holes.
func ground(p term.Term) bool {
	switch p := p.(type) {
	case term.Atom:
		return p != "_" && !strings.HasPrefix(string(p), "$")
	case term.Tuple:
		return !slices.ContainsFunc(p, func(e term.Term) bool { return !ground(e) })
	case term.List:
		return ground(term.Tuple(p.Elems)) && (p.Tail == nil || ground(p.Tail))
	case term.Map:
		return !slices.ContainsFunc(p, func(e term.Pair) bool { return !ground(e.Key) || !ground(e.Value) })
	}
	return true
}
