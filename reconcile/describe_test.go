package reconcile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

func TestDescribe(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.start()
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", `, env => #{greeting => <<"hi">>, api_token => <<"t0p">>, db => #{password => <<"t0p">>}}`)})
		b.after(time.Minute)
		for i := range 7 {
			b.world.Exit("pulse", runtime.Exit{Status: uint32(i + 1)})
			b.after(time.Duration(6-i) * time.Minute)
		}
		d, err := b.r.Describe(b.Context(), "pulse")
		must(b, err)
		text := fmt.Sprintf("%+v", d)
		for _, want := range []string{"{Key:version Value:1.0.0}", `{Key:env.greeting Value:<<"hi">>}`, "{Key:env.api_token Value:(not shown)}",
			"{Key:env.db Value:(not shown)}", "mode enforce", "the guest ended with status 7", "Reason:exit_status_7"} {
			if !strings.Contains(text, want) {
				b.Errorf("lacks %s:\n%s", want, text)
			}
		}
		if len(d.Exits) != 5 || len(d.Events) != 32 || d.Gateway == nil || d.Gateway.Mode != "enforce" || strings.Contains(text, "t0p") {
			b.Errorf("%d exits, %d events, gateway %+v:\n%s", len(d.Exits), len(d.Events), d.Gateway, text)
		}
		if _, err := b.r.Describe(b.Context(), "nobody"); err == nil {
			b.Error("nobody was described")
		}
		b.commit(nil)
		b.after(time.Minute)
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", "")})
		if d, err := b.r.Describe(b.Context(), "pulse"); err != nil || len(d.Exits) != 0 {
			b.Errorf("after it was removed: %+v, %v", d.Exits, err)
		}
	})
}

func TestExplain(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.start()
		b.commit(map[string]string{"pulse": guest("pulse", "1.0.0", ""), "counter": embedded("counter", "1.0.0", "")})
		b.after(time.Minute)
		for _, tc := range []struct {
			app  app.Name
			q    status.Question
			want string // of the first reason, or the error
		}{
			{"pulse", status.Question{Kind: "call", To: "stats", Message: "{get, a}."}, "{call of {get,a} to stats false no rule allows messages to stats}"},
			{"pulse", status.Question{Kind: "cast", To: "stats"}, "{cast of '_' to stats false"},
			{"pulse", status.Question{Kind: "broadcast", To: "P", Message: "x"}, "{broadcast of x through P false the PubSub P is not shared}"},
			{"pulse", status.Question{Kind: "call", To: "stats", Message: "{get"}, "write one term in Erlang's syntax"},
			{"pulse", status.Question{Kind: "shout", To: "stats"}, "no kind of message"},
			{"pulse", status.Question{}, "MB of memory"},
			{"counter", status.Question{}, "it runs inside the host VM"},
			{"counter", status.Question{Kind: "info", To: "x"}, "nobody judges its messages"},
			{"nobody", status.Question{}, "no app nobody"},
		} {
			reasons, err := b.r.Explain(b.Context(), tc.app, tc.q)
			if text := fmt.Sprint(reasons, err); !strings.Contains(text, tc.want) {
				b.Errorf("%s %+v: %s", tc.app, tc.q, text)
			}
		}
	})
}
