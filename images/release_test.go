package images

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// assembled makes what a builder leaves: a release of one application, on an
// emulator that is only a few bytes.
func assembled(t *testing.T, o otp) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a")
	for name, content := range map[string]string{
		"releases/start_erl.data":       o.erts + " 1.0.0",
		"releases/RELEASES":             "x",
		"releases/1.0.0/start.boot":     "boot",
		"releases/1.0.0/start.script":   "%% script generated at …",
		"releases/1.0.0/a.rel":          "x",
		"releases/1.0.0/sys.config.src": `[{a, [{port, ${PORT:-80}}]}].`,
		"releases/1.0.0/vm.args":        "-sname a\n-setcookie c\n+P 1000\n",
		"bin/a":                         "#!/bin/sh",
		"erts-" + o.erts + "/bin/epmd":  "x",
		"lib/a-1.0.0/ebin/a.beam":       "x",
		"lib/a-1.0.0/priv/data":         "x",
		"lib/a-1.0.0/priv/src/kept":     "x",
		"lib/a-1.0.0/src/a.erl":         "x",
		"lib/a-1.0.0/include/a.hrl":     "x",
		"lib/dep-0.1/ebin/dep.beam":     "x",
		"etc/a.conf":                    "x",
	} {
		put(t, filepath.Join(dir, name), content)
	}
	for _, p := range runtimePrograms {
		put(t, filepath.Join(dir, "erts-"+o.erts, "bin", p), "x")
	}
	return dir
}

