//go:build integration

package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// TestEmbeddedRelease: a release that somebody else made is loaded into the
// host VM, without OTP's part of it. One that was made for another OTP is
// refused before anything of it is loaded, and what runs goes on.
func TestEmbeddedRelease(t *testing.T) {
	ask := func(version string, tarball []byte) map[string]string {
		file := filepath.Join(t.TempDir(), "noise.tar.gz")
		must(t, os.WriteFile(file, tarball, 0o644))
		sum := sha256.Sum256(tarball)
		return map[string]string{"noise": fmt.Sprintf(`#{name => noise, version => <<"%s">>, isolation => embedded,
  source => #{type => release, url => <<"file://%s">>, sha256 => <<"%s">>}}.`, version, file, hex.EncodeToString(sum[:]))}
	}
	w.have(t, ask("1.0.0", noiseRelease(t)))
	wantNoise := func() {
		t.Helper()
		if got := mustHost(t, "noise", "say"); !term.Equal(got, term.Binary("from a release")) {
			t.Errorf("noise:say() in the host VM: %s", term.Format(got))
		}
		if where, _ := term.Text(mustHost(t, "code", "which", term.Atom("noise"))); !strings.HasPrefix(where, filepath.Join(w.Root, "images/releases/noise")) {
			t.Errorf("the module comes from %q", where)
		}
	}
	wantNoise()
	paths := term.Format(mustHost(t, "code", "get_path"))
	if ours := regexp.MustCompile(`images/releases/noise/[^"]*/lib/(kernel|stdlib|sasl)-`); ours.MatchString(paths) {
		t.Errorf("OTP of the release is on the host VM's code path: %s", paths)
	}

	for version, want := range map[string]string{
		"2.0.0": "it was made for OTP 27, the host VM runs OTP 25",
		"2.0.1": "brings no emulator of its own",
	} {
		w.push(t, ask(version, foreignRelease(t, version, version == "2.0.0")))
		must(t, w.daemon.Await(within(t, 2*time.Minute), "the wrong OTP is told", func(h status.Host) bool {
			a := appOf(h, "noise")
			return a.Reason == "build_failed" && strings.Contains(a.Detail, want)
		}))
		if now := term.Format(mustHost(t, "code", "get_path")); now != paths {
			t.Errorf("%s changed the host VM's code path from %s to %s", version, paths, now)
		}
		wantNoise()
	}

	w.push(t, map[string]string{})
	must(t, w.daemon.Await(within(t, 2*time.Minute), "it is gone", func(h status.Host) bool { return len(h.Apps) == 0 }))
	if left := mustHost(t, "code", "is_loaded", term.Atom("noise")); left != term.Term(term.Atom("false")) {
		t.Errorf("the module is still loaded: %s", term.Format(left))
	}
}

// foreignRelease packs noise as a release of OTP 27, with something in the
// place of its emulator or without.
func foreignRelease(t *testing.T, version string, carried bool) []byte {
	t.Helper()
	dir := t.TempDir()
	write := func(path, text string) {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, path), []byte(text), 0o755))
	}
	write("releases/start_erl.data", "15.2.3 "+version)
	write("releases/"+version+"/noise.rel", fmt.Sprintf(`{release, {"noise", %q}, {erts, "15.2.3"}, [{noise, %q}]}.`, version, version))
	write("releases/"+version+"/start.boot", "boot")
	must(t, os.CopyFS(filepath.Join(dir, "lib/noise-"+version+"/ebin"), os.DirFS(noiseEbin(t, version))))
	if carried {
		for _, p := range []string{"beam.smp", "erlexec", "erl_child_setup", "inet_gethost"} {
			write("erts-15.2.3/bin/"+p, "an emulator")
		}
	}
	return tarGzip(t, dir)
}
