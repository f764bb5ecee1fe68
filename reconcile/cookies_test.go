package reconcile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"beamsandbox/reconcile"
	"beamsandbox/reconcile/app"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestClusterCookieResolution(t *testing.T) {
	home := t.TempDir()
	write(t, filepath.Join(home, ".erlang.cookie"), "FROMHOME\n")
	for _, tc := range []struct {
		name, configured string
		env              map[string]string
		home, want       string
	}{
		{"configured", "FROMCONFIG", map[string]string{"RELEASE_COOKIE": "R"}, home, "FROMCONFIG"},
		{"release", "", map[string]string{"RELEASE_COOKIE": "R", "ERLANG_COOKIE": "E"}, home, "R"},
		{"erlang", "", map[string]string{"ERLANG_COOKIE": "E", "BC_GITOPS_COOKIE": "B"}, home, "E"},
		{"gitops", "", map[string]string{"BC_GITOPS_COOKIE": "B"}, home, "B"},
		{"home", "", nil, home, "FROMHOME"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := reconcile.CookieFiles{Root: t.TempDir(), Configured: app.NewSecret(tc.configured),
				Getenv: func(k string) string { return tc.env[k] }, Home: tc.home}
			got, err := c.Cluster()
			if err != nil || got.Reveal() != tc.want {
				t.Errorf("got %q, %v; want %q", got.Reveal(), err, tc.want)
			}
		})
	}
}

func TestCookiesAreMadeOnceAndKept(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	open := func() reconcile.CookieFiles {
		return reconcile.CookieFiles{Root: root, Getenv: func(string) string { return "" }, Home: filepath.Join(root, "nobody")}
	}
	cluster, err := open().Cluster()
	if err != nil || len(cluster.Reveal()) < 32 {
		t.Fatalf("made %d characters, %v", len(cluster.Reveal()), err)
	}
	pulse, err := open().Guest("pulse")
	if err != nil || len(pulse.Reveal()) < 32 {
		t.Fatalf("made %d characters, %v", len(pulse.Reveal()), err)
	}
	other, _ := open().Guest("other")
	again, _ := open().Guest("pulse")
	kept, _ := open().Cluster()
	if again != pulse || other == pulse || kept != cluster || cluster == pulse {
		t.Error("cookies are not one for each, for good")
	}
	for _, file := range []string{"cookie", "cookies/pulse"} {
		info, err := os.Stat(filepath.Join(root, file))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	for range 2 {
		if err := open().Forget("pulse"); err != nil {
			t.Error(err)
		}
	}
	fresh, _ := open().Guest("pulse")
	if fresh == pulse {
		t.Error("a forgotten cookie came back")
	}
	if text := fmt.Sprintf("%v %+v %#v", fresh, fresh, fresh); strings.Contains(text, fresh.Reveal()) {
		t.Error("a cookie prints itself")
	}
}

func TestUnusableCookieFiles(t *testing.T) {
	for name, text := range map[string]string{"empty": "\n", "long": strings.Repeat("x", 256)} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			write(t, filepath.Join(home, ".erlang.cookie"), text)
			c := reconcile.CookieFiles{Root: t.TempDir(), Getenv: func(string) string { return "" }, Home: home}
			if _, err := c.Cluster(); err == nil || !strings.Contains(err.Error(), ".erlang.cookie") || strings.Contains(err.Error(), "xxx") {
				t.Errorf("got %v", err)
			}
		})
	}
}
