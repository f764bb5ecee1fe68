package health_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/health"
)

// node answers calls from a table; what is not in it is {badrpc, nodedown}.
type node struct {
	answers map[string]term.Term
	http    int
	tcp     error
}

func (n node) Call(ctx context.Context, m, f string, _ ...term.Term) (term.Term, error) {
	if n.answers == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if t, ok := n.answers[m+":"+f]; ok {
		return t, nil
	}
	return term.Tuple{term.Atom("badrpc"), term.Atom("nodedown")}, nil
}

func (n node) HTTP(context.Context, uint16, string) (int, error) { return n.http, nil }
func (n node) TCP(context.Context, uint16) error                 { return n.tcp }

func answers(more ...term.Pair) map[string]term.Term {
	out := map[string]term.Term{
		"erlang:node": term.Atom("pulse@myhost"),
		"application:which_applications": term.List{Elems: []term.Term{
			term.Tuple{term.Atom("kernel"), term.String("k"), term.String("1")},
			term.Tuple{term.Atom("pulse"), term.String("p"), term.String("1")},
		}},
	}
	for _, p := range more {
		out[string(p.Key.(term.Atom))] = p.Value
	}
	return out
}

func custom(answer term.Term) map[string]term.Term {
	return answers(term.Pair{Key: term.Atom("pulse_health:health_check"), Value: answer})
}

func TestCheck(t *testing.T) {
	web := &app.Health{Type: app.HealthHTTP, Port: 80, Path: "/health"}
	tcp := &app.Health{Type: app.HealthTCP, Port: 80}
	own := &app.Health{Type: app.HealthCustom, Module: "pulse_health"}
	for _, tc := range []struct {
		name   string
		node   node
		health *app.Health
		answer string
		err    string
		own    bool
	}{
		{"no check of its own", node{answers: answers()}, nil, "running", "", false},
		{"node down", node{answers: map[string]term.Term{}}, nil, "", "ping: rpc: nodedown", false},
		{"application down", node{answers: answers(term.Pair{Key: term.Atom("application:which_applications"), Value: term.List{}})},
			web, "", "which_applications: the application does not run", false},
		{"http", node{answers: answers(), http: 204}, web, "http 204", "", false},
		{"http 500", node{answers: answers(), http: 500}, web, "", "http: GET /health on port 80 answered 500", true},
		{"tcp", node{answers: answers()}, tcp, "tcp ok", "", false},
		{"tcp refused", node{answers: answers(), tcp: errors.New("refused")}, tcp, "", "tcp: refused", true},
		{"custom ok", node{answers: custom(term.Atom("ok"))}, own, "ok", "", false},
		{"custom tuple", node{answers: custom(term.Tuple{term.Atom("ok"), term.Map{}})}, own, "ok", "", false},
		{"custom error", node{answers: custom(term.Tuple{term.Atom("error"), term.Atom("full")})}, own, "",
			"custom: pulse_health:health_check() answered {error,full}", true},
		{"custom missing", node{answers: answers()}, own, "", "custom: rpc: nodedown", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answer, err := health.Check(t.Context(), "pulse", tc.health, tc.node)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if answer != tc.answer || text != tc.err {
				t.Errorf("got %q, %q; want %q, %q", answer, text, tc.answer, tc.err)
			}
			var failure *health.Failure
			if errors.As(err, &failure) && failure.Own != tc.own {
				t.Errorf("own is %v", failure.Own)
			}
		})
	}
}

func TestCheckEndsAtItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := health.Check(t.Context(), "pulse", &app.Health{Type: app.HealthTCP, Timeout: 3 * time.Second}, node{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestLocal(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	defer srv.Close()
	port := netip.MustParseAddrPort(srv.Listener.Addr().String()).Port()
	l := health.Local{}
	if code, err := l.HTTP(t.Context(), port, "/health"); err != nil || code != http.StatusTeapot {
		t.Errorf("got %d, %v", code, err)
	}
	if code, err := l.HTTP(t.Context(), port, "/away"); err != nil || code != http.StatusFound {
		t.Errorf("a redirection gave %d, %v", code, err)
	}
	if err := l.TCP(t.Context(), port); err != nil {
		t.Error(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(free.Addr().String()).Port()
	free.Close()
	if err := l.TCP(t.Context(), closed); err == nil || !strings.Contains(err.Error(), "connect to port") {
		t.Errorf("a closed port gave %v", err)
	}
}
