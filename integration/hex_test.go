//go:build integration

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/images/hex"
	"beamsandbox/images/hex/hextest"
	"beamsandbox/reconcile/status"
)

// hexRegistry serves the real packages that make setup took out of Debian's
// archive, and one for mix.
func hexRegistry(t *testing.T) *hextest.Registry {
	t.Helper()
	r, err := hextest.New("hexpm")
	must(t, err)
	t.Cleanup(r.Close)
	all, err := filepath.Glob("../build/debian/hexpm/*.tar")
	if err != nil || len(all) == 0 {
		t.Fatalf("build/debian/hexpm holds no packages (%v): run make setup-test", err)
	}
	for _, file := range all {
		raw, err := os.ReadFile(file)
		must(t, err)
		_, err = r.PublishTarball(raw)
		must(t, err)
	}
	_, err = r.Publish(hextest.Package{Name: "greet", Version: "0.3.0", BuildTools: []string{"mix"}, Files: fstest.MapFS{
		"mix.exs": {Data: []byte(`defmodule Greet.MixProject do
  use Mix.Project
  def project, do: [app: :greet, version: "0.3.0"]
  def application, do: [extra_applications: [:logger], mod: {Greet, []}]
end
`)},
		"lib/greet.ex": {Data: []byte(`defmodule Greet do
  use Application
  def start(_, _), do: Supervisor.start_link([], strategy: :one_for_one)
  def say, do: System.version()
end
`)},
	}})
	must(t, err)
	return r
}

// useHex writes the repository into the configuration, as an operator would.
func useHex(t *testing.T, p *place, r *hextest.Registry) {
	t.Helper()
	key, err := r.PublicKey()
	must(t, err)
	must(t, os.WriteFile(p.Path("hexpm.pem"), key, 0o644))
	pair := func(k, v string) term.Pair { return term.Pair{Key: term.Atom(k), Value: term.Binary(v)} }
	o := p.options()
	o.Extra = []term.Term{term.Tuple{term.Atom("hex"), term.List{Elems: []term.Term{
		term.Map{pair("name", "hexpm"), pair("url", r.URL), pair("public_key", p.Path("hexpm.pem"))},
	}}}}
	must(t, p.WriteConfig(o))
}

// hexDeadline is for what a busy machine fetches, builds and starts.
const hexDeadline = 8 * time.Minute

// hexPlace is a place whose sandboxd takes packages from a registry.
type hexPlace struct {
	*place
	registry *hextest.Registry
}

func newHexPlace(t *testing.T, short string, r *hextest.Registry) hexPlace {
	t.Helper()
	p := newPlace(t, short)
	p.up()
	useHex(t, p, r)
	p.restart()
	return hexPlace{p, r}
}

// ask commits that an app is wanted out of a package, from its name alone.
func (p hexPlace) ask(name, version, isolation string) {
	p.t.Helper()
	p.write(name, fmt.Sprintf(`#{name => %s, version => <<"%s">>, isolation => %s, source => #{type => hex}}.`, name, version, isolation))
}

// write makes an app.config; commit has it seen.
func (p *place) write(name, config string) {
	p.t.Helper()
	must(p.t, p.gitops.Write("apps/"+name+"/app.config", []byte(config)))
}

func (p *place) commit(what string) {
	p.t.Helper()
	must(p.t, errors.Join(p.gitops.Commit(what), p.daemon.Sync(p.t.Context())))
}

// TestHex: an app.config that names a package and no more is enough, for a
// guest of either tool and for the host VM; and whatever is wrong with the
// registry, status says it and what runs stays up.
func TestHex(t *testing.T) {
	r := hexRegistry(t)
	must(t, r.Retire("stdout_formatter", "0.2.4", hex.Retirement{Reason: hex.RetiredRenamed}))
	p := newHexPlace(t, "hex", r)
	p.ask("recon", "2.5.1", "vm")
	p.ask("greet", "0.3.0", "vm")
	p.ask("observer_cli", "1.7.3", "vm")
	p.ask("khepri", "0.16.0", "vm")
	p.ask("stdout_formatter", "0.2.4", "embedded")
	p.commit("Ask for packages")
	all := []string{"recon", "greet", "observer_cli", "khepri", "stdout_formatter"}
	must(t, p.daemon.AwaitHealthy(within(t, hexDeadline), all...))
	p.wantEmbedded("stdout_formatter")
	p.wantGuest("recon", "recon-2.5.1")
	p.wantGuest("greet", "greet-0.3.0")
	p.wantGuest("observer_cli", "observer_cli-1.7.3", "recon-2.5.6")
	p.wantGuest("khepri", "khepri-0.16.0", "ra-2.14.0", "horus-0.3.0", "aten-0.6.0", "gen_batch_server-0.8.8", "seshat-0.6.0")
	p.wantStore("khepri")
	p.faults()
	p.retired()

	must(t, p.daemon.Stop(time.Minute))
	r.Close() // sandboxd knows by itself what is retired
	p.restart()
	must(t, p.daemon.AwaitHealthy(within(t, hexDeadline), all...))
	p.wantRetired()
}

// wantEmbedded checks that the host VM has an app's code from what was built.
func (p hexPlace) wantEmbedded(name string) {
	p.t.Helper()
	where, err := p.host.Call(p.t.Context(), "code", "which", term.Atom(name))
	if text, _ := term.Text(where); err != nil || !strings.HasPrefix(text, filepath.Join(p.Root, "images/releases", name)) {
		p.t.Errorf("the host VM has the embedded package's code from %q, %v", text, err)
	}
}

