//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// TestMesh: without Macula in the host VM a mesh source says so; with it, the
// release that it fetches runs.
func TestMesh(t *testing.T) {
	tarball := filepath.Join(t.TempDir(), "noise.tar.gz")
	must(t, os.WriteFile(tarball, noiseRelease(t), 0o644))
	config := `#{name => noise, version => <<"1.0.0">>, isolation => vm, source => #{type => mesh, mcid => <<"mcid1-%s">>}}.`
	w.start(t)
	says := func(mcid, want string) {
		w.push(t, map[string]string{"noise": fmt.Sprintf(config, mcid)})
		must(t, w.daemon.Await(within(t, 30*time.Second), "status says "+want, func(h status.Host) bool {
			a := appOf(h, "noise")
			return a.Reason == "build_failed" && strings.Contains(a.Detail, want)
		}))
	}
	says("none", "the host has no Macula: the module macula_content is not on the host VM's code path")
	loadOnHost(t, "macula_content", "-module(macula_content).\n-export([fetch/2]).\nfetch(_, _) -> ok.\n")
	says("old", "exports no fetch/1")
	loadOnHost(t, "macula_content", fmt.Sprintf(`-module(macula_content).
-export([fetch/1]).
fetch(<<"mcid1-noise">>) -> file:read_file(%q);
fetch(<<"mcid1-text">>) -> {ok, <<"no tarball">>};
fetch(_) -> {error, not_found}.
`, tarball))
	says("other", "answered {error,not_found}")
	says("text", "unpack mcid1-text")
	w.have(t, map[string]string{"noise": fmt.Sprintf(config, "noise")})
	if got := call(t, w.guest(t, "noise"), "noise", "say"); !term.Equal(got, term.Binary("from a release")) {
		t.Errorf("the guest answers %s", term.Format(got))
	}
	if a := w.daemon.App(t.Context(), "noise"); a.Revision != "mcid1-noise" {
		t.Errorf("its revision is %q", a.Revision)
	}
}

// loadOnHost compiles a module and loads it into the host VM until the test
// ends.
func loadOnHost(t *testing.T, module, source string) {
	t.Helper()
	beam := compile(t, t.TempDir(), module, source)
	data, err := os.ReadFile(beam)
	must(t, err)
	loaded := mustHost(t, "code", "load_binary", term.Atom(module), term.String(module), term.Binary(data))
	if p, _ := loaded.(term.Tuple); len(p) != 2 || p[0] != term.Term(term.Atom("module")) {
		t.Fatalf("load %s into the host VM: %s", module, term.Format(loaded))
	}
	t.Cleanup(func() { unloadFromHost(t, module) })
}

func unloadFromHost(t *testing.T, module string) {
	t.Helper()
	for _, f := range []string{"purge", "delete", "purge"} {
		afterwards(t, "code", f, term.Atom(module))
	}
}

// afterwards is mustHost for clean-ups, when the test's context has ended.
func afterwards(t *testing.T, module, function string, args ...term.Term) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	if _, err := w.host.Call(ctx, module, function, args...); err != nil {
		t.Errorf("%s:%s on the host VM: %v", module, function, err)
	}
}

// compile writes and compiles a module into dir and returns the .beam's path.
func compile(t *testing.T, dir, module, source string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), module+".erl")
	must(t, os.WriteFile(file, []byte(source), 0o644))
	if out, err := exec.CommandContext(t.Context(), "erlc", "+nowarn_unused_function", "-o", dir, file).CombinedOutput(); err != nil {
		t.Fatalf("erlc: %v\n%s", err, out)
	}
	return filepath.Join(dir, module+".beam")
}

// noiseEbin makes the code folder of an application that does nothing but run,
// .../noise-VERSION/ebin.
func noiseEbin(t *testing.T, version string) string {
	t.Helper()
	ebin := filepath.Join(t.TempDir(), "noise-"+version, "ebin")
	must(t, os.MkdirAll(ebin, 0o755))
	must(t, os.WriteFile(filepath.Join(ebin, "noise.app"), fmt.Appendf(nil,
		"{application, noise, [{description, \"Does nothing\"}, {vsn, %q}, {modules, [noise]}, {registered, []}, {applications, [kernel, stdlib]}]}.\n", version), 0o644))
	compile(t, ebin, "noise", "-module(noise).\n-export([say/0]).\nsay() -> <<\"from a release\">>.\n")
	return ebin
}

// noiseRelease packs it as a release without an emulator.
func noiseRelease(t *testing.T) []byte {
	t.Helper()
	return packRelease(t, "noise", append(debianPaths(t), noiseEbin(t, "1.0.0"))...)
}