func put(t *testing.T, p, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCollect(t *testing.T) {
	o := machineOTP(t)
	to := t.TempDir()
	rel, err := collect(mustRoot(t, assembled(t, o)), to, o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := Release{Name: "a", Version: "1.0.0", ERTS: o.erts, Root: "/app", Apps: []string{"a-1.0.0", "dep-0.1"}}
	if diff := cmp.Diff(want, rel); diff != "" {
		t.Errorf("release (-want +got):\n%s", diff)
	}
	erts := "erts-" + o.erts + "/bin/"
	files := []string{
		erts + "beam.smp", erts + "erl_child_setup", erts + "erlexec", erts + "inet_gethost", "etc/a.conf", "lib/a-1.0.0/ebin/a.beam",
		"lib/a-1.0.0/priv/data", "lib/a-1.0.0/priv/src/kept", "lib/dep-0.1/ebin/dep.beam", "releases/1.0.0/a.rel",
		"releases/1.0.0/start.boot", "releases/1.0.0/sys.config.src", "releases/1.0.0/vm.args",
	}
	if diff := cmp.Diff(files, below(t, to)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"sys.config.src": `[{a, [{port, ${PORT:-80}}]}].`, "vm.args": "+P 1000\n"} {
		if got, err := os.ReadFile(filepath.Join(to, "releases/1.0.0", name)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v; want %q", name, got, err, want)
		}
	}
	checkTrees(t, to, rel, o)
}

// A template without variables is none; scripts that would run are told of.
func TestCollectConfiguration(t *testing.T) {
	o := machineOTP(t)
	dir, to := assembled(t, o), t.TempDir()
	put(t, filepath.Join(dir, "releases/1.0.0/sys.config.src"), "[].")
	put(t, filepath.Join(dir, "releases/1.0.0/sys.config"), "[{old, []}].")
	put(t, filepath.Join(dir, "releases/1.0.0/vm.args.src"), "-name ${NODE}\n+P ${MAX:-9}\n")
	put(t, filepath.Join(dir, "releases/1.0.0/env.sh"), "#!/bin/sh\n\n# comment\nexport A=1\n")
	var log strings.Builder
	if _, err := collect(mustRoot(t, dir), to, o, &log); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range below(t, filepath.Join(to, "releases/1.0.0")) {
		data, err := os.ReadFile(filepath.Join(to, "releases/1.0.0", name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(data)
	}
	want := map[string]string{"a.rel": "x", "start.boot": "boot", "sys.config": "[].", "vm.args.src": "+P ${MAX:-9}\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if !strings.Contains(log.String(), `env.sh is not run`) || !strings.Contains(log.String(), "export A=1") {
		t.Errorf("the log says %q", log.String())
	}
}

// checkTrees looks where the release's files go: one layer each.
func checkTrees(t *testing.T, dir string, rel Release, o otp) {
	t.Helper()
	layers, err := trees(dir, rel, o)
	if err != nil || len(layers) != 4 {
		t.Fatalf("%d layers, %v; want base, system, dependencies and application", len(layers), err)
	}
	for name, want := range map[string]int{
		"etc/passwd": 0, "app/erts-" + o.erts + "/bin/beam.smp": 1, "app/lib/dep-0.1/ebin/dep.beam": 2,
		"app/lib/a-1.0.0/ebin/a.beam": 3, "app/releases/1.0.0/start.boot": 3, "app/etc/a.conf": 3,
	} {
		got := slices.IndexFunc(layers, func(t tree) bool { _, ok := t[name]; return ok })
		if got != want {
			t.Errorf("%s is in layer %d, want %d", name, got, want)
		}
	}
}

func below(t *testing.T, dir string) (out []string) {
	t.Helper()
	for e, err := range folder(t.Context(), mustRoot(t, dir)) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.path)
	}
	return out
}

func TestCollectRefuses(t *testing.T) {
	o := machineOTP(t)
	for name, tt := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"link out of the release": {func(d string) error {
			return os.Symlink("/etc/shadow", filepath.Join(d, "lib/a-1.0.0/priv/shadow"))
		}, "escapes"},
		"relative link out": {func(d string) error {
			return os.Symlink("../../../../../../../../etc/shadow", filepath.Join(d, "lib/a-1.0.0/ebin/x.beam"))
		}, "escapes"},
		"link to a folder": {func(d string) error {
			return os.Symlink("..", filepath.Join(d, "lib/a-1.0.0/priv/up"))
		}, "neither a file nor a folder"},
		"no boot file": {func(d string) error { return os.Remove(filepath.Join(d, "releases/1.0.0/start.boot")) }, "start.boot"},
		"no emulator": {func(d string) error {
			return os.Remove(filepath.Join(d, "erts-"+o.erts, "bin/beam.smp"))
		}, "beam.smp"},
		"another emulator": {func(d string) error {
			return os.WriteFile(filepath.Join(d, "releases/start_erl.data"), []byte("1.2.3 1.0.0"), 0o644)
		}, "the machine's Erlang is"},
		"version with a path": {func(d string) error {
			return os.WriteFile(filepath.Join(d, "releases/start_erl.data"), []byte(o.erts+" ../../x"), 0o644)
		}, "start_erl.data"},
		"version that is a pipe": {func(d string) error {
			p := filepath.Join(d, "releases/start_erl.data")
			return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o666))
		}, "start_erl.data"},
		"application with a newline": {func(d string) error {
			return os.Mkdir(filepath.Join(d, "lib/x\ny"), 0o755)
		}, "not plain"},
		"endless configuration": {func(d string) error {
			return os.Truncate(filepath.Join(d, "releases/1.0.0/vm.args"), maxConfig+1)
		}, "vm.args"},
		"configuration that is a link": {func(d string) error {
			return os.Symlink("/etc/shadow", filepath.Join(d, "releases/1.0.0/sys.config"))
		}, "escapes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := assembled(t, o)
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, err := collect(mustRoot(t, dir), t.TempDir(), o, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestReleaseName(t *testing.T) {
	dir := t.TempDir()
	root := mustRoot(t, dir)
	if _, err := releaseName(root, "rel", "a"); err == nil {
		t.Error("no folder at all, and a release was found")
	}
	put(t, filepath.Join(dir, "rel/other/x"), "")
	if got, err := releaseName(root, "rel", "a"); err != nil || got != "other" {
		t.Errorf("the only release = %q, %v", got, err)
	}
	put(t, filepath.Join(dir, "rel/third/x"), "")
	if got, err := releaseName(root, "rel", "a"); err == nil {
		t.Errorf("one of two = %q, want an error", got)
	}
	put(t, filepath.Join(dir, "rel/a/x"), "")
	if got, err := releaseName(root, "rel", "a"); err != nil || got != "a" {
		t.Errorf("the app's own = %q, %v", got, err)
	}
}
