//go:build integration

package integration

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/control"
	"beamsandbox/distribution/gateway/protocol"
	"beamsandbox/distribution/term"
	"beamsandbox/integration/otp"
	"beamsandbox/integration/stage"
)

// legitMessages is what policy grants to the apps made of testdata/pubsub.
// north gets PubSub One by its own components, all else is named here; other
// has a PubSub of its own.
const legitMessages = `
  north => #{pubsubs => [` + legitTwo + `], allow => ` + legitAllow + `},
  south => #{pubsubs => [` + legitOne + `, ` + legitTwo + `], allow => ` + legitAllow + `},
  east => #{pubsubs => [` + legitOne + `, ` + legitTwo + `], allow => ` + legitAllow + `},
  other => #{pubsubs => [#{name => 'Elixir.Demo.Own', topics => [<<"*">>],
    dispatchers => ['Elixir.Phoenix.PubSub', 'Elixir.Phoenix.Channel.Server']}], allow => ` + legitAllow + `}`

const (
	legitOne = `#{name => 'Elixir.Demo.One', topics => [<<"stats:updates">>, <<"room:*">>],
  dispatchers => ['Elixir.Phoenix.PubSub', 'Elixir.Phoenix.Channel.Server']}`
	legitTwo = `#{name => 'Elixir.Demo.Two', topics => [<<"stats:updates">>, <<"room:*">>, <<"phx_presence:*">>], pool => 2,
  dispatchers => ['Elixir.Phoenix.PubSub', 'Elixir.Phoenix.Channel.Server']}`
	legitAllow = `[#{to => legit_desk, kind => call, message => {get, '$atom'}},
  #{to => legit_desk, kind => cast, message => {note, '_'}}, #{to => legit_desk, kind => info, message => {note, '_'}}]`
	legitComponents = `[#{id => <<"stats">>, module => legit_desk, pubsub => 'Elixir.Demo.One', topic => <<"stats:updates">>},
  #{id => <<"room">>, module => legit_desk, pubsub => 'Elixir.Demo.One', topic => <<"room:1">>}]`
)

// worldMessages is the policy of the sandboxd that the tests share.
var worldMessages = strings.TrimSuffix(stage.PulseMessages, "}") + "," + legitMessages + "}"

// legitApp writes the .app file of an application made of testdata/pubsub: two
// PubSubs, with pools of one and two workers, and for app other, which has no
// grant for these, one more.
func legitApp(name string) []byte {
	pubsubs := "{'Elixir.Demo.One', 1}, {'Elixir.Demo.Two', 2}"
	if name == "other" {
		pubsubs += ", {'Elixir.Demo.Own', 1}"
	}
	return fmt.Appendf(nil, `{application, %s, [{description, "Speaks as Phoenix does"}, {vsn, "1.0.0"}, {registered, []},
  {mod, {legit_app, []}}, {applications, [kernel, stdlib]},
  {env, [{pubsubs, [%s]}, {topics, [<<"stats:updates">>, <<"room:1">>, <<"secret">>, <<"phx_presence:Elixir.Demo.Presence">>]}]}]}.
`, name, pubsubs)
}

// legitConfig is an app.config of such an application.
func (w *world) legitConfig(t *testing.T, name, env string) string {
	t.Helper()
	source := fmt.Sprintf(`#{type => git, url => <<"%s">>}`, w.legitRepo(t, name).URL())
	if name == "east" {
		source = fmt.Sprintf(`#{type => image, url => <<"file://%s">>}`, w.legitImage(t, name))
	}
	return fmt.Sprintf(`#{name => %s, version => <<"1.0.0">>, isolation => vm, source => %s, env => #{%s},
  health => #{type => custom, module => legit_app, interval => 1000}}.`, name, source, env)
}

// legitRepo is the repository of one of the applications, made once.
func (w *world) legitRepo(t *testing.T, name string) *stage.Repo {
	t.Helper()
	r := w.OpenRepo(name)
	if _, err := os.Stat(r.Dir); err == nil {
		return r
	}
	r, err := w.NewRepo(name, "testdata/pubsub")
	must(t, err)
	must(t, errors.Join(r.Write("src/"+name+".app.src", legitApp(name)), r.Commit("Name it "+name)))
	return r
}

// legitImage is an image archive with OTP 27 and an application, made once.
func (w *world) legitImage(t *testing.T, name string) string {
	t.Helper()
	file := w.Path(name + ".tar")
	if _, err := os.Stat(file); err != nil {
		must(t, otp27(t).Image(file, name, w.legitCode(t, name)))
	}
	return file
}

