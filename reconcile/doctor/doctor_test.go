package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/epmd"
	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// cluster is a host VM with one guest, pulse, in which all is well; tests make
// it ill. Answers are by "module:function" in Erlang's syntax, an answer that
// begins with "!" is an error.
type cluster struct {
	macula      *status.Macula
	host, guest map[string]string
	node        distribution.Node
	listErr     error
	app         status.App
	problem     string
	tryErr      error
	mapper      map[string]uint16
}

func well() *cluster {
	return &cluster{
		host: map[string]string{
			"erlang:nodes": "[pulse@myhost]", "erlang:function_exported": "true", "net_adm:ping": "pong",
			"rpc:call": `[{pulse,"","1.0.0"},{kernel,"","8"}]`, "code:ensure_loaded": "{module,'Elixir.Show'}",
			"erlang:whereis": "undefined", "pg:get_local_members": "[1]", "Elixir.Registry:lookup": "[1,2]",
		},
		guest:  map[string]string{"erlang:node": "pulse@myhost", "erlang:get_cookie": "given", "erlang:whereis": "undefined", "pg:get_local_members": "[1]"},
		node:   distribution.Node{Name: "pulse", Node: "pulse@myhost", Port: 4001, Registered: true, Up: true},
		mapper: map[string]uint16{"demo_web": 4000, "pulse": 4001},
		app: status.App{Name: "pulse", Version: "1.0.0", Isolation: "vm", Phase: status.Healthy, Pid: 7, Node: "pulse@myhost", Linked: true,
			Components: []status.Component{{ID: "show", Module: "Elixir.Show", PubSub: "Elixir.P", Topic: "t", Published: true, Loadable: true}}},
	}
}

func answer(answers map[string]string, module, function string) (term.Term, error) {
	text, known := answers[module+":"+function]
	if why, failed := strings.CutPrefix(text, "!"); failed {
		return nil, errors.New(why)
	}
	if !known {
		return nil, errors.New("undef")
	}
	terms, err := term.Parse([]byte(text + "."))
	if err != nil {
		return nil, err
	}
	return terms[0], nil
}

type hostVM struct{ *cluster }

func (h hostVM) Call(_ context.Context, module, function string, _ ...term.Term) (term.Term, error) {
	if module == "pg" && function == "get_members" && h.host["pg:get_members"] == "" {
		return term.List{Elems: []term.Term{term.Pid{Node: "pulse@myhost", ID: 1}}}, nil
	}
	return answer(h.host, module, function)
}
func (h hostVM) Try(context.Context, string) error { return h.tryErr }

type guests struct{ *cluster }

func (g guests) Call(_ context.Context, _ app.Name, module, function string, _ ...term.Term) (term.Term, error) {
	return answer(g.guest, module, function)
}
func (g guests) List(context.Context) ([]distribution.Node, error) {
	if g.node.Name == "" {
		return nil, g.listErr
	}
	return []distribution.Node{g.node}, g.listErr
}

// examine looks at c with a port mapper in memory.
func examine(t *testing.T, c *cluster, only app.Name) []status.Check {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&epmd.View{Pinned: "nobody", Peers: c.mapper}).Serve(ctx, l)
	}()
	defer func() { cancel(); <-done }()
	return Check(t.Context(), Config{
		Status: status.Host{HostNode: "demo_web@myhost", Commit: "0123456789abcdef", Fetched: time.Now(), Error: c.problem, Macula: c.macula,
			Apps: []status.App{c.app, {Name: "other", Phase: status.Broken, Reason: "config", Detail: "f:1:1: no"}}},
		Hostname: "myhost", EPMD: netip.MustParseAddrPort(l.Addr().String()), Host: hostVM{c}, Guests: guests{c},
		Cookie: func(app.Name) (app.Secret, error) { return app.NewSecret("given"), nil },
	}, only)
}