// wantGuest checks that a package runs as a guest of the host VM's cluster,
// with all that it needs, in these versions.
func (p hexPlace) wantGuest(name string, apps ...string) {
	p.t.Helper()
	a := p.daemon.App(p.t.Context(), name)
	var stages []string
	for _, s := range a.Stages {
		stages = append(stages, s.Name)
	}
	if a.Isolation != "vm" || !a.Linked || a.Pid == 0 || !slices.Contains(stages, "joined") || !slices.Contains(stages, "verified") {
		p.t.Errorf("%s is %s with pid %d, linked %v, after %v", name, a.Isolation, a.Pid, a.Linked, stages)
	}
	running, err := p.host.Call(within(p.t, time.Minute), "rpc", "call", term.Atom(p.Node(name)), term.Atom("application"), term.Atom("which_applications"), term.List{})
	must(p.t, err)
	for _, want := range apps {
		of, version, _ := strings.Cut(want, "-")
		if !slices.ContainsFunc(elements(running), func(e term.Term) bool { return isApp(e, of, version) }) {
			p.t.Errorf("%s lacks %s among %s", name, want, term.Format(running))
		}
	}
}

func elements(t term.Term) []term.Term {
	list, _ := t.(term.List)
	return list.Elems
}

// isApp reads an element of which_applications, {Name, Description, Version}.
func isApp(t term.Term, name, version string) bool {
	e, _ := t.(term.Tuple)
	if len(e) != 3 || e[0] != term.Term(term.Atom(name)) {
		return false
	}
	text, _ := term.Text(e[2])
	return text == version
}

// wantStore has khepri keep something, in the only folder that a guest can
// write: ra, below it, writes logs and segments there.
func (p hexPlace) wantStore(name string) {
	p.t.Helper()
	g, err := p.DialGuest(within(p.t, time.Minute), name)
	must(p.t, err)
	defer g.Close()
	store, path := term.Atom("store"), term.List{Elems: []term.Term{term.Atom("a"), term.Binary("b")}}
	for _, c := range []struct {
		function string
		args     []term.Term
		want     string
	}{
		{"start", []term.Term{term.String("/tmp/khepri"), store}, "{ok,store}"},
		{"put", []term.Term{store, path, term.Binary("kept")}, "ok"},
		{"get", []term.Term{store, path}, `{ok,<<"kept">>}`},
	} {
		v, err := g.Call(within(p.t, time.Minute), "khepri", c.function, c.args...)
		if err != nil || term.Format(v) != c.want {
			p.t.Fatalf("khepri:%s in the guest: %v, %v, want %s", c.function, v, err, c.want)
		}
	}
}

// faults asks for what cannot be had, for one reason after the other.
func (p hexPlace) faults() {
	t := p.t
	t.Helper()
	pid := p.pid("recon")
	for _, tt := range []struct {
		name, version string
		want          error
		spoil         hextest.Fault
	}{
		{"missing version", "9.9.9", hex.ErrNoVersion, hextest.None},
		{"wrong key", "9.9.8", hex.ErrSignature, hextest.WrongKey},
		{"wrong repository", "9.9.7", hex.ErrRepository, hextest.WrongRepository},
		{"flipped byte", "2.5.2", hex.ErrChecksum, hextest.FlipTarball}, // one that nothing took yet
		{"unreachable", "9.9.6", hex.ErrUnreachable, hextest.Unavailable},
	} {
		p.registry.Break(tt.spoil)
		p.ask("recon", tt.version, "vm")
		p.commit("Ask for what cannot be had")
		must(t, p.daemon.Await(within(t, hexDeadline), tt.name+" is told", func(h status.Host) bool {
			a := appOf(h, "recon")
			return a.Reason == "build_failed" && strings.Contains(a.Detail, tt.want.Error())
		}))
		if a := p.daemon.App(t.Context(), "recon"); a.Pid != pid || !a.Linked {
			t.Errorf("%s touched what runs: pid %d, linked %v", tt.name, a.Pid, a.Linked)
		}
	}
	p.registry.Break(hextest.None)
}

// retired asks for a version that its authors retired: it runs, and status
// says that it should not.
func (p hexPlace) retired() {
	t := p.t
	t.Helper()
	pid := p.pid("recon")
	must(t, p.registry.Retire("recon", "2.5.2", hex.Retirement{Reason: hex.RetiredSecurity, Message: "take 2.5.6"}))
	p.ask("recon", "2.5.2", "vm")
	p.commit("Ask for a retired one")
	must(t, p.daemon.Await(within(t, hexDeadline), "the retired release runs", func(h status.Host) bool {
		a := appOf(h, "recon")
		return a.Phase == status.Healthy && a.Version == "2.5.2" && a.Pid != pid
	}))
	p.wantRetired()
}

func (p hexPlace) wantRetired() {
	p.t.Helper()
	p.wantNotes("recon", `recon 2.5.2 is retired: security: "take 2.5.6"`)
	p.wantNotes("stdout_formatter", `stdout_formatter 0.2.4 is retired: renamed`)
	p.wantNotes("greet")
}

// wantNotes checks what sandboxctl says is to know of an app, in JSON and to
// people.
func (p *place) wantNotes(name string, notes ...string) {
	p.t.Helper()
	out, err := p.Ctl("status", name, "-o", "json")
	must(p.t, err)
	var a status.App
	must(p.t, json.Unmarshal([]byte(out), &a))
	if !slices.Equal(a.Notes, notes) {
		p.t.Errorf("status -o json of %s has notes %q, want %q", name, a.Notes, notes)
	}
	out, err = p.Ctl("status")
	must(p.t, err)
	for _, n := range notes {
		if want := "note on " + name + ": " + n + "\n"; !strings.Contains(out, want) {
			p.t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
	if n := strings.Count(out, "note on "+name+":"); n != len(notes) {
		p.t.Errorf("status has %d notes on %s, want %d:\n%s", n, name, len(notes), out)
	}
}