func otp27(t *testing.T) otp.Tree {
	t.Helper()
	tree, err := otp.Open("../build/debian/otp27")
	must(t, err)
	return tree
}

// legitCode is a folder with an application's compiled modules and .app file.
func (w *world) legitCode(t *testing.T, name string) string {
	t.Helper()
	dir := w.Path("code-" + name)
	modules, err := filepath.Glob("testdata/pubsub/src/*.erl")
	must(t, errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".app"), legitApp(name), 0o644)))
	if out, err := exec.CommandContext(t.Context(), "erlc", append([]string{"-o", dir}, modules...)...).CombinedOutput(); err != nil {
		t.Fatalf("erlc: %v\n%s", err, out)
	}
	return dir
}

// startLegit runs the application in the host VM, too, where it is the desk
// and the PubSubs that guests speak to.
func (w *world) startLegit(t *testing.T) {
	t.Helper()
	mustHost(t, "code", "add_patha", term.String(w.legitCode(t, "legit")))
	started := term.Format(mustHost(t, "application", "start", term.Atom("legit")))
	if started != "ok" && !strings.Contains(started, "already_started") {
		t.Fatalf("start the application in the host VM: %s", started)
	}
}

// legitApps are north, south and east, and whatever else.
func (w *world) legitApps(t *testing.T, more ...string) map[string]string {
	t.Helper()
	apps := map[string]string{"north": w.legitConfig(t, "north", "liveview_components => "+legitComponents)}
	for _, name := range append(more, "south", "east") {
		apps[name] = w.legitConfig(t, name, "")
	}
	return apps
}

// haveLegit deploys them beside the host VM's own application; a star of them
// that stands goes on standing.
func (w *world) haveLegit(t *testing.T, more ...string) {
	t.Helper()
	w.start(t)
	w.startLegit(t)
	apps := w.legitApps(t, more...)
	t.Cleanup(func() {
		for name := range apps {
			if out, err := w.Ctl("logs", name); t.Failed() {
				t.Logf("%s wrote (%v):\n%s", name, err, out)
			}
		}
	})
	w.only(t, apps)
}

// TestLegitimate: what well-behaved guests and the host VM do goes through,
// and nothing of it is refused; it does again after a link was lost.
func TestLegitimate(t *testing.T) {
	w.haveLegit(t, "other")
	w.tryPairs(t, "25")
	w.tryTogether(t)
	for name, lose := range map[string]func(*testing.T, *pair){
		"host disconnects":  func(t *testing.T, p *pair) { p.try(t, []line{{"erlang:disconnect_node(GUEST)", "true"}}) },
		"guest disconnects": func(t *testing.T, p *pair) { p.try(t, []line{{"guest: erlang:disconnect_node(HOST)", "true"}}) },
		"host stops guest":  func(t *testing.T, p *pair) { p.try(t, []line{{"rpc:call(GUEST, init, stop, [])", "ok"}}) },
		"guest restarts": func(t *testing.T, p *pair) {
			must(t, syscall.Kill(int(w.daemon.App(t.Context(), p.name).Pid), syscall.SIGKILL))
		},
	} {
		t.Run(name, func(t *testing.T) { w.tryAgain(t, "other", lose) })
	}
}

// tryAgain tries a guest after its link was lost, while nobody else loses one.
func (w *world) tryAgain(t *testing.T, name string, lose func(*testing.T, *pair)) {
	t.Helper()
	p := w.pair(t, name)
	before := len(changes(t))
	lose(t, p)
	w.cameBack(t, name, before)
	must(t, w.daemon.AwaitHealthy(within(t, 30*time.Second), slices.Collect(maps.Keys(w.legitApps(t, name)))...))
	p = w.pair(t, name)
	p.try(t, calls)
	p.broadcasts(t)
	p.clean(t)
}

// cameBack wants the host VM to have seen a guest, and nobody else, go and come
// again since it had seen so many changes. It comes twice when both sides dial
// at the same moment and the one dial ends what the other one began.
func (w *world) cameBack(t *testing.T, name string, before int) {
	t.Helper()
	down, up := "{nodedown,"+w.Node(name)+"}", "{nodeup,"+w.Node(name)+"}"
	var saw, want []string
	err := stage.Until(within(t, time.Minute), "the guest is back", func() bool {
		saw = changes(t)[before:]
		want = slices.Repeat([]string{down, up}, max(1, len(saw)/2))
		return slices.Equal(saw, want)
	})
	if err != nil {
		t.Fatalf("%v: the host VM saw %v, want %v", err, saw, want)
	}
}

