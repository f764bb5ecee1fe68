//go:build integration

package epmd

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"beamsandbox/distribution/epmd/erltest"
)

func TestStockPortMapper(t *testing.T) {
	ctx := t.Context()
	addr := erltest.FreePort(t)
	if _, err := Register(ctx, addr, Registration{Name: "pulse", Port: 5001}); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("before it runs: %v, want ErrNotRunning", err)
	}
	stop := erltest.EPMDAt(t, addr)
	lease, err := Register(ctx, addr, Registration{Name: "pulse", Port: 5001})
	if err != nil || lease.Creation == 0 {
		t.Fatalf("register: %+v, %v", lease, err)
	}
	if _, err := Register(ctx, addr, Registration{Name: "pulse", Port: 5002}); !errors.Is(err, ErrNameTaken) {
		t.Errorf("register twice: %v, want ErrNameTaken", err)
	}
	info, err := Lookup(ctx, addr, "pulse")
	if err != nil || info.Port != 5001 || info.Type != Normal || info.High != 6 || info.Low != 5 {
		t.Errorf("lookup: %+v, %v", info, err)
	}
	names, err := Names(ctx, addr)
	if err != nil || len(names) != 1 || names[0] != (Entry{"pulse", 5001}) {
		t.Errorf("names: %v, %v", names, err)
	}
	if err := lease.Close(); err != nil {
		t.Error(err)
	}
	again, err := Register(ctx, addr, Registration{Name: "pulse", Port: 5003, Type: Hidden})
	if err != nil {
		t.Fatalf("register at once after close: %v", err)
	}
	stop()
	<-again.Done() // the name is known to be lost
	if err := again.Close(); err != nil {
		t.Errorf("close a lost lease: %v", err)
	}
}

func TestNodeUsesView(t *testing.T) {
	type registered struct {
		Registration
		creation uint32
	}
	came, gone := make(chan registered, 4), make(chan Registration, 4)
	host := erltest.FreePort(t) // nobody listens there: a dial is refused at once
	v := &View{
		Pinned:       "viewed",
		Peers:        map[string]uint16{"demo_web": host.Port()},
		OnRegister:   func(r Registration, c uint32) { came <- registered{r, c} },
		OnUnregister: func(r Registration) { gone <- r },
	}
	addr := serveView(t, v)
	erl := erltest.Start(t, addr, "viewed")
	reg := <-came
	if reg.Name != "viewed" || reg.Port == 0 || reg.Type != Normal || reg.High != 6 {
		t.Errorf("registered %+v", reg)
	}
	for expr, want := range map[string]string{
		`{ok, Ns} = erl_epmd:names("127.0.0.1"), lists:sort([N || {N, _} <- Ns]).`: `["demo_web","viewed"]`,
		`element(1, erl_epmd:port_please("demo_web", {127,0,0,1})).`:               "port",
		`erl_epmd:port_please("other", {127,0,0,1}).`:                              "noport",
		`net_kernel:get_state(), net_adm:ping('demo_web@vm').`:                     "pang",
		`erlang:system_info(creation).`:                                            strconv.FormatUint(uint64(reg.creation), 10),
	} {
		if got := erl.Eval(expr); got != want {
			t.Errorf("%s gives %s, want %s", expr, got, want)
		}
	}
	erl.Kill()
	if r := <-gone; r.Name != "viewed" {
		t.Errorf("unregistered %+v", r)
	}
	// The same name comes again, as another incarnation.
	erltest.Start(t, addr, "viewed")
	if next := <-came; next.creation == reg.creation {
		t.Errorf("creation %d was handed out twice", next.creation)
	}
}

// TestStockToolsCannotStopView asks with the stock daemon's own client.
func TestStockToolsCannotStopView(t *testing.T) {
	v, _ := recorded("pulse", map[string]uint16{"demo_web": 1})
	addr := serveView(t, v)
	for _, args := range [][]string{{"-kill"}, {"-stop", "demo_web"}} {
		out := erltest.AskEPMD(t, addr, args...)
		if strings.Contains(out, "Killed") || strings.Contains(out, "STOPPED") {
			t.Errorf("epmd %v says %s", args, out)
		}
	}
	if out := erltest.AskEPMD(t, addr, "-names"); !strings.Contains(out, "name demo_web at port 1") {
		t.Errorf("epmd -names says %s", out)
	}
	if _, err := Lookup(context.WithoutCancel(t.Context()), addr, "demo_web"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