func TestWell(t *testing.T) {
	for _, c := range examine(t, well(), "pulse") {
		if c.Verdict != status.OK || c.Cure != "" {
			t.Errorf("%+v", c)
		}
		if c.App != "" && c.App != "pulse" {
			t.Errorf("another app was looked at: %+v", c)
		}
	}
	broken := false
	for _, c := range examine(t, well(), "") {
		broken = broken || c.App == "other" && c.Verdict == status.Fail && strings.Contains(c.Found, "f:1:1: no")
	}
	if !broken {
		t.Error("the broken app is not named")
	}
}

func TestMacula(t *testing.T) {
	for _, tt := range []struct {
		macula  *status.Macula
		verdict status.Verdict // "": no check
		found   string
	}{
		{nil, "", ""},
		{&status.Macula{Asked: []string{"get_cookie/0"}, Own: []string{"a/0", "b/0", "c/0", "d/0"}}, status.OK, "asked for 1 of 5 functions"},
		{&status.Macula{Error: "it answered another cookie"}, status.Fail, "another cookie"},
	} {
		c := well()
		c.macula = tt.macula
		var got status.Check
		for _, check := range examine(t, c, "pulse") {
			if check.Name == "host_macula" {
				got = check
			}
		}
		if got.Verdict != tt.verdict || !strings.Contains(got.Found, tt.found) {
			t.Errorf("%+v: %+v", tt.macula, got)
		}
	}
}