// tryTogether tries calls of the host to several guests at once.
func (w *world) tryTogether(t *testing.T) {
	t.Helper()
	var all []*pair
	var nodes []string
	for _, name := range []string{"north", "south", "east"} {
		all, nodes = append(all, w.pair(t, name)), append(nodes, "'"+w.Node(name)+"'")
	}
	for _, code := range together {
		if got := all[0].onHost(t, strings.ReplaceAll(code, "NODES", "["+strings.Join(nodes, ",")+"]")); got != "true" {
			t.Errorf("%s is %s", code, got)
		}
	}
	for _, p := range all {
		p.clean(t)
	}
}

// tryPairs tries each guest with the host VM, which is of some release of OTP.
func (w *world) tryPairs(t *testing.T, release string) {
	t.Helper()
	for name, own := range map[string]string{"north": "25", "south": "25", "east": "27"} {
		t.Run(name+" on OTP "+own, func(t *testing.T) {
			p := w.pair(t, name)
			p.try(t, []line{
				{"guest: erlang:system_info(otp_release)", strconv.Quote(own)},
				{"erlang:system_info(otp_release)", strconv.Quote(release)},
			})
			p.try(t, calls)
			p.clean(t)
			p.try(t, bonds)
			p.clean(t)
			p.try(t, output)
			p.printed(t)
			p.clean(t)
			p.broadcasts(t)
			p.clean(t)
			p.tracks(t)
			p.clean(t)
			p.comesAndGoes(t)
			p.clean(t)
			p.synced(t)
			p.clean(t)
		})
	}
}

// pair is a guest and the host VM, to try what they may say to each other.
type pair struct {
	name       string
	guest      *control.Node
	replace    *strings.Replacer
	wasRefused map[string]uint64
}

func (w *world) pair(t *testing.T, name string) *pair {
	t.Helper()
	p := &pair{name: name, guest: w.guest(t, name), wasRefused: w.gatewayNode(t, name).Refused}
	p.replace = strings.NewReplacer("GUEST", "'"+w.Node(name)+"'", "HOST", "'"+w.host.Name+"'")
	return p
}

// onHost and onGuest evaluate Erlang; GUEST and HOST stand for the nodes.
func (p *pair) onHost(t *testing.T, code string) string {
	t.Helper()
	return term.Format(mustHost(t, "legit_app", "eval", term.String(p.replace.Replace(code)+".")))
}

func (p *pair) onGuest(t *testing.T, code string) string {
	t.Helper()
	return term.Format(call(t, p.guest, "legit_app", "eval", term.String(p.replace.Replace(code)+".")))
}

// wants is a value as onHost and onGuest print it.
func (p *pair) wants(t *testing.T, value string) string {
	t.Helper()
	terms, err := term.Parse([]byte(p.replace.Replace(value) + "."))
	must(t, err)
	return term.Format(terms[0])
}

// eventually waits until code has that value.
func (p *pair) eventually(t *testing.T, on func(*testing.T, string) string, code, want string) {
	t.Helper()
	var got string
	err := stage.Until(within(t, time.Minute), code+" is "+want, func() bool {
		got = on(t, code)
		return got == p.wants(t, want)
	})
	if err != nil {
		t.Errorf("%s: %v, but %s", p.name, err, got)
	}
}

// clean wants nothing refused since the pair was made but what every node
// sends on its own: OTP's question for features, global's greetings and
// monitors, and events for the host's logger, which go to the guest's log.
func (p *pair) clean(t *testing.T) {
	t.Helper()
	p.try(t, []line{{"guest: net_adm:ping(HOST)", "pong"}, {"net_adm:ping(GUEST)", "pong"}}) // behind all else on the link
	n := w.gatewayNode(t, p.name)
	for rule, count := range n.Refused {
		if count > p.wasRefused[rule] && rule != "global" && rule != "features" && rule != "logger" {
			t.Errorf("%s: %d messages refused by rule %s; the last ones: %+v", p.name, count-p.wasRefused[rule], rule, n.Recent)
		}
	}
}

// gatewayNode asks the gateway itself, whose counters status shows a few
// seconds later.
func (w *world) gatewayNode(t *testing.T, name string) protocol.Node {
	t.Helper()
	resp, err := protocol.Ask(within(t, 10*time.Second), filepath.Join(w.RunDir, "gateway", "gateway.sock"), protocol.Request{Op: protocol.OpList})
	must(t, err)
	i := slices.IndexFunc(resp.Nodes, func(n protocol.Node) bool { return n.Name == name })
	if i < 0 {
		t.Fatalf("the gateway has no member %s: %+v", name, resp)
	}
	return resp.Nodes[i]
}
