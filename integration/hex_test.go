//go:build integration

package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	for _, name := range []string{"recon-2.5.1", "recon-2.5.2", "recon-2.5.6", "observer_cli-1.7.3", "stdout_formatter-0.2.4"} {
		raw, err := os.ReadFile(filepath.Join("../build/debian/hexpm", name+".tar"))
		if err != nil {
			t.Fatalf("%v: run make setup", err)
		}
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

// TestHex: an app.config that names a package and no more is enough, for a
// guest of either tool and for the host VM; and whatever is wrong with the
// registry, status says it and what runs stays up.
func TestHex(t *testing.T) {
	p := newPlace(t, "hex")
	r := hexRegistry(t)
	p.up()
	useHex(t, p, r)
	var err error
	p.daemon, err = p.RestartDaemon(within(t, 20*time.Second))
	must(t, err)
	ask := func(name, version, isolation string) {
		text := fmt.Sprintf(`#{name => %s, version => <<"%s">>, isolation => %s, source => #{type => hex}}.`, name, version, isolation)
		must(t, p.gitops.Write("apps/"+name+"/app.config", []byte(text)))
	}
	commit := func(what string) {
		must(t, errors.Join(p.gitops.Commit(what), p.daemon.Sync(t.Context())))
	}
	ask("recon", "2.5.1", "vm")
	ask("greet", "0.3.0", "vm")
	ask("stdout_formatter", "0.2.4", "embedded")
	commit("Ask for packages")
	must(t, p.daemon.AwaitHealthy(within(t, 4*time.Minute), "recon", "greet", "stdout_formatter"))
	where, err := p.host.Call(t.Context(), "code", "which", term.Atom("stdout_formatter"))
	if text, _ := term.Text(where); err != nil || !strings.HasPrefix(text, filepath.Join(p.Root, "images/releases/stdout_formatter")) {
		t.Errorf("the host VM has the embedded package's code from %q, %v", text, err)
	}
	pid := p.daemon.App(t.Context(), "recon").Pid

	for _, tt := range []struct {
		name, version, want string
		spoil               func()
	}{
		{"missing version", "9.9.9", hex.ErrNoVersion.Error(), func() {}},
		{"wrong key", "9.9.8", hex.ErrSignature.Error(), func() { r.Break(hextest.WrongKey) }},
		{"wrong repository", "9.9.7", hex.ErrRepository.Error(), func() { r.Break(hextest.WrongRepository) }},
		{"flipped byte", "2.5.6", hex.ErrChecksum.Error(), func() { r.Break(hextest.FlipTarball) }},
		{"unreachable", "9.9.6", hex.ErrUnreachable.Error(), func() { r.Break(hextest.Unavailable) }},
	} {
		tt.spoil()
		ask("recon", tt.version, "vm")
		commit("Ask for what cannot be had")
		must(t, p.daemon.Await(within(t, time.Minute), tt.name+" is told", func(h status.Host) bool {
			a := appOf(h, "recon")
			return a.Reason == "build_failed" && strings.Contains(a.Detail, tt.want)
		}))
		if a := p.daemon.App(t.Context(), "recon"); a.Pid != pid || !a.Linked {
			t.Errorf("%s touched what runs: pid %d, linked %v", tt.name, a.Pid, a.Linked)
		}
	}
	r.Break(hextest.None)
	must(t, r.Retire("recon", "2.5.2", hex.Retirement{Reason: hex.RetiredSecurity, Message: "take 2.5.6"}))
	ask("recon", "2.5.2", "vm")
	commit("Ask for a retired one")
	must(t, p.daemon.Await(within(t, 2*time.Minute), "the retired release runs", func(h status.Host) bool {
		a := appOf(h, "recon")
		return a.Phase == status.Healthy && a.Version == "2.5.2" && a.Pid != pid
	}))
	log, err := os.ReadFile(p.daemon.Log)
	must(t, err)
	if !strings.Contains(string(log), "package is retired by its authors") {
		t.Error("sandboxd's log does not tell that the package is retired")
	}
}
