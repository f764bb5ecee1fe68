package macula_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/macula"
)

// host is a host VM whose module macula exports what answers has.
type host struct {
	loaded  bool
	answers map[string]term.Term // by "name/arity"; nil: it raises
	called  []string
}

func (h *host) Call(_ context.Context, module, function string, args ...term.Term) (term.Term, error) {
	name := fmt.Sprintf("%s/%d", function, len(args))
	switch module + ":" + name {
	case "code:ensure_loaded/1":
		if h.loaded {
			return term.Tuple{term.Atom("module"), args[0]}, nil
		}
		return term.Tuple{term.Atom("error"), term.Atom("nofile")}, nil
	case "erlang:function_exported/3":
		_, ok := h.answers[fmt.Sprintf("%s/%d", args[1].(term.Atom), args[2].(term.Int))]
		return map[bool]term.Term{true: term.Atom("true"), false: term.Atom("false")}[ok], nil
	case "erlang:is_alive/0", "erlang:set_cookie/1":
		h.called = append(h.called, module+":"+name)
		return term.Atom("true"), nil
	}
	h.called = append(h.called, module+":"+name)
	if h.answers[name] == nil {
		return term.Tuple{term.Atom("badrpc"), term.List{Elems: args}}, nil
	}
	return h.answers[name], nil
}

// use calls everything once and returns the first error.
func use(t *testing.T, h *host, p macula.Platform) (app.Secret, error) {
	t.Helper()
	cookie, err := p.Cookie(t.Context(), h)
	return cookie, errors.Join(err, p.EnsureDistributed(t.Context(), h), p.SetCookie(t.Context(), h, app.NewSecret("hush")),
		p.MonitorNodes(t.Context(), h), p.UnmonitorNodes(t.Context(), h))
}

func TestPlatform(t *testing.T) {
	ok := term.Term(term.Atom("ok"))
	for name, tt := range map[string]struct {
		host           host
		delegated, own []string
		called         []string
		cookie         string
	}{
		"no Macula": {host{}, nil, nil, []string{"erlang:is_alive/0", "erlang:set_cookie/1"}, ""},
		"none": {host{loaded: true}, nil, macula.Functions(),
			[]string{"erlang:is_alive/0", "erlang:set_cookie/1"}, ""},
		"some": {host{loaded: true, answers: map[string]term.Term{"get_cookie/0": term.Binary("c1"), "monitor_nodes/0": ok}},
			[]string{"get_cookie/0", "monitor_nodes/0"}, []string{"ensure_distributed/0", "set_cookie/1", "unmonitor_nodes/0"},
			[]string{"macula:get_cookie/0", "erlang:is_alive/0", "erlang:set_cookie/1", "macula:monitor_nodes/0"}, "c1"},
		"all": {host{loaded: true, answers: map[string]term.Term{"ensure_distributed/0": ok, "get_cookie/0": term.Atom("c2"),
			"set_cookie/1": ok, "monitor_nodes/0": ok, "unmonitor_nodes/0": ok}}, macula.Functions(), nil,
			[]string{"macula:get_cookie/0", "macula:ensure_distributed/0", "macula:set_cookie/1", "macula:monitor_nodes/0", "macula:unmonitor_nodes/0"}, "c2"},
	} {
		p, err := macula.Detect(t.Context(), &tt.host)
		if err != nil || p.Present != tt.host.loaded {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		cookie, err := use(t, &tt.host, p)
		if err != nil || cookie.Reveal() != tt.cookie {
			t.Errorf("%s: cookie as wanted: %v, %v", name, cookie.Reveal() == tt.cookie, err)
		}
		for what, d := range map[string]string{"delegated": cmp.Diff(tt.delegated, p.Delegated()), "own": cmp.Diff(tt.own, p.Own()), "called": cmp.Diff(tt.called, tt.host.called)} {
			if d != "" {
				t.Errorf("%s: %s (-want +got):\n%s", name, what, d)
			}
		}
	}
}

// What goes wrong is told without any cookie.
func TestFailures(t *testing.T) {
	h := &host{loaded: true, answers: map[string]term.Term{"ensure_distributed/0": term.Tuple{term.Atom("error"), term.Atom("no_mesh")},
		"get_cookie/0": term.Tuple{term.Atom("error"), term.Atom("hush")}, "set_cookie/1": nil, "monitor_nodes/0": nil, "unmonitor_nodes/0": nil}}
	p, err := macula.Detect(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	_, err = use(t, h, p)
	text := fmt.Sprint(err)
	for _, want := range []string{"ensure_distributed/0 on the host VM: it answered {error,no_mesh}", "get_cookie/0 on the host VM: it answered no cookie",
		"macula:set_cookie/1 on the host VM: it did not take", "monitor_nodes/0", "unmonitor_nodes/0"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
	if strings.Contains(text, "hush") {
		t.Errorf("a cookie is in %s", text)
	}
}