func TestIll(t *testing.T) {
	for name, tc := range map[string]struct {
		make               func(c *cluster)
		check              string
		verdict            status.Verdict
		found, cure, never string
	}{
		"the repository":           {func(c *cluster) { c.problem = "no route" }, "repository", status.Fail, "no route", "mend", ""},
		"the gateway":              {func(c *cluster) { c.listErr = errors.New("closed") }, "gateway", status.Fail, "closed", "gateway.log", "guest_node"},
		"a linked guest is lost":   {func(c *cluster) { c.host["erlang:nodes"] = "[]" }, "host_nodes", status.Fail, "lacks pulse@myhost", "connect_node", ""},
		"nobody connects a guest":  {func(c *cluster) { c.host["erlang:nodes"], c.node.Up = "[]", false }, "host_nodes", status.Fail, "which has its name and waits", "check guest_link says why", ""},
		"rex does not answer":      {func(c *cluster) { c.host["erlang:nodes"] = "!noproc" }, "host_nodes", status.Fail, "noproc", "rex", "component"},
		"no host VM":               {func(c *cluster) { delete(c.mapper, "demo_web") }, "host_registered", status.Fail, "knows no demo_web", "-sname demo_web", "guest_ping"},
		"the host VM is deaf":      {func(c *cluster) { c.tryErr = errors.New("refused") }, "host_connection", status.Fail, "refused", "resolves", "host_nodes"},
		"the guest does not boot":  {func(c *cluster) { delete(c.mapper, "pulse") }, "guest_registered", status.Fail, "holds no name", "logs pulse", "guest_node"},
		"the gateway says why":     {func(c *cluster) { delete(c.mapper, "pulse"); c.node.Error = "port 9 instead" }, "guest_registered", status.Fail, "port 9 instead", "mend", "guest_node"},
		"somebody has its name":    {func(c *cluster) { c.mapper["pulse"] = 9 }, "guest_registered", status.Fail, "has the name pulse", "node_prefix", "guest_node"},
		"not a member":             {func(c *cluster) { c.node.Name = "" }, "guest_registered", status.Fail, "does not know it", "gateway", "guest_node"},
		"the guest's first cookie": {func(c *cluster) { c.guest["erlang:node"] = "!handshake: cookies differ" }, "guest_cookie", status.Fail, "another cookie", "-setcookie", "guest_link"},
		"a name of its own":        {func(c *cluster) { c.guest["erlang:node"] = "x@y" }, "guest_node", status.Fail, "x@y", "pulse@myhost", "guest_link"},
		"no link":                  {func(c *cluster) { c.node.Up, c.node.Error = false, "host: cookies differ" }, "guest_link", status.Fail, "cookies differ", "host_cookie", "guest_ping"},
		"no link yet":              {func(c *cluster) { c.node.Up = false }, "guest_link", status.Fail, "nobody has connected", "connect_node", "guest_ping"},
		"pang":                     {func(c *cluster) { c.host["net_adm:ping"] = "pang" }, "guest_ping", status.Fail, "pang", "guest_link", "applications"},
		"another application":      {func(c *cluster) { c.host["rpc:call"] = `[{kernel,"",""}]` }, "applications", status.Fail, "pulse does not run there, but: kernel", "ensure_all_started", ""},
		"badrpc":                   {func(c *cluster) { c.host["rpc:call"] = "{badrpc,nodedown}" }, "applications", status.Fail, "nodedown", "logs", ""},
		"quarantined":              {func(c *cluster) { c.app.Phase, c.app.Pid = status.Quarantined, 0 }, "app", status.Fail, "quarantined", "shows what it sent", "guest_node"},
		"joining":                  {func(c *cluster) { c.app.Phase = status.Joining }, "app", status.Warn, "joining", "wait", ""},
		"trusted":                  {func(c *cluster) { c.app.Messages = "trusted" }, "guest_messages", status.Warn, "mode trusted", "enforce", ""},
		"refusals": {func(c *cluster) {
			c.app.Refused, c.app.Refusals = map[string]uint64{"name": 3, "global": 9}, []status.Refusal{{Rule: "name"}}
		}, "guest_messages", status.Warn, "refused: name 3", "policy", ""},
		"harmless refusals":  {func(c *cluster) { c.app.Refused = map[string]uint64{"global": 9} }, "guest_messages", status.OK, "none", "", ""},
		"dropped packets":    {func(c *cluster) { c.app.Drops = map[string]uint64{"egress": 2} }, "guest_network", status.Warn, "egress 2", "docs/network.md", ""},
		"a missing module":   {func(c *cluster) { c.host["code:ensure_loaded"] = "{error,nofile}" }, "component", status.Fail, "cannot load Elixir.Show", "dependencies", ""},
		"not published":      {func(c *cluster) { c.app.Components[0].Published, c.app.Components[0].Problem = false, "no list" }, "component", status.Fail, "no list", "mend", ""},
		"no PubSub":          {func(c *cluster) { c.host["pg:get_local_members"] = "[]" }, "host_pubsub", status.Fail, "Elixir.P does not run", "Phoenix.PubSub, name: Elixir.P", "pubsub_joined"},
		"no pg at the guest": {func(c *cluster) { c.guest["pg:get_local_members"] = "!badarg" }, "guest_pubsub", status.Fail, "Elixir.P does not run", "supervisor", "pubsub_joined"},
		"PubSubs apart":      {func(c *cluster) { c.host["pg:get_members"] = "[]" }, "pubsub_joined", status.Fail, "does not know", "pubsubs", ""},
		"nobody subscribes":  {func(c *cluster) { c.host["Elixir.Registry:lookup"] = "[]" }, "pubsub_subscribed", status.Warn, "nobody", "subscribe", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := well()
			tc.make(c)
			found := false
			for _, got := range examine(t, c, "pulse") {
				if got.Name == tc.check {
					found = true
					if got.Verdict != tc.verdict || !strings.Contains(got.Found, tc.found) || !strings.Contains(got.Cure, tc.cure) || strings.Contains(got.Found+got.Cure, "\n") {
						t.Errorf("%+v\nwant %s, found %q, cure %q", got, tc.verdict, tc.found, tc.cure)
					}
				}
				if got.Name == tc.never {
					t.Errorf("%+v was asked for in vain", got)
				}
			}
			if !found {
				t.Errorf("there is no check %s", tc.check)
			}
		})
	}
}
